"""When a request that failed before its first event is sent again. Pure module.

The table of statuses is OpenRouter's own; after the first event nothing is ever repeated, since text would
double and be billed twice.
"""

from __future__ import annotations

import random

from client.errors import OpenRouterError, UpstreamTimeout

_LONGEST_WAIT_S = 30.0
_FIRST_WAIT_S = 0.5


def retry_delay_s(error: OpenRouterError, attempt: int, max_retries: int) -> float | None:
    """Seconds until the next attempt; None when there shall be none.

    `attempt` counts from 0, the first one. A `Retry-After` above 30 s is not waited for but reported.
    """
    if attempt >= max_retries or not error.failure.retryable:
        return None
    if error.upstream_status == 500 and attempt >= 1:
        return None
    if isinstance(error, UpstreamTimeout):  # the caller has waited long enough
        return None
    stated_s = error.failure.retry_after_s
    if stated_s is not None:
        return stated_s if stated_s <= _LONGEST_WAIT_S else None
    backoff_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**attempt)
    return backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
