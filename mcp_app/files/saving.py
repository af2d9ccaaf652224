"""Answers as files: where they go, how they are called, and that nothing is replaced unless that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from mcp_app.files.folders import (
    FileRefused,
    Folders,
    Place,
    check_writable,
    is_folder,
    write_new,
    write_over,
)

_ENDINGS: Final = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
}
_PICTURES: Final = frozenset(ending for endings in _ENDINGS.values() for ending in endings)
_MOST_TRIES: Final = 1000
_LONG_TEXT: Final = 2_000
"""Characters; a shorter text beside pictures is a word about them, and no file of its own."""
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_WORD: Final = 60


@dataclass(frozen=True)
class Content:
    """What is to be saved; a text where there is no `mime_type` of a picture."""

    data: bytes
    mime_type: str = "text/plain"

    @property
    def is_picture(self) -> bool:
        """Whether it is one."""
        return self.mime_type in _ENDINGS


@dataclass(frozen=True)
class Saved:
    """A file that was made."""

    path: str
    mime_type: str
    bytes: int


@dataclass(frozen=True)
class Target:
    """Where answers go.

    Attributes:
        place: of the file, or of the folder that gets files by names of our own.
        is_folder: whether it is that.
        word: goes into names, where several answers go to one target.
    """

    place: Place
    is_folder: bool
    overwrite: bool = False
    word: str = ""

    def for_one_of_several(self, model: str) -> Target:
        """The target of one model's answer."""
        return replace(self, word=_word(model))

    @property
    def takes_pictures_only(self) -> bool:
        """Whether its name is that of a picture."""
        return not self.is_folder and PurePath(self.place.parts[-1]).suffix.lower() in _PICTURES


def target_of(folders: Folders, save_to: str, *, overwrite: bool, is_one: bool) -> Target:
    """Where `save_to` leads, looked at before anything is paid for.

    Args:
        is_one: whether a single answer goes there.

    Raises:
        FileRefused: nothing can be written there, or something is there already.
    """
    place = folders.find(save_to)
    if not place.parts or is_folder(place):
        check_writable(place.below("x"), overwrite=True)
        return Target(place, is_folder=True, overwrite=overwrite)
    if save_to.rstrip().endswith(("/", "\\")):
        raise FileRefused(f"{place.path} is no folder that is there. Make the folder first.")
    check_writable(place, overwrite=overwrite or not is_one)
    return Target(place, is_folder=False, overwrite=overwrite)


def save(target: Target, contents: Sequence[Content], *, name: str) -> dict[int, Saved]:
    """Writes what belongs into files, and tells which; takes as long as the disk does.

    Args:
        name: for files in a folder, without an ending.

    Raises:
        FileRefused: it could not be written.
    """
    pictures = [number for number, content in enumerate(contents) if content.is_picture]
    saved: dict[int, Saved] = {}
    used: set[str] = set()
    for number, content in enumerate(contents):
        if not _is_saved(target, content, has_pictures=bool(pictures)):
            continue
        is_first = number == (pictures[0] if target.takes_pictures_only else min(range(len(contents))))
        names = (each for each in _names(target, content, name, is_first=is_first) if each not in used)
        place = _write(target, names, content.data)
        used.add(place.parts[-1])
        saved[number] = Saved(place.path, content.mime_type, len(content.data))
    return saved


def _is_saved(target: Target, content: Content, *, has_pictures: bool) -> bool:
    if content.is_picture:
        return True
    if target.takes_pictures_only:
        return False
    return not (target.is_folder and has_pictures) or len(content.data) > _LONG_TEXT


def _names(target: Target, content: Content, name: str, *, is_first: bool) -> Iterator[str]:
    """Names to be tried in turn."""
    endings = _ENDINGS.get(content.mime_type)
    if target.is_folder:
        stem, ending = "-".join(filter(None, (target.word, name))), endings[0] if endings else ".md"
    else:
        given = PurePath(target.place.parts[-1])
        stem, ending = "-".join(filter(None, (given.stem, target.word))), given.suffix
        if endings and ending.lower() not in endings:
            ending = endings[0]
    if is_first or target.is_folder:
        yield f"{stem}{ending}"
    for number in range(2, _MOST_TRIES):
        yield f"{stem}-{number}{ending}"


def _write(target: Target, names: Iterator[str], data: bytes) -> Place:
    """A name that somebody else took meanwhile is passed over: the answer is paid for, and must not be lost."""
    for name in names:
        place = target.place.below(name) if target.is_folder else target.place.beside(name)
        if write_new(place, data):
            return place
        if target.overwrite and not target.is_folder:
            write_over(place, data)
            return place
    raise FileRefused(f"{target.place.path}: all names like that are taken.")


def _word(model: str) -> str:
    return _NOT_IN_NAMES.sub("-", model).strip("-.")[:_LONGEST_WORD] or "model"
