"""The catalogue, its search, and prices."""
