"""MCP tools over the same client objects."""
