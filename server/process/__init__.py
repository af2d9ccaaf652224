"""The process: listens, accepts, reads settings again, and ends politely; systemd is told of it all.

Serves the application (`server.app`), and is used by `commands` alone.
"""
