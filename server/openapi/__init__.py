"""The API as an OpenAPI 3.1 document, made of the types that validate requests and are encoded in replies.

Loaded at the first request for the document, never at start-up: `server.routes.api_docs` serves it.
"""
