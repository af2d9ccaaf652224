"""`openrouter-chat`, in a pseudo-terminal and in a pipe."""
