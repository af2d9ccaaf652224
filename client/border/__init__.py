"""What comes from others, made fit to be used: values, JSON of any kind, texts without secrets. Pure, but for the
steps in which large JSON is worked through."""
