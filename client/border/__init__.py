"""What comes from others, made fit to be used: values, JSON of any kind, addresses, texts without secrets. Everything
may use it; it uses `client.errors` alone. Pure: no I/O, no clock, no loop, but for `large_json`, which gives others
their turns of it while JSON of any size is worked through."""
