"""Budgets, limits and usage over several processes, in real engines."""
