"""Installing, the container, the wheel, and that the documents are true."""
