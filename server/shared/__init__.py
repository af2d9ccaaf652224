"""The store that several processes share: a copy of every answer, written behind it, and what they must agree on.

The only room that knows the engine (Redis or Valkey). Loaded only with `redis.url`.
"""
