"""What is written into clients' files."""
