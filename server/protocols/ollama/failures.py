"""Failures in Ollama's words. Pure module."""

from __future__ import annotations

from typing import Any

from client.errors import Failure


def error_of(failure: Failure) -> dict[str, Any]:
    """The body of a refusal, and the line that ends a broken answer; clients read `error`."""
    return {"error": failure.error, "type": failure.type}


def status_of(failure: Failure) -> int:
    """The HTTP status: a request that cannot be taken is 400 here."""
    return 400 if failure.status == 422 else failure.status
