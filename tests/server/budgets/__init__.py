"""Money: what may be spent, what was, and that no crash or hostile figure changes it."""
