"""OpenRouter's stream to typed events: bytes in, events out. Pure: no I/O, no clock, no loop."""
