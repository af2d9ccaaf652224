"""Parts of a message's content, from AG-UI's to OpenRouter's. Pure module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Problem = Callable[[str, str], None]
"""Notes what is wrong, and where."""

_KINDS = {"image": "image_url", "video": "video_url"}
_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "mp4": "m4a", "x-m4a": "m4a"}
"""OpenRouter's names of audio formats, where the media type has another."""


def content_of(content: Any, where: str, problem: Problem) -> str | list[dict[str, Any]]:
    """The content of a message; parts of kinds that nobody here knows are left out, as the protocol has it."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        problem(where, "must be text, or a list of parts")
        return ""
    parts = [_part(part, f"{where}.{index}", problem) for index, part in enumerate(content)]
    return [part for part in parts if part is not None] or ""


def text_of(content: Any) -> str:
    """The text alone."""
    if isinstance(content, list):
        return "".join(_text(part) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _part(part: Any, where: str, problem: Problem) -> dict[str, Any] | None:
    if not isinstance(part, dict):
        problem(where, "must be an object")
        return None
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": _text(part)}
    if kind == "binary":
        return _media(_kind_of(part.get("mimeType")), _older_source(part), part.get("filename"), where, problem)
    if kind in ("image", "audio", "video", "document"):
        return _media(kind, part.get("source"), part.get("filename"), where, problem)
    return None


def _text(part: dict[str, Any]) -> str:
    text = part.get("text", part.get("content"))
    return text if isinstance(text, str) else ""


def _older_source(part: dict[str, Any]) -> dict[str, Any]:
    """Parts of type `binary` have no `source`."""
    kind = "data" if part.get("data") else "url" if part.get("url") else "file"
    value = part.get("data") or part.get("url") or part.get("id")
    return {"type": kind, "value": value, "mimeType": part.get("mimeType")}


def _kind_of(mime_type: Any) -> str:
    kind = str(mime_type).partition("/")[0]
    return kind if kind in ("image", "audio", "video") else "document"


def _media(kind: str, source: Any, filename: Any, where: str, problem: Problem) -> dict[str, Any] | None:
    value = source.get("value") if isinstance(source, dict) else None
    if not isinstance(value, str) or not value:
        problem(f"{where}.source", "must say where the data is: {type, value, mimeType}")
        return None
    mime_type = str(source.get("mimeType") or "application/octet-stream")
    held_by = source.get("type")
    if held_by == "file":  # a handle of some provider's
        return {"type": "file", "file": {"file_id": value}} if kind == "document" else None
    is_data = held_by == "data" and not value.startswith("data:")
    url = f"data:{mime_type};base64,{value}" if is_data else value
    if kind in _KINDS:
        name = _KINDS[kind]
        return {"type": name, name: {"url": url}}
    if kind == "audio":
        return _audio(url, mime_type, where, problem)
    named = {"filename": filename} if isinstance(filename, str) and filename else {}
    return {"type": "file", "file": {"filename": "document", **named, "file_data": url}}


def _audio(url: str, mime_type: str, where: str, problem: Problem) -> dict[str, Any] | None:
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        problem(where, "audio is taken as data only, not by its address")
        return None
    subtype = (head.removeprefix("data:").partition(";")[0] or mime_type).partition("/")[2]
    return {"type": "input_audio", "input_audio": {"data": data, "format": _FORMATS.get(subtype, subtype)}}
