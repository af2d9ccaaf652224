"""MCP over standard input and output, and what to paste into a client to have it started."""
