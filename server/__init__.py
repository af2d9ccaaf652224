"""The HTTP service: puts `client` and `mcp_app` together, and is the only package that knows both.

Rooms by floor; each uses the floors below it, and none is in a circle:

__main__               starts
commands               command lines, service files
process                listening, signals, reload
app                    the application, put together
protocols              answers in the words of other clients
mcp_http, routes       MCP over HTTP; a request in, a reply out
http, openapi          what every route shares; the API as a document
budgets, telemetry     admission, leases, the ledger; logs, figures, traces
keys                   under which the application holds what many use
errors, config         our own refusals; settings
access, version        who may call; which version this is
"""
