"""The sandbox's own models: which there are, what a request asks of them, what they say. Pure: no I/O, no clock."""
