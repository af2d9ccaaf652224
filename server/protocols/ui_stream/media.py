"""Media types, and what files are called by them, between the AI SDK's parts and OpenRouter's. Pure module."""

from __future__ import annotations

import mimetypes
import re
from typing import Any

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)")
_TYPES = mimetypes.MimeTypes()
"""Those that every machine knows alike."""
_SHOWN = re.compile(r"https?://|data:", re.IGNORECASE)
_FOLLOWED = re.compile(r"https?://", re.IGNORECASE)
_IMAGE_URL = ("image_url", "url")
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "mp4": "m4a", "x-m4a": "m4a"}


def media_type_of(url: str, otherwise: str) -> str:
    """What a URL itself says of what it holds."""
    told = _DATA_URL.match(url)
    if told is not None:
        return told[1].lower()
    guessed = None if url.startswith("data:") else _TYPES.guess_type(url.partition("?")[0])[0]
    return guessed or otherwise


def may_be_followed(url: str) -> bool:
    """Whether a page may make a link of it: what the model found can be `javascript:` too."""
    return _FOLLOWED.match(url) is not None


def url_of_image(image: dict[str, Any]) -> str | None:
    """Where the picture of an image object is; None in an object of another kind, and for an address that a page must
    not follow (`javascript:`)."""
    found: Any = image
    for name in _IMAGE_URL:
        found = found.get(name, found) if isinstance(found, dict) else found
    return found if isinstance(found, str) and _SHOWN.match(found) else None


def part_of_file(url: str, media_type: str, filename: str | None) -> dict[str, Any]:
    """A file of a user's message as OpenRouter takes it."""
    family, _, kind = media_type.lower().partition("/")
    if family == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    head, comma, data = url.partition(",")
    if family == "audio" and comma and head.startswith("data:") and head.endswith(";base64"):
        kind = kind.partition(";")[0]
        return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO_FORMATS.get(kind, kind)}}
    return {"type": "file", "file": {"filename": filename or _name_of(media_type), "file_data": url}}


def _name_of(media_type: str) -> str:
    """OpenRouter goes by the ending."""
    media_type = media_type.partition(";")[0].lower()
    kind = media_type.partition("/")[2]
    return "file" + (_TYPES.guess_extension(media_type) or (f".{kind}" if kind.isalnum() else ""))
