"""What a model can call: the tools, their arguments, and what they do."""
