"""Calls of the chat tools, beside the plain ones."""
