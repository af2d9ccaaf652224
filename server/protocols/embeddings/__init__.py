"""OpenAI's embeddings, as OpenRouter has them, below both mounts: passed on, bounded and billed as answers are."""
