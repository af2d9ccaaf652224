"""`openrouter-chat`: questions and conversations in a terminal or a pipe.

The answer goes to standard output, everything else to standard error.
"""
