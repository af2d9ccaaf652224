"""OpenAI's Chat Completions below `/v1`, and OpenRouter's own, transparent, below `/api/v1`."""
