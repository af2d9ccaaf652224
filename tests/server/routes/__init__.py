"""Routes answer as the API document says."""
