"""Clients of MCP, and what the official conformance suite calls."""
