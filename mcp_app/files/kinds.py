"""What a file holds, told by its first bytes: a name can be wrong. Pure module."""

from __future__ import annotations

import codecs
from typing import Final, Literal, NamedTuple

Kind = Literal["text", "image", "audio", "video", "file"]
"""As OpenRouter's catalogue calls what models take; a PDF is a `file`."""


class Media(NamedTuple):
    """A kind of medium.

    Attributes:
        format: OpenRouter's word for that of a sound, and a usual ending of its name.
    """

    kind: Kind
    mime_type: str
    format: str


_MARKS: Final[tuple[tuple[bytes, Media], ...]] = (
    (b"\x89PNG\r\n\x1a\n", Media("image", "image/png", "png")),
    (b"\xff\xd8\xff", Media("image", "image/jpeg", "jpg")),
    (b"GIF87a", Media("image", "image/gif", "gif")),
    (b"GIF89a", Media("image", "image/gif", "gif")),
    (b"%PDF-", Media("file", "application/pdf", "pdf")),
    (b"ID3", Media("audio", "audio/mpeg", "mp3")),
    (b"fLaC", Media("audio", "audio/flac", "flac")),
    (b"OggS", Media("audio", "audio/ogg", "ogg")),
    (b"\xff\xfb", Media("audio", "audio/mpeg", "mp3")),
    (b"\xff\xf3", Media("audio", "audio/mpeg", "mp3")),
    (b"\xff\xf2", Media("audio", "audio/mpeg", "mp3")),
    (b"\xff\xf1", Media("audio", "audio/aac", "aac")),
    (b"\xff\xf9", Media("audio", "audio/aac", "aac")),
    (b"\x1aE\xdf\xa3", Media("video", "video/webm", "webm")),
)
_CONTAINED: Final = {
    (b"RIFF", b"WEBP"): Media("image", "image/webp", "webp"),
    (b"RIFF", b"WAVE"): Media("audio", "audio/wav", "wav"),
    (b"FORM", b"AIFF"): Media("audio", "audio/aiff", "aiff"),
    (b"FORM", b"AIFC"): Media("audio", "audio/aiff", "aiff"),
}
_SOUND: Final = Media("audio", "audio/mp4", "m4a")
_FILM: Final = Media("video", "video/mp4", "mp4")
_PICTURE_BRANDS: Final = (b"heic", b"heix", b"mif1", b"avif", b"avis", b"hevc")
_NOT_IN_TEXT: Final = bytes(code for code in range(32) if code not in b"\t\n\f\r\x1b")
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def media_of(data: bytes) -> Media | None:
    """What a file holds that models can look at or listen to; None for anything else."""
    for mark, media in _MARKS:
        if data.startswith(mark):
            return media
    if (found := _CONTAINED.get((data[:4], data[8:12]))) is not None:
        return found
    if data[4:8] != b"ftyp" or data[8:12] in _PICTURE_BRANDS:
        return None
    return _SOUND if data[8:11] == b"M4A" else _FILM


def text_in(data: bytes) -> str | None:
    """The text of a file; None where it holds none. What is not Unicode is taken for Windows' Western one."""
    try:
        if data.startswith(_UTF_16):
            return data.decode("utf-16")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None if data.translate(None, _NOT_IN_TEXT) != data else data.decode("cp1252", "replace")
    return None if "\0" in text else text
