"""Budgets, limits and usage over all processes: what is reserved and settled in the engine, each answer once.

A process counts in its own ledger, as it does alone; what it has counted is told the engine afterwards (`journal`),
as a *book* among those of the others. Only who is held to limits waits for the engine, once, at its start.
"""
