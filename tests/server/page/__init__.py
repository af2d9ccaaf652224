"""The web page: how it is served here, and what it does in a real browser."""
