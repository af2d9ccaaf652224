"""What a caller may ask of the model list: the parameters, their types, and what is said when one is wrong.

`ModelQuery` is the one description: the parser, the error messages and a generated API document follow it.

Pure module: no I/O, no clock.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from client.border.details import MOST_DETAILS, bounded, query_name, summary
from client.errors import Detail

Sort = Literal[
    "newest",
    "name",
    "pricing_low_to_high",
    "pricing_high_to_low",
    "context_high_to_low",
    "context_low_to_high",
    "top_weekly",
    "throughput_high_to_low",
    "latency_low_to_high",
]

UPSTREAM_SORTS: Final = {
    "top_weekly": "top-weekly",
    "throughput_high_to_low": "throughput-high-to-low",
    "latency_low_to_high": "latency-low-to-high",
}
"""Sorts that need numbers only upstream has, and upstream's word for each."""

MAX_LIMIT: Final = 200
_LONGEST_WORD = 100
_MOST_WORDS = 2000
_SHOWN_WORDS = 200
"""Of the words that a list knows; lists of OpenRouter's have some 60 families."""


class QueryError(ValueError):
    """A query that cannot be answered; `details` name each parameter, what is wrong and what is known."""

    def __init__(self, details: Iterable[Detail]) -> None:
        self.details = bounded(list(details))
        super().__init__(summary(self.details))


def _split(value: object) -> object:
    """Words of a comma list; lists pass. Lower case, without blanks and empty pieces."""
    pieces = value.split(",") if isinstance(value, str) else value
    if not isinstance(pieces, list | tuple):
        return pieces
    words = [piece.strip().casefold() if isinstance(piece, str) else piece for piece in pieces]
    return tuple(dict.fromkeys(word for word in words if word != ""))


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Tokens = Annotated[int, Field(ge=0)]
Dollars = Annotated[Decimal, Field(ge=0)]


class ModelQuery(BaseModel):
    """Search parameters of the model list; all optional, all combinable. Built by callers and by us."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    q: str | None = Field(None, description="Words that id, name or description hold; best match first.")
    search_term: str | None = Field(None, description="Another name for `q`.")
    families: Words = Field((), description="Authors such as openai, or gpt, claude, gemini; any may hold.")
    input_modalities: Words = Field((), description="Such as text,image; all must hold.")
    output_modalities: Words = Field((), description="Such as text; all must hold.")
    supported_parameters: Words = Field((), description="Such as tools,seed; all must hold.")
    min_context_length: Tokens | None = Field(None, description="Tokens that must fit.")
    max_context_length: Tokens | None = Field(None, description="Tokens.")
    min_price: Dollars | None = Field(None, description="Prompt price, USD per million tokens.")
    max_price: Dollars | None = Field(None, description="Prompt price, USD per million tokens.")
    free_only: bool = Field(False, description="Only models whose prompt and completion cost nothing.")
    reasoning: bool | None = Field(None, description="Models that think (true) or do not (false).")
    toggleable_reasoning: bool | None = Field(
        None, description="Models whose thinking can be switched off (true), all others (false)."
    )
    sort: Sort | None = Field(None, description="Default: best match with `q`, else upstream's order.")
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Models in the answer.")
    offset: int = Field(0, ge=0, description="Models to leave out at the start.")

    @property
    def text(self) -> str:
        """What to look for, empty when nothing."""
        return (self.q or self.search_term or "").strip().casefold()

    @field_validator("search_term")
    @classmethod
    def _one_name_only(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("q") is not None:
            raise PydanticCustomError("twice", "is the same as q; give one of them")
        return value

    @field_validator("max_context_length", "max_price")
    @classmethod
    def _in_order(cls, value: Any, info: ValidationInfo) -> Any:
        lower_name = str(info.field_name).replace("max_", "min_")
        lower = info.data.get(lower_name)
        if value is not None and lower is not None and lower > value:
            raise PydanticCustomError("order", "is below {lower}", {"lower": lower_name})
        return value


KNOWN_PARAMETERS: Final = tuple(ModelQuery.model_fields)


def parse_model_query(params: Iterable[tuple[str, str]]) -> ModelQuery:
    """The query that URL parameters spell, given as pairs so that a repeated one can be seen.

    Raises:
        QueryError: with everything that is wrong, not only the first.
    """
    pairs = list(params)
    details = unknown_parameters((name for name, _ in pairs), KNOWN_PARAMETERS) + _repeated(pairs)
    given = {name: value for name, value in pairs if name in KNOWN_PARAMETERS}
    try:
        query = ModelQuery.model_validate(given)
    except ValidationError as exc:
        raise QueryError(details + query_problems(exc)) from exc
    if details:
        raise QueryError(details)
    return query


def query_problems(exc: ValidationError) -> list[Detail]:
    """What pydantic found wrong with a `ModelQuery`, in our words."""
    return [Detail(f"query.{error['loc'][0]}", _explain(error)) for error in exc.errors()]


def unknown_parameters(names: Iterable[str], known: Iterable[str]) -> list[Detail]:
    """One detail per parameter that is none of the known ones; the first ones name those."""
    listed = tuple(known)
    strange = [name for name in dict.fromkeys(names) if name not in listed]
    return [
        Detail(query_name(name), f"unknown parameter{_hint(name, listed) if number < MOST_DETAILS else ''}")
        for number, name in enumerate(strange)
    ]


def unknown_value(parameter: str, value: str, known: Iterable[str]) -> Detail:
    """A detail for a word that a parameter does not know, naming those it does."""
    return Detail(f"query.{parameter}", f"unknown value '{value}'{_hint(value, tuple(known))}")


def _hint(word: str, known: tuple[str, ...]) -> str:
    """What may have been meant, and what there is: as much of that as somebody would read."""
    short = [name for name in known if len(name) <= _LONGEST_WORD][:_MOST_WORDS]
    near = difflib.get_close_matches(word[:_LONGEST_WORD], short, n=1)
    question = f"; did you mean '{near[0]}'?" if near else ""
    listed = short[:_SHOWN_WORDS]
    more = f" and {len(known) - len(listed)} more" if len(known) > len(listed) else ""
    return f"{question}; known: {', '.join(listed) or 'none'}{more}"


def _repeated(pairs: list[tuple[str, str]]) -> list[Detail]:
    times = Counter(name for name, _ in pairs if name in KNOWN_PARAMETERS)
    return [
        Detail(f"query.{name}", f"given {count} times; give it once, lists with commas")
        for name, count in times.items()
        if count > 1
    ]


def _explain(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        value = str(error["input"])
        return unknown_value("sort", value, get_args(Sort)).what
    if error["type"] == "extra_forbidden":
        return f"unknown parameter{_hint(str(error['loc'][0]), KNOWN_PARAMETERS)}"
    message = error["msg"].replace("Input should be", "must be")
    if error["type"].startswith("bool"):
        message += "; known: true, false"
    if error["type"] in {"greater_than_equal", "less_than_equal"} and error["loc"][0] == "limit":
        message = f"must be 1 to {MAX_LIMIT}"
    return message
