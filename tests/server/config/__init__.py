"""Settings come from where they should, and every mistake is named."""
