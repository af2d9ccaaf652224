"""Judges what is on top of the layers, and says what is wrong with it."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from server.config.layers import Found, KeyPath, Layer, misplaced_secret
from server.config.problems import ConfigProblem, dotted, expected, nearest_key, shown
from server.config.sections import Settings, is_secret, setting_fields

_SECRET_NAME = re.compile(r"api[_-]?key|secret|password|token|bearer|credential|^key$|\.key$", re.IGNORECASE)


def validate(found: Layer) -> tuple[Settings, list[ConfigProblem]]:
    """The settings, built without the offending values, and a problem for each of these."""
    try:
        return _build(found), []
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    problems = [_problem(error, found) for error in errors]
    locations = [error["loc"] for error in errors]
    rest = {path: item for path, item in found.items() if not any(_overlap(path, loc) for loc in locations)}
    return _build(rest), problems


def _build(found: Layer) -> Settings:
    tree: dict[str, Any] = {}
    for path, item in found.items():
        if len(path) == 1:
            tree[path[0]] = item.value
        else:
            tree.setdefault(path[0], {})[path[1]] = item.value
    return Settings.model_validate(tree)


def _overlap(path: KeyPath, loc: tuple[int | str, ...]) -> bool:
    shorter = min(len(path), len(loc))
    return path[:shorter] == loc[:shorter]


def _problem(error: ErrorDetails, found: Layer) -> ConfigProblem:
    loc = error["loc"]
    path, item = next((path, item) for path, item in found.items() if _overlap(path, loc))
    key = dotted(loc)
    if error["type"] == "extra_forbidden":
        return _unknown_key(key, item, error["input"])
    field = setting_fields().get((path[0], path[-1]))
    if error["type"] == "value_error":
        what = str(error["ctx"]["error"])
    elif field is not None and loc == path:
        what = f"must be {expected(path[-1], field)}"
    else:
        what = error["msg"]
    secret = field is not None and is_secret(field)
    return ConfigProblem(item.source, what, key, None if secret else shown(error["input"]))


def _unknown_key(key: str, item: Found, value: object) -> ConfigProblem:
    is_table = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
    if isinstance(value, str | list) and not is_table and _SECRET_NAME.search(key):
        return misplaced_secret(key, item)
    if is_table:
        known_tables = [*Settings.model_fields, "callers"]
        return ConfigProblem(item.source, "unknown section", key, None, nearest_key(key, known_tables))
    known = [dotted(known_path) for known_path, field in setting_fields().items() if not is_secret(field)]
    return ConfigProblem(item.source, "unknown key", key, shown(value), nearest_key(key, known))
