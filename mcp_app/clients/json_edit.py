"""A JSON file with one more entry in it, and every comment, space and order of the rest as it was. Pure module.

Editors' settings are JSON with comments and commas behind the last item: whoever reads them and writes them anew
takes the user's comments away. So the text is changed in the one place, and then both texts are read and compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

_SPACE: Final = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR: Final = re.compile(r"[^\s,\]}/]+")
_COMMENT: Final = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
"""Each also finds texts, in which nothing is a comment or the last comma; those are kept."""
_UNIT: Final = "  "


class NotEditable(Exception):
    """The file is not as it should be; the text says how."""


class _Member(NamedTuple):
    """A key and its value, by their places in the text."""

    key: str
    begin: int
    value: int
    end: int


def read_json(text: str) -> Any:
    """The value of JSON with comments; None for an empty text.

    Raises:
        NotEditable: it is none.
    """
    plain = _LAST_COMMA.sub(_kept_string, _COMMENT.sub(_kept_string, text))
    if not plain.strip():
        return None
    try:
        return json.loads(plain)
    except (ValueError, RecursionError) as exc:
        raise NotEditable(f"it is not JSON ({exc})") from exc


def _kept_string(found: re.Match[str]) -> str:
    return found[1] or " "


def with_entry(text: str, keys: Sequence[str], entry: Any) -> str:
    """The text with `entry` at that place, where another may have been.

    Raises:
        NotEditable: something on the way is no object.
    """
    before = read_json(text)
    if before is None:
        return json.dumps(_nested(keys, entry), indent=len(_UNIT), ensure_ascii=False) + "\n"
    wanted = _merged(before, keys, entry)
    changed = _changed(text, keys, entry)
    if read_json(changed) != wanted:
        raise NotEditable("it is written in a way that this program does not understand")
    return changed


def _changed(text: str, keys: Sequence[str], entry: Any) -> str:
    place = _SPACE.match(text).end()  # type: ignore[union-attr]
    for depth, key in enumerate(keys):
        found = [member for member in _members(text, place) if member.key == key]
        if not found:
            return _inserted(text, place, key, _nested(keys[depth + 1 :], entry))
        place = found[-1].value
    indent = _indent_of(text, found[-1].begin)
    return text[:place] + _spelled(entry, indent) + text[found[-1].end :]


def _nested(keys: Sequence[str], entry: Any) -> Any:
    for key in reversed(keys):
        entry = {key: entry}
    return entry


def _merged(value: Any, keys: Sequence[str], entry: Any) -> Any:
    if not keys:
        return entry
    if not isinstance(value, dict):
        raise NotEditable(f"what holds {keys[0]!r} is no object")
    return {**value, keys[0]: _merged(value.get(keys[0], {}), keys[1:], entry)}


def _inserted(text: str, place: int, key: str, value: Any) -> str:
    """The object at that place with one more member, behind the others."""
    members = list(_members(text, place))
    indent = _indent_of(text, members[-1].begin) if members else _indent_of(text, place) + _UNIT
    member = f"{json.dumps(key)}: {_spelled(value, indent)}"
    if not members:
        close = _SPACE.match(text, place + 1).end()  # type: ignore[union-attr]
        kept = text[place + 1 : close].rstrip()
        return f"{text[: place + 1]}{kept}\n{indent}{member}\n{_indent_of(text, place)}{text[close:]}"
    end = members[-1].end
    comma = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    if text[comma] == ",":
        return f"{text[: comma + 1]}\n{indent}{member}{text[comma + 1 :]}"
    return f"{text[:end]},\n{indent}{member}{text[end:]}"


def _spelled(value: Any, indent: str) -> str:
    return json.dumps(value, indent=len(_UNIT), ensure_ascii=False).replace("\n", f"\n{indent}")


def _indent_of(text: str, place: int) -> str:
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return line[: len(line) - len(line.lstrip())]


# -- reading by places --------------------------------------------------------------------------------------------


def _members(text: str, place: int) -> Iterator[_Member]:
    """The members of the object that begins there."""
    place = _after_space(text, place + 1)
    while text[place] != "}":
        begin, end = place, _end_of(text, place)
        value = _after_space(text, _after_space(text, end) + 1)  # the colon
        after = _end_of(text, value)
        yield _Member(json.loads(text[begin:end]), begin, value, after)
        place = _after_space(text, after)
        if text[place] == ",":
            place = _after_space(text, place + 1)


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()


def _end_of(text: str, place: int) -> int:
    """Where the value that begins there ends."""
    if text[place] not in "{[":
        match = (_STRING if text[place] == '"' else _SCALAR).match(text, place)
        return place + 1 if match is None else match.end()
    depth = 0
    while True:
        place = _after_space(text, place)
        if text[place] == '"':
            place = _end_of(text, place)
            continue
        depth += (text[place] in "{[") - (text[place] in "}]")
        place += 1
        if depth == 0:
            return place
