"""What a `Content-Type` names (RFC 9110, section 8.3), of requests and of replies.

aiohttp's own `content_type` keeps what it has found with the message, and so turns its attributes into a dictionary:
800 bytes, for as long as an answer is open. Pure module.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

UNSAID: Final = "application/octet-stream"
"""What is not said, or is no media type."""

_LONGEST: Final = 400
_TYPE = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;.*)?", re.DOTALL)


def media_type(raw: str | None) -> str:
    """The type of a header's value, in lower case and without parameters; `UNSAID` for what is none."""
    return UNSAID if raw is None or len(raw) > _LONGEST else _media_type(raw)


@lru_cache(maxsize=64)
def _media_type(raw: str) -> str:
    found = _TYPE.fullmatch(raw)
    return UNSAID if found is None else found[1].lower()
