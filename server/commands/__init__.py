"""Command lines: `openrouter-server` and its sub-commands, `openrouter-mcp`, the service's unit files.

Starts what `process` has; nothing else uses it. Modules load what is slow to load only when a command needs it.
"""
