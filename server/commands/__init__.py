"""Command lines: `openrouter-server` and its sub-commands, `openrouter-mcp`, the service's unit files."""
