"""Files that go along with a question, as parts of a message."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SOUNDS = {"audio/x-wav": "wav", "audio/wav": "wav", "audio/vnd.wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


class UnreadableFile(Exception):
    """It cannot go along; its text says why."""


def content_of(question: str, files: Sequence[str]) -> str | list[dict[str, Any]]:
    """The content of the message.

    Raises:
        UnreadableFile: one of the files cannot be read, or is of no known kind.
    """
    if not files:
        return question
    return [*([{"type": "text", "text": question}] if question else []), *map(_part, files)]


def _part(name: str) -> dict[str, Any]:
    if name.startswith(("https://", "http://")):
        return {"type": "image_url", "image_url": {"url": name}}
    path = Path(name).expanduser()
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise UnreadableFile(f"{name}: {exc.strerror}") from exc
    kind = mimetypes.guess_type(path.name)[0] or ""
    if kind in _SOUNDS:
        return {"type": "input_audio", "input_audio": {"data": _base64(data), "format": _SOUNDS[kind]}}
    if kind.startswith("image/") and kind != "image/svg+xml":
        return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{_base64(data)}"}}
    if kind.startswith("video/"):
        return {"type": "video_url", "video_url": {"url": f"data:{kind};base64,{_base64(data)}"}}
    if kind == "application/pdf":
        file = {"filename": path.name, "file_data": f"data:{kind};base64,{_base64(data)}"}
        return {"type": "file", "file": file}
    try:
        return {"type": "text", "text": f"{path.name}:\n\n{data.decode()}"}
    except UnicodeDecodeError:
        raise UnreadableFile(f"{name}: neither a picture, a PDF, a sound, a video nor text") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
