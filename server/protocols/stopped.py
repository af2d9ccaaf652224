"""What a reader is told of an answer that somebody has stopped, in any protocol. Pure module."""

from __future__ import annotations

from client.errors import Failure
from client.translation.events import Done


def stopped(done: Done) -> Failure:
    """The failure of an answer that is not whole and failed of nothing else."""
    reason = done.finish_reason or "interrupted"
    return Failure(
        error=f"The answer was stopped ({reason}) before it was whole.",
        type="stream_interrupted",
        status=499,
        retryable=reason != "cancelled",
    )
