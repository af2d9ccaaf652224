"""The HTTP service: puts `client` and `mcp_app` together, and is the only package that knows both.

routes     a request in, a reply out           access     who may call
budgets    admission, leases, the ledger       mcp_http   MCP over HTTP
telemetry  logs, figures, traces               openapi    the API as a document
process    connections, signals, reload        commands   command lines, service files
config     settings                            app, keys, errors  put together
"""
