"""Values and JSON of any kind are made fit, and nothing raises."""
