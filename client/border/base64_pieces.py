"""Joining pieces of base64. Pure module."""

from __future__ import annotations

import base64
import binascii

_URL_SAFE = str.maketrans("-_", "+/")


def join_base64(pieces: list[str]) -> str:
    """The base64 of all that the pieces hold.

    Each piece may be base64 of its own, with its own padding, or one text may have been cut anywhere. Pieces that are
    no base64 are joined as they are.
    """
    decoded: list[bytes] = []
    rest = ""
    try:
        for piece in pieces:
            text = rest + "".join(piece.split()).translate(_URL_SAFE)
            whole = len(text) if text.endswith("=") else len(text) - len(text) % 4
            decoded.append(_decode(text[:whole]))
            rest = text[whole:]
        decoded.append(_decode(rest))
    except binascii.Error:
        return "".join(pieces)
    return base64.b64encode(b"".join(decoded)).decode()


def _decode(text: str) -> bytes:
    """The bytes; padding that is missing is added.

    Raises:
        binascii.Error: it is no base64.
    """
    if not text.isascii():
        raise binascii.Error
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
