"""The catalogue: fetched once for all, searched here, and what it tells of price."""
