"""What can be known about one model of a list: prices, context, family, modalities, reasoning.

A model stays the dict that upstream sent, whole and untouched; everything here is computed beside it.
Only `id` is needed: lists of plain OpenAI-compatible servers hold `id`, `object` and `owned_by` and no more.
What is missing, null or of a type we do not know is *unknown*, which is never the same as zero.

Pure module: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from client.border.fit import MOST_TOKENS, MOST_USD

Model = dict[str, Any]
"""A model object exactly as upstream listed it."""

VARIABLE: Final = "variable"
Price = Decimal | Literal["variable"] | None
"""USD per million tokens; `variable` depends on the model a router chooses; None is unknown."""

UNKNOWN_FAMILY: Final = "unknown"

_TOKENS_PER_PRICE = 1_000_000
_MOST_PER_MILLION = MOST_USD * _TOKENS_PER_PRICE
"""A single token that is dearer than any answer has no price that could be believed."""
_REASONING_WORDS = frozenset({"reasoning", "include_reasoning", "reasoning_effort"})


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Whether a model thinks, and what a caller may choose about it.

    Attributes:
        supported: it has a `reasoning` object, or lists a reasoning word in `supported_parameters` (older
            catalogues have only those).
        toggleable: it can be switched off: there is a `reasoning` object and it is not `mandatory`.
        efforts: words for `reasoning_effort`, as upstream orders them; `all` where upstream says null; empty
            where there is no choice (OpenRouter model schema: "null = all, absent = no choice").
    """

    supported: bool
    toggleable: bool
    efforts: tuple[str, ...] | Literal["all"]


@dataclass(frozen=True, slots=True)
class Facts:
    """One model and what search compares, computed once.

    Attributes:
        id: as listed.
        key: `id` in lower case without a leading `~`, for comparisons.
        slug: `key` without the author.
        title: `key`, permanent slug and name in lower case: where the words of a search count most.
        description: in lower case.
        sort_name: `name`, or `id` where there is none, in lower case.
        context_length: tokens that really fit; see `effective_context_length`.
        prompt_price, completion_price: see `Price`.
        created: epoch seconds.
    """

    model: Model
    id: str
    key: str
    slug: str
    title: str
    description: str
    sort_name: str
    family: str
    context_length: int | None
    prompt_price: Price
    completion_price: Price
    input_modalities: frozenset[str]
    output_modalities: frozenset[str]
    supported_parameters: frozenset[str]
    reasoning: Reasoning
    created: int | None

    @property
    def has_variable_price(self) -> bool:
        """True when either token price depends on the routed model: never free, never cheapest."""
        return VARIABLE in (self.prompt_price, self.completion_price)

    @property
    def list_price(self) -> Decimal | None:
        """The prompt price that filters and sorts use; None when unknown or variable."""
        if self.has_variable_price or not isinstance(self.prompt_price, Decimal):
            return None
        return self.prompt_price

    @property
    def is_free(self) -> bool:
        """True when prompt and completion are both known to cost nothing (OpenRouter: both are `"0"`)."""
        return self.prompt_price == 0 and self.completion_price == 0


def facts_of(model: Model) -> Facts:
    """What is known about a model; `model["id"]` must be a string."""
    id_: str = model["id"]
    key = comparable(id_)
    name = _text(model.get("name"))
    architecture = _object(model.get("architecture"))
    inputs, outputs = modalities(architecture)
    return Facts(
        model=model,
        id=id_,
        key=key,
        slug=slug_of(key),
        title=" ".join((key, comparable(_text(model.get("canonical_slug"))), name.casefold())),
        description=_text(model.get("description")).casefold(),
        sort_name=(name or id_).casefold(),
        family=family_of(model),
        context_length=effective_context_length(model),
        prompt_price=price_of(model, "prompt"),
        completion_price=price_of(model, "completion"),
        input_modalities=inputs,
        output_modalities=outputs,
        supported_parameters=_words(model.get("supported_parameters")),
        reasoning=reasoning_of(model),
        created=_whole(model.get("created")),
    )


def comparable(model_id: str) -> str:
    """An id for comparisons: lower case, no blanks around it, no leading `~` (`~x/y-latest` is an alias)."""
    return model_id.strip().casefold().lstrip("~")


def slug_of(model_id: str) -> str:
    """The id without its author: `gpt-4o` of `openai/gpt-4o`."""
    return model_id.partition("/")[2] or model_id


def family_of(model: Model) -> str:
    """The author part of the id, else `owned_by`, else `unknown`; lower case."""
    author, slash, _ = comparable(model["id"]).partition("/")
    if slash and author:
        return author
    return _text(model.get("owned_by")).strip().casefold() or UNKNOWN_FAMILY


def price_of(model: Model, kind: str) -> Price:
    """A token price such as `prompt` or `completion`, in USD per million tokens, exact.

    Upstream gives decimal strings in USD per token; `"-1"` means "depends on the routed model".
    """
    price = _per_million(_object(model.get("pricing")).get(kind))
    return VARIABLE if price is not None and price < 0 else price


def effective_context_length(model: Model) -> int | None:
    """Tokens that really fit: the smaller of the model's and its top provider's limit, as far as known."""
    limits = (
        _count(model.get("context_length")),
        _count(_object(model.get("top_provider")).get("context_length")),
    )
    return min((limit for limit in limits if limit is not None), default=None)


def modalities(architecture: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Input and output words; read from `modality` (`text+image->text`) where a list is missing."""
    inputs, _, outputs = _text(architecture.get("modality")).partition("->")
    return (
        _words(architecture.get("input_modalities")) or _words(inputs.split("+")),
        _words(architecture.get("output_modalities")) or _words(outputs.split("+")),
    )


def reasoning_of(model: Model) -> Reasoning:
    """What a model's `reasoning` object and parameter words say about thinking."""
    described = model.get("reasoning")
    if not isinstance(described, dict):
        listed = not _REASONING_WORDS.isdisjoint(_words(model.get("supported_parameters")))
        return Reasoning(supported=listed, toggleable=False, efforts=())
    return Reasoning(
        supported=True,
        toggleable=described.get("mandatory") is not True,
        efforts=_efforts(described),
    )


def _efforts(described: Mapping[str, Any]) -> tuple[str, ...] | Literal["all"]:
    efforts = described.get("supported_efforts", [])
    if efforts is None:
        return "all"
    return tuple(word for word in efforts if isinstance(word, str)) if isinstance(efforts, list) else ()


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(value: object) -> frozenset[str]:
    listed = value if isinstance(value, list) else []
    return frozenset(word.strip().casefold() for word in listed if isinstance(word, str) and word.strip())


def _whole(value: object) -> int | None:
    """A whole number within reason: more than `MOST_TOKENS` says nothing, of tokens and of seconds alike."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if -MOST_TOKENS <= value <= MOST_TOKENS else None


def _count(value: object) -> int | None:
    number = _whole(value)
    return number if number is not None and number > 0 else None


def _per_million(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value)) * _TOKENS_PER_PRICE
    except (ArithmeticError, ValueError):  # no number, or one beyond all measure
        return None
    return number if number.is_finite() and abs(number) <= _MOST_PER_MILLION else None
