"""The Python client and its terminal program, against the wire cases and real servers."""
