"""Which files may be touched: those below listed folders, by where a path really leads.

A path is resolved first and judged then: links, `..` and the spelling of capitals are gone by that time. What was
judged is opened step by step from the folder on, following no link, so that nobody can put another file in its place
meanwhile. Names that begin with a dot are left alone: they hold keys and settings, and some of them are run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

_LONGEST_PATH: Final = 4096
_SHOWN: Final = 200
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)
_HAS_STEPS: Final = os.open in os.supports_dir_fd
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


class FileRefused(Exception):
    """A file that is not touched; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path below a folder.

    Attributes:
        folder: with no link in it.
        parts: from there on, with no link in them either when this was looked at; empty for the folder itself.
    """

    folder: str
    parts: tuple[str, ...]

    @property
    def path(self) -> str:
        """The whole path."""
        return str(Path(self.folder, *self.parts))

    @property
    def name(self) -> str:
        """The path from the folder on, which tells nobody the user's name."""
        return "/".join(self.parts)

    def beside(self, name: str) -> Place:
        """Another name in the same folder."""
        return Place(self.folder, (*self.parts[:-1], name))

    def below(self, name: str) -> Place:
        """A name in this folder."""
        return Place(self.folder, (*self.parts, name))


class Folders:
    """Folders that the user lists."""

    def __init__(self, listed: Sequence[str]) -> None:
        self._folders = [folder for each in listed if (folder := _folder_of(each)) is not None]

    @property
    def paths(self) -> list[str]:
        """Those that are there."""
        return list(self._folders)

    def find(self, path: str) -> Place:
        """Where a path leads; one that is not absolute is looked for in each folder.

        Raises:
            FileRefused: it leads out of the folders, or to what is left alone.
        """
        if not self._folders:
            raise FileRefused(
                "This server may touch no files. Tell the user to list folders: MCP_FOLDERS in the `env` of this "
                "server's entry in the client's configuration (a comma list of absolute paths)."
            )
        written = _written(path)
        tried = [written] if written.is_absolute() else [Path(folder, written) for folder in self._folders]
        places = [place for each in tried if (place := self._place(each)) is not None]
        there = [place for place in places if os.path.lexists(place.path)]
        if not places:
            raise FileRefused(
                f"{path[:_SHOWN]!r} is outside the folders that may be touched: {', '.join(self._folders)}. Use a "
                "path below one of them, or ask the user to list another."
            )
        place = (there or _with_parent(places) or places)[0]
        if hidden := [part for part in place.parts if part.startswith(".")]:
            raise FileRefused(f"{path[:_SHOWN]!r} is left alone: {hidden[0]!r} begins with a dot.")
        if os.name == "nt" and any(":" in part for part in place.parts):
            raise FileRefused(f"{path[:_SHOWN]!r} is left alone: it names a stream of a file.")
        return place

    def _place(self, path: Path) -> Place | None:
        """The path without links, if it is below a folder: by what is there, not by how it is spelled."""
        real = Path(os.path.realpath(path))
        for ancestor in (real, *real.parents):
            for folder in self._folders:
                if _is_same(str(ancestor), folder):
                    return Place(folder, real.relative_to(ancestor).parts)
        return None


def read_file(place: Place, most_bytes: int) -> bytes:
    """A file's content; takes as long as the disk does.

    Raises:
        FileRefused: it is not there, no file, or larger.
    """
    with _parent(place) as parent:
        _check_kind(place, parent)
        try:
            descriptor = _open(place, parent, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _BINARY)
        except OSError as exc:
            raise _failed(place, exc) from exc
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileRefused(f"{place.path} is {_kind(found.st_mode)}, not a file.")
            try:
                data = file.read(most_bytes + 1)
            except OSError as exc:
                raise _failed(place, exc) from exc
    if len(data) > most_bytes:
        raise FileRefused(
            f"{place.path} is too large: all files of a call together may have {most_bytes / 2**20:.0f} MiB, and it "
            f"has {max(found.st_size, len(data)) / 2**20:.1f}."
        )
    return data


def is_folder(place: Place) -> bool:
    """Whether it is a folder that is there."""
    return os.path.isdir(place.path) and not os.path.islink(place.path)  # noqa: PTH112, PTH114


def check_writable(place: Place, *, overwrite: bool) -> None:
    """Looks whether a file can be made there, before anything is paid for.

    Raises:
        FileRefused: it cannot, or there is one that may not be replaced.
    """
    with _parent(place) as parent:
        if not os.access(_folder_path(place), os.W_OK):
            raise FileRefused(f"{_folder_path(place)} cannot be written to.")
        found = _lstat(place, parent)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        raise FileRefused(f"{place.path} is {_kind(found.st_mode)}, and is not replaced.")
    if not overwrite:
        raise FileRefused(f"{place.path} is there already. Give another name, or overwrite: true.")


