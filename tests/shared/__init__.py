"""The store that several processes share, against real engines."""
