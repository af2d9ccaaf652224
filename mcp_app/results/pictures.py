"""Pictures of an answer, told by their first bytes: a label can be wrong, and a host that keeps a wrong picture is
refused every further turn by the API of its model. Pure module.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from mcp_app.results.clean import clean_text

_DATA_URL: Final = re.compile(r"\s*data:([^,]{0,1000}),", re.IGNORECASE)
_LINK: Final = re.compile(r"https?://\S+", re.IGNORECASE)
_MAX_LINK: Final = 2000
_MAX_LABEL: Final = 60
_SPACE: Final = re.compile(rb"\s+")
_SNIFFED_CHARS: Final = 64
"""Of base64, a multiple of four; as many bytes as a signature needs."""


@dataclass(frozen=True, slots=True)
class Link:
    """A picture elsewhere."""

    url: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture in base64 without white space.

    Attributes:
        mime_type: png, jpeg, gif or webp, by its first bytes; None for anything else.
        label: what it was said to be.
    """

    data: str
    mime_type: str | None
    label: str

    @property
    def bytes(self) -> int:
        """Its size."""
        return len(self.data) // 4 * 3 - self.data[-2:].count("=")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something else in the place of a picture."""

    label: str


def read_picture(image: Any) -> Link | Encoded | Unreadable:
    """A picture as an answer holds it: OpenAI's `image_url` object, or the URL alone."""
    url = _url_of(image)
    match = _DATA_URL.match(url)
    if match is None:
        link = _LINK.fullmatch(url.strip())
        return Link(clean_text(link[0])) if link and len(link[0]) <= _MAX_LINK else Unreadable("unknown")
    media_type, *parameters = [part.strip().lower() for part in match[1].split(";")]
    label = re.sub(r"[^a-z0-9/.+-]", "", media_type)[:_MAX_LABEL] or "text/plain"
    data = _base64_of(url[match.end() :]) if "base64" in parameters else None
    if data is None:
        return Unreadable(label)
    return Encoded(data, _sniffed(base64.b64decode(data[:_SNIFFED_CHARS])), label)


def _url_of(image: Any) -> str:
    described = image.get("image_url") if isinstance(image, dict) else image
    url = described.get("url") if isinstance(described, dict) else described
    return url if isinstance(url, str) else ""


def _base64_of(text: str) -> str | None:
    """The base64 in its strict form, from one with line breaks, percent signs, the URL alphabet or no padding."""
    try:
        raw = unquote_to_bytes(text) if "%" in text else text.encode("ascii")
        compact = _SPACE.sub(b"", raw).translate(_STANDARD_ALPHABET).rstrip(b"=")
        padded = compact + b"=" * (-len(compact) % 4)
        base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return padded.decode("ascii")


_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")


def _sniffed(head: bytes) -> str | None:
    """The type that hosts can show, by the first bytes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
        return "image/png"
    if head.startswith(b"\xff\xd8\xff") and len(head) > 10:
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")) and len(head) > 10:
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP" and head[12:15] == b"VP8":
        return "image/webp"
    return None
