"""What is wrong with the settings, in words for a person."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from server.config.sections import Config, types_of

EX_CONFIG = 78
"""Exit code for unusable settings (sysexits.h); `os.EX_CONFIG` is missing on Windows."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong with the settings.

    Attributes:
        where: the file, environment variable or flag.
        what: what is wrong and what would be right, for a person.
        key: dotted key, such as `server.port`; None when the place as a whole is wrong.
        value: the offending value as it can be shown; None when there is none or it may be a secret.
        nearest: the known key that was probably meant.
    """

    where: str
    what: str
    key: str | None = None
    value: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        setting = "" if self.key is None else f": {self.key}" + (f" = {self.value}" if self.value else "")
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.where}{setting}: {self.what}{hint}"


class ConfigError(Exception):
    """The settings cannot be used.

    Attributes:
        problems: all of them, never empty.
        config: what stands without the offending values; shown beside the problems, never served from.
    """

    def __init__(self, problems: Sequence[ConfigProblem], config: Config) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)
        self.config = config


def nearest_key(key: str, known: Sequence[str]) -> str | None:
    """The known key with the same last word, else the most similar one."""
    leaf = key.rpartition(".")[2]
    by_leaf = {name.rpartition(".")[2]: name for name in known}
    similar = difflib.get_close_matches(key, known, n=1)
    similar_leaf = difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.75)
    return by_leaf.get(leaf) or next(iter([*similar, *map(by_leaf.__getitem__, similar_leaf)]), None)


def expected(key: str, field: FieldInfo) -> str:
    """What a field takes, in words: type, unit and range."""
    unit = next((f" of {unit}" for end, unit in _UNITS.items() if key.endswith(end)), "")
    bounds = [words for mark in field.metadata if (words := _bound(mark))]
    return ", ".join([f"{_noun(field)}{unit}", *bounds])


_UNITS = {"_s": "seconds", "_ms": "milliseconds", "_bytes": "bytes"}


def _noun(field: FieldInfo) -> str:
    types = types_of(field)
    if any(get_origin(type_) is tuple for type_ in types):
        return "a list of texts"
    if bool in types:
        return "true or false"
    if int in types:
        return "a whole number"
    return "a number" if float in types else "a text"


def _bound(mark: object) -> str | None:
    match mark:
        case Ge(ge=limit):
            return f"at least {limit}"
        case Gt(gt=limit):
            return f"more than {limit}"
        case Le(le=limit):
            return f"at most {limit}"
        case _:
            return None


def dotted(path: tuple[int | str, ...]) -> str:
    """A path as the messages spell it: `server.cors_origins[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def shown(value: object) -> str | None:
    """The value for a message: one line, not too long, and without what may be a secret in it."""
    if isinstance(value, dict):
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists in lists
        return None
    if re.search(r"\bsk-", text):  # as OpenRouter's keys begin
        return "********"
    if "://" in text or "@" in text:  # a password, or a key in the query
        text = re.sub(r'(?<=[?#])[^"]+', "********", re.sub(r'[^"]*@', "********@", text))
    return text if len(text) <= 80 else f"{text[:77]}..."
