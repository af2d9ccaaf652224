"""Clients that can be told of this server: what each one's configuration says, where it is, and how it is changed.

snippets          what belongs into it
places            the file
json_edit, text_edit  the file's text with that in it, and everything else as it was
links             what a client opens to install it
"""
