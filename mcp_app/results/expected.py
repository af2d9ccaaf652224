"""Answers that were asked for as JSON: the schema is checked before the question is sent, the answer after it came.

Schema and answer come from elsewhere, and the check must not become a burden: nothing is fetched, patterns are tried
by a machine that takes no longer than the text is long, and the steps are counted. Pure module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from mcp_app.results.failures import ToolFailure

_FENCED: Final = re.compile(r"\s*```[a-zA-Z]*[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
"""Models wrap JSON in Markdown, whatever they were told."""
_LARGEST_SCHEMA: Final = 100_000
"""Characters."""
_MOST_STEPS: Final = 20_000
_MAX_SAID: Final = 300
_NOT_TRIED: Final = ("patternProperties", "unevaluatedProperties", "unevaluatedItems")
"""Keywords whose check tries patterns by another machine."""


class Read(NamedTuple):
    """What became of an answer that was to be JSON.

    Attributes:
        value: the JSON value, where it is what was asked for.
        problem: why it is not.
    """

    value: Any = None
    problem: str | None = None


def check_response_format(response_format: Any) -> None:
    """Refuses what no model can keep to, before it is paid for.

    Raises:
        ToolFailure: it is no format, or its schema is no schema.
    """
    if response_format is None:
        return
    if not isinstance(response_format, dict) or not isinstance(response_format.get("type"), str):
        raise _bad('must be {"type": "json_schema", "json_schema": {"name", "schema"}} or {"type": "json_object"}')
    if response_format["type"] != "json_schema":
        return
    described = response_format.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise _bad('json_schema must be an object with "name" and "schema"')
    if not isinstance(described.get("name"), str) or not described["name"]:
        raise _bad("json_schema.name is required")
    if (problem := _schema_problem(described["schema"])) is not None:
        raise _bad(f"json_schema.schema is no JSON schema: {problem}")


def is_json_expected(response_format: Any) -> bool:
    """Whether the answer is to be JSON."""
    return isinstance(response_format, dict) and response_format.get("type") in ("json_schema", "json_object")


def read_expected(text: str, response_format: Mapping[str, Any]) -> Read:
    """The answer's JSON value, checked; takes a while where the schema is large."""
    fenced = _FENCED.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        return Read(problem=f"The answer is not JSON: {exc}."[:_MAX_SAID])
    if response_format.get("type") != "json_schema":
        return Read(value)
    problem = _mismatch(value, response_format["json_schema"]["schema"])
    return Read(value) if problem is None else Read(problem=f"The answer does not keep to the schema: {problem}.")


def _bad(what: str) -> ToolFailure:
    return ToolFailure(f"response_format: {what}. Nothing was sent; correct that and call again.")


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _schema_problem(schema: dict[str, Any]) -> str | None:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

    if len(json.dumps(schema)) > _LARGEST_SCHEMA:
        return f"it is larger than {_LARGEST_SCHEMA:,} characters"
    try:
        _class_for(schema).check_schema(schema)
    except SchemaError as exc:
        return _said(exc)
    except RecursionError:
        return "it is nested too deeply"
    return None


def _mismatch(value: Any, schema: dict[str, Any]) -> str | None:
    """How a value differs; None also where the schema refers to what is not in it, and nobody can tell."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        error = next(_counting(_class_for(schema))(schema, registry=Registry()).iter_errors(value), None)
    except (_TooMuch, Unresolvable, RecursionError):
        return None
    return None if error is None else _said(error)


def _said(error: Any) -> str:
    where = "/".join(map(str, error.absolute_path))
    said = f"{where}: {error.message}" if where else str(error.message)
    return said if len(said) <= _MAX_SAID else said[: _MAX_SAID - 1] + "…"


class _TooMuch(Exception):
    """The check takes more steps than it is worth."""


def _class_for(schema: Mapping[str, Any]) -> Any:
    from jsonschema.validators import (  # type: ignore[import-untyped]
        Draft202012Validator,
        validator_for,
    )

    return validator_for(schema, default=Draft202012Validator)


def _counting(validator: Any) -> Any:
    """The validator's class with its steps counted and its patterns tried in bounded time."""
    from jsonschema.validators import extend

    steps = iter(range(_MOST_STEPS))

    def counted(check: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Iterator[Any]:
            if next(steps, None) is None:
                raise _TooMuch
            yield from check(*args) or ()

        return run

    changed = {name: counted(check) for name, check in validator.VALIDATORS.items() if name not in _NOT_TRIED}
    changed |= dict.fromkeys(_NOT_TRIED, _nothing)
    changed["pattern"] = counted(_check_pattern)
    changed["additionalProperties"] = counted(_without_patterns(validator.VALIDATORS["additionalProperties"]))
    return extend(validator, changed)


def _without_patterns(check: Callable[..., Any]) -> Callable[..., Any]:
    """The check of `additionalProperties`, which tries patterns only where there are some."""

    def run(validator: Any, wanted: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
        return () if "patternProperties" in schema else check(validator, wanted, instance, schema)

    return run


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _check_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    matches = _matcher(pattern)
    if isinstance(instance, str) and matches is not None and not matches(instance):
        yield ValidationError(f"{instance[:100]!r} does not match {pattern[:100]!r}")


@lru_cache(maxsize=100)
def _matcher(pattern: str) -> Callable[[str], bool] | None:
    """Whether a text matches, in linear time; None for a pattern that the machine does not know."""
    from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None

    def matches(text: str) -> bool:
        try:
            validator.validate_python(text)
        except ValidationError:
            return False
        return True

    return matches
