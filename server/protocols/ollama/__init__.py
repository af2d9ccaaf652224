"""Ollama's own protocol: chats and single prompts in lines of JSON, and what its clients read of models."""
