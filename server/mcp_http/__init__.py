"""MCP over HTTP, in front of the SDK: rules for requests, sessions, the bridge to ASGI."""
