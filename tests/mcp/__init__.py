"""MCP tools, over stdio and HTTP, in both eras, with real clients."""
