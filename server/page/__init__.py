"""The web page at `/`, as files: read once, tagged by what is in them, and sent.

It holds no data; what it shows it asks from the other routes, as any client does.
"""
