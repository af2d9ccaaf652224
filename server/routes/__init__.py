"""A request in, a reply out: one module a subject, with what handlers of streams share (`readers`, `results`).

Handlers use all that is below: `http`, `openapi`, `budgets`, `telemetry`; nothing below knows a route.
"""
