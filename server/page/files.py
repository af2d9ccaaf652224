"""The files of the page: all that is in `server/web`, and the JavaScript client.

They are small and asked for together, so they are held in memory once somebody has asked, packed as well, under one
hash of everything. What was edited, or built beside the running server, is seen when the page is opened again.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "web"
CLIENT: Final = "client.js"
INDEX: Final = "index.html"
FORMAT: Final = "vendor/format.js"
"""What formats answers; without it they are shown as plain text."""
_SOURCE: Final = Path(__file__).parents[2] / "sdk" / "javascript" / CLIENT
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}
_PACKED: Final = frozenset({".css", ".html", ".js", ".svg", ".txt"})
_HASH_DIGITS: Final = 16

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class File:
    """One of them.

    Attributes:
        packed: the same for callers who take gzip; None where that gains nothing.
    """

    body: bytes
    content_type: str
    packed: bytes | None

    @property
    def tag(self) -> str:
        """Of what is in it."""
        return hashlib.sha256(self.body).hexdigest()[:_HASH_DIGITS]


@dataclass(frozen=True, slots=True)
class Files:
    """All of them at one moment.

    Attributes:
        hash: of everything, the page itself included; part of every path, so that files may be kept for ever.
        stamp: names, times and sizes by which a change is noticed.
    """

    by_path: dict[str, File]
    hash: str
    stamp: Stamp

    @property
    def formats(self) -> bool:
        """Whether answers can be formatted."""
        return FORMAT in self.by_path


def read_files(before: Files | None = None, folder: Path = FOLDER) -> Files:
    """The files as they are now; those of before where nothing has changed. Reads the disk: for a thread."""
    found = sorted(_find(folder))
    stamp = tuple(_stamp_of(name, path) for name, path in found)
    if before is not None and before.stamp == stamp:
        return before
    by_path = {name: _read(path) for name, path in found}
    whole = hashlib.sha256()
    for name, file in by_path.items():
        whole.update(f"{name}\0{len(file.body)}\0".encode() + file.body)
    return Files(by_path, whole.hexdigest()[:_HASH_DIGITS], stamp)


def _find(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        if path.suffix in _TYPES and path.is_file():
            yield path.relative_to(folder).as_posix(), path
    if not (folder / CLIENT).exists():  # a wheel has it there
        yield CLIENT, _SOURCE


def _stamp_of(name: str, path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return name, status.st_mtime_ns, status.st_size


def _read(path: Path) -> File:
    body = path.read_bytes()
    packed = gzip.compress(body, 9, mtime=0) if path.suffix in _PACKED else None
    return File(body, _TYPES[path.suffix], packed)