def write_new(place: Place, data: bytes) -> bool:
    """Makes a file; false when there is one already.

    Raises:
        FileRefused: it cannot be written.
    """
    with _parent(place) as parent:
        try:
            descriptor = _open(place, parent, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY)
        except FileExistsError:
            return False
        except OSError as exc:
            raise _failed(place, exc) from exc
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except OSError as exc:
            with suppress(OSError):
                _unlink(place, parent)
            raise _failed(place, exc) from exc
    return True


def write_over(place: Place, data: bytes) -> None:
    """Makes a file in the place of another, whole or not at all.

    Raises:
        FileRefused: it cannot be written.
    """
    check_writable(place, overwrite=True)
    beside = place.beside(f"{place.parts[-1]}.{os.getpid()}.part")
    if not write_new(beside, data):
        raise FileRefused(f"{beside.path} is there already; remove it.")
    with _parent(place) as parent:
        try:
            if parent is None:
                os.replace(beside.path, place.path)  # noqa: PTH105
            else:
                os.replace(beside.parts[-1], place.parts[-1], src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as exc:
            with suppress(OSError):
                _unlink(beside, parent)
            raise _failed(place, exc) from exc


# -- paths --------------------------------------------------------------------------------------------------------


def _written(path: str) -> Path:
    """A path as somebody writes it: with `~`, or as a file: URL."""
    text = path.strip()
    if text.lower().startswith("file:"):
        url = urlsplit(text)
        text = url2pathname(url.path) if url.netloc in ("", "localhost") else ""
    if not text or "\0" in text or len(text) > _LONGEST_PATH:
        raise FileRefused(f"{path[:_SHOWN]!r} is no path.")
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:  # nobody's home
        raise FileRefused(f"{path[:_SHOWN]!r} is no path: {exc}.") from exc


def _folder_of(path: str) -> str | None:
    """A listed folder without links; None where there is none, or for the root of everything."""
    try:
        real = Path(os.path.realpath(_written(path)))
    except FileRefused:
        return None
    return str(real) if real.is_dir() and real.parent != real else None


def _with_parent(places: list[Place]) -> list[Place]:
    return [place for place in places if Path(_folder_path(place)).is_dir()]


def _folder_path(place: Place) -> str:
    return str(Path(place.folder, *place.parts[:-1]))


def _is_same(path: str, folder: str) -> bool:
    if path == folder:
        return True
    try:
        return os.path.samefile(path, folder)  # noqa: PTH121
    except OSError:
        return False


# -- steps --------------------------------------------------------------------------------------------------------


@contextmanager
def _parent(place: Place) -> Iterator[int | None]:
    """The folder that a file is in, opened step by step; None where the system knows no steps (Windows)."""
    if not place.parts:
        raise FileRefused(f"{place.path} is a folder, not a file.")
    if not _HAS_STEPS:
        if os.path.realpath(_folder_path(place)) != _folder_path(place):
            raise FileRefused(f"{place.path} leads elsewhere by now.")
        yield None
        return
    flags = os.O_RDONLY | _DIRECTORY | _NOFOLLOW
    descriptor = -1
    try:
        try:
            descriptor = os.open(place.folder, flags)
            for part in place.parts[:-1]:
                deeper = os.open(part, flags, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
        except OSError as exc:
            raise _failed(place, exc) from exc
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _open(place: Place, parent: int | None, flags: int) -> int:
    if parent is None:
        return os.open(place.path, flags, 0o666)
    return os.open(place.parts[-1], flags, 0o666, dir_fd=parent)


def _unlink(place: Place, parent: int | None) -> None:
    if parent is None:
        os.unlink(place.path)  # noqa: PTH108
    else:
        os.unlink(place.parts[-1], dir_fd=parent)


def _lstat(place: Place, parent: int | None) -> os.stat_result | None:
    try:
        if parent is None:
            return os.lstat(place.path)
        return os.stat(place.parts[-1], dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _failed(place, exc) from exc


def _check_kind(place: Place, parent: int | None) -> None:
    """A device or a pipe is not even opened: that alone can do something."""
    found = _lstat(place, parent)
    if found is None:
        raise FileRefused(f"{place.path} is not there.")
    if not stat.S_ISREG(found.st_mode):
        raise FileRefused(f"{place.path} is {_kind(found.st_mode)}, not a file.")


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def _failed(place: Place, exc: OSError) -> FileRefused:
    return FileRefused(f"{place.path}: {exc.strerror or 'it cannot be opened'}.")
