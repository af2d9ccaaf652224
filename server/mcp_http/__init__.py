"""MCP over HTTP, in front of the SDK: rules for requests, sessions, the bridge to ASGI.

Uses `http` as handlers do, and no route.
"""
