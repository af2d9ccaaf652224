"""How long upstream asks to wait. Pure module.

It may say so in many places and units: seconds, a date, an instant in seconds or milliseconds. What is past, or too
far away to be meant, says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from client.border.fit import number_of, seconds_of

_FIRST_INSTANT_S = 1e9
"""Numbers from here on are instants, since 1970 in seconds; smaller ones are seconds from now."""

_FIRST_INSTANT_MS = 1e11
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


def stated_wait_s(headers: Mapping[str, Any], error: Mapping[str, Any], now_s: float | None) -> float | None:
    """Seconds that a refusal asks to wait, wherever it says so; None when it does not.

    `now_s` is the wall clock in epoch seconds; without it dates and instants say nothing.
    """
    metadata, availability = _object(error.get("metadata")), _object(error.get("availability"))
    places = [_lower(headers), _lower(_object(metadata.get("headers")))]
    stated = [
        places[0].get("retry-after"),
        availability.get("retry_after"),
        metadata.get("retry_after_seconds"),
        metadata.get("retry_after"),
        error.get("retry_after"),
        error.get("retry_after_seconds"),
        *_retry_delays(error.get("details")),
        places[1].get("retry-after"),
    ]
    waits = [parse_retry_after(value, now_s) for value in stated]
    waits += [_milliseconds(place.get("retry-after-ms")) for place in places]
    waits += [seconds_until_reset(place.get("x-ratelimit-reset"), now_s) for place in places]
    return next((seconds for seconds in waits if seconds is not None), None)


def parse_retry_after(value: Any, now_s: float | None) -> float | None:
    """Seconds to wait from a `Retry-After` (seconds or an HTTP date); None when it is absent or makes no sense."""
    if number_of(value) is not None:
        return seconds_of(value)
    return _seconds_until_date(value, now_s)


def seconds_until_reset(value: Any, now_s: float | None) -> float | None:
    """Seconds to wait from an `X-RateLimit-Reset`.

    OpenRouter's is in epoch milliseconds; others give epoch seconds, seconds from now, or a date.
    """
    number = number_of(value)
    if number is None:
        return _seconds_until_date(value, now_s)
    if number < _FIRST_INSTANT_S:
        return seconds_of(number) or None  # 0 is a limit that says nothing of when
    if now_s is None:
        return None
    return seconds_of((number / 1000 if number >= _FIRST_INSTANT_MS else number) - now_s) if number < 1e15 else None


def _seconds_until_date(value: Any, now_s: float | None) -> float | None:
    if not isinstance(value, str) or now_s is None or len(value) > 100:
        return None
    try:
        when = parsedate_to_datetime(value)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return seconds_of((when - datetime.fromtimestamp(now_s, UTC)).total_seconds())
    except (ValueError, IndexError, TypeError, OverflowError, OSError):
        return None


def _retry_delays(details: Any) -> Iterator[str]:
    """Google's `RetryInfo`: `{"retryDelay": "20s"}`."""
    for item in details[:10] if isinstance(details, list) else ():
        delay = item.get("retryDelay") if isinstance(item, dict) else None
        found = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if found:
            yield found[1]


def _milliseconds(value: Any) -> float | None:
    number = number_of(value)
    return None if number is None or abs(number) > 1e15 else seconds_of(number / 1000)


def _lower(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).lower(): value for name, value in headers.items()}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
