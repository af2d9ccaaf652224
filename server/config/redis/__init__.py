"""The settings of the store that several processes share: `section`, and what its address says, `url`.

Reads nothing and connects to nothing. `server.shared` uses it, and knows the engine.
"""
