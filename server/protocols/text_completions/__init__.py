"""The older completions of a text, as OpenRouter has them, below both mounts: passed on."""
