"""HTTP as it is spoken here, whoever calls and whatever it is about: what every route shares.

connection, server, malformed  below the handlers: connections, and what is no proper HTTP
access, failures               the two middlewares at the edge: who may call, and the one error shape
body, json_body                a request's body, read when it is wanted
json_reply, conditional        replies
reply_headers, prefix          headers that every reply has; the path below which callers see this server

Uses `keys` and what is below it; knows no route.
"""
