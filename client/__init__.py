"""Everything OpenRouter: requests, the stream and its translation, the catalogue."""
