"""OpenAI's Responses, below `/v1` and `/api/v1`, with the one resume that OpenAI's clients know: `background`."""
