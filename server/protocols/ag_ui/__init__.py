"""AG-UI 1.0, which agents' user interfaces speak, and what TanStack AI adds to it: reading a run again."""
