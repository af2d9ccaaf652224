"""What is wrong with a request, told in a reply that does not grow with it.

A body of some megabytes can hold a million wrong items. pydantic would make an error of several hundred bytes of
each; so lists are looked through here, only the first wrong items are described, and the others are counted. Pure
module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import countOf
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from client.errors import Detail

MOST_DETAILS: Final = 20
"""How many problems are named one by one."""

_WRONG_ITEMS: Final = "wrong_items"
_BRANCHES = {"str", "int", "float", "bool", "dict", "list", "constrained-float", "constrained-int"}
_MOST_NAME: Final = 100


def bounded(details: Sequence[Detail]) -> list[Detail]:
    """The first details, and one that says how many more there are."""
    if len(details) <= MOST_DETAILS + 1:
        return list(details)
    return [
        *details[:MOST_DETAILS],
        Detail("request", f"has {len(details) - MOST_DETAILS:,} more problems like these"),
    ]


def summary(details: Iterable[Detail]) -> str:
    """All of it in one sentence."""
    return "; ".join(f"{detail.where}: {detail.what}" for detail in details)


def query_name(name: str) -> str:
    """Where a query parameter stands; its name is the caller's, and may be of any length."""
    return f"query.{name[:_MOST_NAME]}"


def items_of(kind: type) -> WrapValidator:
    """Checks a list of nothing but `str`, or nothing but `dict`; what is no list is left to the field's own type.

    The list stays the one that was given: it is not copied.
    """
    return _checking(
        lambda items: countOf(map(type, items), kind), lambda item: type(item) is kind, TypeAdapter(kind)
    )


def items_like(is_right: Callable[[Any], bool], model: type) -> WrapValidator:
    """The same for items that `is_right` knows; `model` says what is wrong with those that are not."""
    return _checking(lambda items: countOf(map(is_right, items), True), is_right, TypeAdapter(model))


def _checking(
    count_right: Callable[[list[Any]], int], is_right: Callable[[Any], bool], adapter: TypeAdapter[Any]
) -> WrapValidator:
    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        if not isinstance(value, list):
            return handler(value)
        if wrong := len(value) - count_right(value):
            raise _wrong_items(value, wrong, is_right, adapter)
        return value

    return WrapValidator(check)


def details_of(exc: ValidationError) -> list[Detail]:
    """pydantic's errors as details; the branches of a union are one problem of the field they belong to."""
    by_field: dict[str, list[str]] = {}
    counts: list[Detail] = []
    for error in exc.errors(include_url=False, include_input=False):
        path = [str(part)[:_MOST_NAME] for part in error["loc"] if not _names_a_branch(str(part))]
        context = error.get("ctx", {})
        if error["type"] == _WRONG_ITEMS and context["count"] > MOST_DETAILS:
            counts.append(Detail(".".join(path), f"has {context['count']:,} wrong items; the first are named"))
        for inner, what in context["problems"] if error["type"] == _WRONG_ITEMS else [((), _sentence(error["msg"]))]:
            by_field.setdefault(".".join([*path, *inner]) or "body", []).append(what)
    listed = [Detail(where, " or ".join(dict.fromkeys(whats))) for where, whats in by_field.items()]
    return bounded([*counts, *listed])


def _wrong_items(
    items: list[Any], count: int, is_right: Callable[[Any], bool], adapter: TypeAdapter[Any]
) -> PydanticCustomError:
    """How many wrong items there are, and what is wrong with the first."""
    first = islice((index for index, item in enumerate(items) if not is_right(item)), MOST_DETAILS)
    problems = ((index, *problem) for index in first for problem in _problems_of(items[index], adapter))
    listed = [((str(index), *inner), what) for index, inner, what in islice(problems, MOST_DETAILS)]
    return PydanticCustomError(_WRONG_ITEMS, "has wrong items", {"problems": listed, "count": count})


def _problems_of(item: Any, adapter: TypeAdapter[Any]) -> list[tuple[tuple[str, ...], str]]:
    try:
        adapter.validate_python(item, strict=True)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        return [(tuple(map(str, error["loc"])), _sentence(error["msg"])) for error in errors]
    return [((), "cannot stand here")]  # pragma: no cover - the adapter refuses what the check refuses


def _names_a_branch(part: str) -> bool:
    """pydantic adds the type it tried to the path: `float`, `list[str]`, `constrained-float`, …"""
    return part in _BRANCHES or "[" in part


def _sentence(message: str) -> str:
    return message.removeprefix("Input ").removeprefix("Value error, ")
