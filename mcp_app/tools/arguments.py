"""The types of the tools' arguments, tolerant of how models spell them: numbers as text, blank text for nothing, a
list for a comma list. Pure module; it imports nothing that is slow to load."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from client.border.details import details_of, items_of

WAIT_S: Final = 45.0
"""Default of `wait_s`: many hosts give a call up after 60 s."""
_MOST_NAMES: Final = 50
_LONGEST_NAME: Final = 4096


def _text(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return value  # refused as what it is, not answered as the word "inf"
    return str(value) if isinstance(value, int | float) else value


def _unset_if_blank(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in ("", "null", "none") else value


def _or(default: object) -> BeforeValidator:
    """A default for what is blank."""

    def fill(value: object) -> object:
        found = _unset_if_blank(value)
        return default if found is None else found

    return BeforeValidator(fill)


def _comma_list(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else _text(value)


def _names(value: object) -> object:
    """A list, or the comma list that some models write in its place."""
    value = _unset_if_blank(value)
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _finite(value: object) -> object:
    """Refuses a number that JSON cannot carry: it would go on as null."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            pending += found.values()
        elif isinstance(found, list):
            pending += found
        elif isinstance(found, float) and not math.isfinite(found):
            raise PydanticCustomError("not_finite", "holds a number that is beyond every number")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Words = Annotated[str, BeforeValidator(_comma_list)]
Whole = Annotated[int | None, BeforeValidator(_unset_if_blank)]
Number = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_unset_if_blank)]
Flag = Annotated[bool, _or(False)]
MaybeFlag = Annotated[bool | None, BeforeValidator(_unset_if_blank)]
Offset = Annotated[int, _or(0), Field(ge=0)]
Wait = Annotated[
    float, _or(WAIT_S), Field(allow_inf_nan=False, description="seconds; then it goes on in the background")
]
Messages = Annotated[
    Annotated[list[dict[str, Any]], items_of(dict)] | None,
    BeforeValidator(_unset_if_blank),
    AfterValidator(_finite),
    WithJsonSchema({"type": "array", "items": {"type": "object"}}),
]


Options = Annotated[
    dict[str, Any] | None,
    BeforeValidator(_unset_if_blank),
    AfterValidator(_finite),
    WithJsonSchema({"type": "object"}),
]
Names = Annotated[
    Annotated[list[Annotated[str, Field(max_length=_LONGEST_NAME)]], Field(max_length=_MOST_NAMES)] | None,
    BeforeValidator(_names),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]


def argument_problems(exc: ValidationError) -> str:
    """What is wrong with the arguments, in words that a model can act on: pydantic's own quote them at length."""
    said = "; ".join(f"{detail.where}: {_what(detail.what)}" for detail in details_of(exc))
    return f"{said}. Correct that and call again."


def _what(said: str) -> str:
    plain = said.replace("Field required", "is required").replace("should be", "must be")
    return plain.replace("a valid dictionary", "an object")
