"""Everything OpenRouter: requests, the stream and its translation, the catalogue.

streams      an answer that outlives its connection: pump, log, readers, settlement; may use all below
upstream     the only I/O with OpenRouter, and what is sent
translation  pure: bytes in, typed events out
models       the catalogue, and what it tells of price
border       pure: values and JSON of others made fit to be used; everything may use it
sandbox      the stand-in OpenRouter; uses none of the others but `border`
errors, config  the one shape of failure; the sections of settings that this package defines
"""
