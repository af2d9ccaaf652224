"""MCP: the same streams and the same catalogue as tools for desktop clients.

tools    what a model can call, and its arguments
results  what it gets back
stdio    the conversation over standard input and output, and what to paste into a client
server, state, late_state, config  put together

Nothing here opens a socket or reads a setting by itself; only `server`, `tools` and `stdio` import the MCP SDK, which
is slow to load.
"""
