"""Readers of what the product tells of itself."""
