"""Everything OpenRouter: requests, the stream and its translation, the catalogue.

Rooms by floor; each uses the floors below it, and none is in a circle:

streams           an answer that outlives its connection: pump, log, readers, settlement
upstream, models  the only I/O with OpenRouter; the catalogue, and what it tells of price
translation       pure: bytes in, typed events out
config            the sections of settings that this package defines
border            values and JSON of others made fit to be used
errors            the one shape of failure

sandbox, the stand-in for OpenRouter, uses none of them but `border`.
"""
