"""The clients, each in its own language, against one table of wire cases and real servers."""
