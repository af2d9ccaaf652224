"""Files as parts of a message's content: text with its name, media as data URLs.

Their bytes go from the disk to OpenRouter, and never through the context of the host's model.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from mcp_app.files.folders import FileRefused, Folders, Place, read_file
from mcp_app.files.kinds import Kind, Media, media_of, text_in

MOST_FILES: Final = 20
MOST_BYTES: Final = 20 * 2**20
"""Of all files of a call."""
MOST_TEXT_BYTES: Final = 4 * 2**20
"""Of those that are text: about as much as the largest context holds."""


@dataclass(frozen=True)
class Attached:
    """A file as a part of content.

    Attributes:
        name: from its folder on.
        kind: what a model must take to be given it.
    """

    name: str
    kind: Kind
    part: dict[str, Any]


def read_files(folders: Folders, paths: Sequence[str]) -> list[Attached]:
    """The files as content; takes as long as the disk does.

    Raises:
        FileRefused: one of them may not be read, is too large, or holds nothing that a model takes.
    """
    if len(paths) > MOST_FILES:
        raise FileRefused(f"files: at most {MOST_FILES} are sent with one call.")
    attached: list[Attached] = []
    room, text_room = MOST_BYTES, MOST_TEXT_BYTES
    for path in paths:
        place = folders.find(path)
        data = read_file(place, room)
        room -= len(data)
        each = _attached(place, data)
        text_room -= len(data) if each.kind == "text" else 0
        if text_room < 0:
            raise FileRefused(
                f"{place.path} is too large: all text files of a call together may have "
                f"{MOST_TEXT_BYTES / 2**20:.0f} MiB."
            )
        attached.append(each)
    return attached


def _attached(place: Place, data: bytes) -> Attached:
    media = media_of(data)
    if media is not None:
        return Attached(place.name, media.kind, _medium(place, media, data))
    text = text_in(data)
    if text is None:
        raise FileRefused(
            f"{place.path} holds nothing that can be sent: text, png, jpeg, gif, webp, PDF, wav, mp3, flac, ogg, "
            "m4a, aac, aiff, mp4 and webm can. Convert it first."
        )
    inlined = f"<file name={quoteattr(place.name)}>\n{text}\n</file>"
    return Attached(place.name, "text", {"type": "text", "text": inlined})


def _medium(place: Place, media: Media, data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode("ascii")
    url = f"data:{media.mime_type};base64,{encoded}"
    match media.kind:
        case "image":
            return {"type": "image_url", "image_url": {"url": url}}
        case "audio":
            return {"type": "input_audio", "input_audio": {"data": encoded, "format": media.format}}
        case "video":
            return {"type": "video_url", "video_url": {"url": url}}
        case _:
            return {"type": "file", "file": {"filename": place.parts[-1], "file_data": url}}
