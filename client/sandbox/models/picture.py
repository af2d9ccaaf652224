"""A small valid PNG, made without an image library."""

from __future__ import annotations

import base64
import struct
import zlib

SIDE = 16  # pixels


def data_url(seed: str) -> str:
    """A `data:` URL of a square gradient whose colour follows from `seed`."""
    return "data:image/png;base64," + base64.b64encode(make_png(zlib.crc32(seed.encode("utf-8", "replace")))).decode()


def make_png(seed: int) -> bytes:
    """An RGB image of 16 by 16 pixels, 8 bits a channel."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"".join(_pixel(seed, x, y) for x in range(SIDE)) for y in range(SIDE))
    return b"\x89PNG\r\n\x1a\n" + _part(b"IHDR", header) + _part(b"IDAT", zlib.compress(rows)) + _part(b"IEND", b"")


def _pixel(seed: int, x: int, y: int) -> bytes:
    return bytes((seed & 0xFF, (seed >> 8 & 0xFF) ^ x * 16, (seed >> 16 & 0xFF) ^ y * 16))


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
