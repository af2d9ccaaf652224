"""What comes from others, made fit to be used: values, JSON of any kind, addresses, texts without secrets. Everything
may use it; it uses `client.errors` alone. Pure: no I/O, no clock, no loop."""
