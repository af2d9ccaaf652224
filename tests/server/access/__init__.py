"""Who may call, and who may not."""
