"""What is sent to OpenRouter, and what becomes of every failure on the way."""
