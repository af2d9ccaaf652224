"""TOML and YAML files with one more entry in them, and the rest as it was. Pure module."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_app.clients.json_edit import NotEditable
from mcp_app.clients.snippets import toml_of, yaml_of


def read_toml(text: str) -> dict[str, Any]:
    """Raises:
    NotEditable: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise NotEditable(f"it is not TOML ({exc})") from exc


def with_table(text: str, keys: Sequence[str], entry: Mapping[str, Any]) -> str:
    """The text with that table, in the place of one of that name or behind everything.

    Raises:
        NotEditable: the table is written in another way.
    """
    wanted = _merged(read_toml(text), keys, entry)
    name = re.escape(".".join(keys))
    kept, place, is_ours = list[str](), None, False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            is_ours = re.match(rf"\s*\[\s*{name}\s*[.\]]", line) is not None
            place = len(kept) if is_ours and place is None else place
        if not is_ours:
            kept.append(line)
    table = toml_of(keys, entry)
    if place is None:
        before = "".join(kept)
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        changed = before + gap + table
    else:
        behind = "".join(kept[place:])
        changed = "".join(kept[:place]) + table + ("\n" if behind.strip() else "") + behind.lstrip("\n")
    try:
        is_right = tomllib.loads(changed) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise NotEditable("it is written in a way that this program does not understand")
    return changed


def _merged(value: Any, keys: Sequence[str], entry: Any) -> Any:
    if not keys:
        return entry
    if not isinstance(value, dict):
        raise NotEditable(f"what holds {keys[0]!r} is no table")
    return {**value, keys[0]: _merged(value.get(keys[0], {}), keys[1:], entry)}


def with_block(text: str, key: str, name: str, entry: Mapping[str, Any]) -> str:
    """YAML with an entry below a key of its top; there is no reader of YAML here, so only what is plain is touched.

    Raises:
        NotEditable: there is an entry of that name, or the key is not written in the plain way.
    """
    if re.search(r"^---", text[3:], re.MULTILINE) or "\t" in re.sub(r"\S.*", "", text):
        raise NotEditable("it is written in a way that this program does not understand")
    lines = text.splitlines()
    said = [line for line in lines if _says(line)]
    if (said and not _begins_plainly(said[0])) or any(
        re.match(rf"[\"']{re.escape(key)}[\"']", line) for line in said
    ):
        raise NotEditable("it is written in a way that this program does not understand")
    found = [number for number, line in enumerate(lines) if re.match(rf"{re.escape(key)}\s*:", line)]
    if not found:
        body = text if not text or text.endswith("\n") else f"{text}\n"
        return body + yaml_of({key: {name: entry}})
    [place] = found[:1]
    rest = re.sub(r"\s#.*", "", lines[place].partition(":")[2]).strip()
    if len(found) > 1 or rest not in ("", "{}"):
        raise NotEditable(f"{key!r} is not written as a block")
    inside = _block(lines[place + 1 :])
    if next(filter(_says, lines[place + 1 :]), "").lstrip().startswith("- "):
        raise NotEditable(f"{key!r} is not written as a block")
    indent = next((re.match(r" *", line)[0] for line in inside if _says(line)), "  ")  # type: ignore[index]
    if not indent:
        indent = "  "
    if any(re.match(rf"{indent}[\"']?{re.escape(name)}[\"']?\s*:", line) for line in inside):
        raise NotEditable(f"it has an entry {name!r} already; change that by hand")
    new = yaml_of({name: entry}, indent).rstrip("\n").splitlines()
    end = "" if lines[place + 1 :] and not text.endswith("\n") else "\n"
    return "\n".join([*lines[:place], f"{key}:", *new, *lines[place + 1 :]]) + end


def _block(lines: Sequence[str]) -> list[str]:
    """The lines that belong to the key above them."""
    inside: list[str] = []
    for line in lines:
        if _says(line) and not line.startswith(" "):
            break
        inside.append(line)
    return inside


def _begins_plainly(line: str) -> bool:
    """Whether the first line that says something begins an object at the very left."""
    return line == "---" or re.match(r"[^\s\-\[{].*:(\s|$)", line) is not None


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
