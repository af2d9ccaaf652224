"""MCP: the same streams and the same catalogue as tools for desktop clients. Nothing here opens a socket or reads a
setting by itself; only `server`, `tools`, `disconnect` and `stdio` import the MCP SDK, which is slow to load."""
