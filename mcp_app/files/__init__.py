"""Files of the user's machine: read and written by path, below folders that the user lists, and nowhere else.

folders   what a path leads to, and whether that may be touched
reading   files as content of a message
saving    answers as files

Knows neither tools nor the SDK.
"""
