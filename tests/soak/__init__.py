"""`python -m tests.soak`: many short streams with random faults on both sides, and then a look at what is left.

A real server process on one side, a scripted OpenRouter in this process on the other; callers on bare sockets in
between. `upstreams.py` says how upstream behaves, `behaviours.py` how callers do, `run.py` what is measured.
"""
