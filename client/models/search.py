"""Searching the model list: filter, rank, sort, page, count families, and find ids near a mistyped one.

Rules that are easy to get wrong:

1. A price of `-1` is *variable*: never free, left out by price filters, last in both price sorts.
2. What is missing is not zero: a model without a price or a context length passes no filter on it and comes
   last in both directions of a sort on it.
3. The context length is the smaller of the model's and its top provider's.
4. Without `sort`, a search with words is ranked: exact id, exact id without the author, start of the id,
   words in id and name, words in the description; everything else keeps upstream's order.

Pure module: no I/O, no clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, Final

from client.errors import Detail
from client.models.facts import Facts, Model, comparable, facts_of, slug_of
from client.models.query import UPSTREAM_SORTS, ModelQuery, QueryError, unknown_value

FAMILY_ALIASES: Final = {
    "gpt": "openai",
    "chatgpt": "openai",
    "gemini": "google",
    "claude": "anthropic",
    "llama": "meta-llama",
    "mixtral": "mistralai",
    "command": "cohere",
}
"""Names people use for a family, and the author in its ids."""

INPUT_MODALITIES: Final = frozenset({"text", "image", "file", "audio", "video"})
OUTPUT_MODALITIES: Final = frozenset(
    {"text", "image", "embeddings", "audio", "video", "rerank", "decisions", "speech", "transcription"}
)
SUPPORTED_PARAMETERS: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "top_a", "seed", "stop", "verbosity", "prediction"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs"),
        *("top_logprobs", "max_tokens", "max_completion_tokens", "response_format", "structured_outputs"),
        *("tools", "tool_choice", "parallel_tool_calls", "web_search_options"),
        *("reasoning", "include_reasoning", "reasoning_effort"),
    }
)
# OpenRouter's documented words. New ones appear without notice: one that any listed model uses is known too.

_UNKNOWN = Decimal("Infinity")
_LONGEST_ID = 200
_MOST_MEASURED = 2000
_NEAR_ENOUGH = 0.6
_AUTHOR_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search.

    Attributes:
        models: whole model objects, as upstream listed them.
        total: how many there are before paging.
    """

    models: list[Model]
    total: int


Allows = Callable[[str], bool]
"""Whether somebody may know of the model with an id."""


@dataclass(frozen=True)
class ModelIndex:
    """A model list with the facts of each model; made once per list, by `index_models`."""

    entries: tuple[Facts, ...]

    def narrowed(self, allows: Allows) -> ModelIndex:
        """An index of those models only whose ids are allowed."""
        return ModelIndex(tuple(facts for facts in self.entries if allows(facts.id)))

    @cached_property
    def models(self) -> list[Model]:
        """The models in upstream's order."""
        return [facts.model for facts in self.entries]

    @cached_property
    def by_id(self) -> dict[str, Model]:
        return {facts.id: facts.model for facts in self.entries}

    @cached_property
    def families(self) -> list[tuple[str, int]]:
        """Every family and how many models it has, the largest first."""
        counts = Counter(facts.family for facts in self.entries)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    @cached_property
    def known_words(self) -> dict[str, frozenset[str]]:
        """Every value that a list parameter of a query may have with this list."""
        inputs: set[str] = set()
        outputs: set[str] = set()
        parameters: set[str] = set()
        for facts in self.entries:
            inputs |= facts.input_modalities
            outputs |= facts.output_modalities
            parameters |= facts.supported_parameters
        listed = {family for family, _ in self.families}
        return {
            "families": frozenset({*FAMILY_ALIASES, *FAMILY_ALIASES.values(), *listed}),
            "input_modalities": INPUT_MODALITIES | inputs,
            "output_modalities": OUTPUT_MODALITIES | outputs,
            "supported_parameters": SUPPORTED_PARAMETERS | parameters,
        }


def index_models(models: Iterable[Model]) -> ModelIndex:
    """An index of model objects, each with a string `id`."""
    return ModelIndex(tuple(facts_of(model) for model in models))


def search_models(
    index: ModelIndex, query: ModelQuery, order: Sequence[str] = (), *, allows: Allows | None = None
) -> Found:
    """The page of the list that a query asks for. Nothing found is an empty page, not an error.

    Args:
        order: ids as upstream sorted them, for a sort in `UPSTREAM_SORTS`; ids it does not hold come last.
        allows: which ids may be found at all; None: every one.

    Raises:
        QueryError: a family, modality or parameter that neither the documentation nor any model knows.
    """
    if unknown := _unknown_words(index, query):
        raise QueryError(unknown)
    tests = _tests(query)
    allowed = index if allows is None else index.narrowed(allows)
    passed = [facts for facts in allowed.entries if all(test(facts) for test in tests)]
    found = _sorted(_matching(passed, query.text), query, order)
    page = found[query.offset : query.offset + query.limit]
    return Found([facts.model for facts in page], len(found))


def near_matches(asked: str, ids: Iterable[str], *, limit: int = 5) -> list[str]:
    """Ids that somebody who wrote `asked` may have meant, the nearest first.

    Forgives upper case, a missing or wrong author, punctuation, a variant suffix and typos.
    """
    wanted = comparable(asked[:_LONGEST_ID])
    likeness = _likeness_of_ids(wanted)
    scored: list[tuple[float, str]] = []
    for id_ in _worth_measuring(wanted, ids):
        key = comparable(id_)
        score = likeness(key)
        if score >= _NEAR_ENOUGH:
            scored.append((-score - (key == wanted), id_))
    scored.sort()
    return [id_ for _, id_ in scored[:limit]]


def _worth_measuring(wanted: str, ids: Iterable[str]) -> list[str]:
    """Of very many ids only some: those of the same author, and those whose slug begins alike."""
    listed = [id_ for id_ in ids if len(id_) <= _LONGEST_ID]
    if len(listed) <= _MOST_MEASURED:
        return listed
    author, start = wanted.partition("/")[0], slug_of(wanted)[:3]
    keys = ((comparable(id_), id_) for id_ in listed)
    near = [id_ for key, id_ in keys if key.startswith(author) or slug_of(key).startswith(start)]
    return near[:_MOST_MEASURED]


def _likeness_of_ids(wanted: str) -> Callable[[str], float]:
    """How near an id is: mostly by its slug, else every model of one author would be near every other."""
    author_likeness = _likeness_to(wanted.partition("/")[0])
    slug_likeness = _likeness_to(slug_of(wanted))

    def likeness(key: str) -> float:
        slug = slug_likeness(slug_of(key))
        if "/" not in wanted or "/" not in key:
            return slug
        return (1 - _AUTHOR_WEIGHT) * slug + _AUTHOR_WEIGHT * author_likeness(key.partition("/")[0])

    return likeness


def _squeezed(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.partition(":")[0])


def _likeness_to(wanted: str) -> Callable[[str], float]:
    """A measure from 0 to 1; what is clearly unlike is not measured to the end."""
    target = _squeezed(wanted)
    matcher = SequenceMatcher(b=target)

    def likeness(text: str) -> float:
        candidate = _squeezed(text)
        if not target or not candidate:
            return 0.0
        matcher.set_seq1(candidate)
        if matcher.real_quick_ratio() < _NEAR_ENOUGH or matcher.quick_ratio() < _NEAR_ENOUGH:
            return 0.0
        return matcher.ratio()

    return likeness


def _unknown_words(index: ModelIndex, query: ModelQuery) -> list[Detail]:
    return [
        unknown_value(parameter, word, sorted(known))
        for parameter, known in index.known_words.items()
        for word in getattr(query, parameter)
        if word not in known
    ]


Test = Callable[[Facts], bool]


def _tests(query: ModelQuery) -> list[Test]:
    """The filters a query asks for; a parameter that was not given filters nothing."""
    tests: list[Test] = [*_word_tests(query), *_reasoning_tests(query)]
    if query.min_context_length is not None or query.max_context_length is not None:
        low, high = query.min_context_length, query.max_context_length
        tests.append(lambda facts: _within(facts.context_length, low, high))
    if query.min_price is not None or query.max_price is not None:
        cheapest, dearest = query.min_price, query.max_price
        tests.append(lambda facts: _within(facts.list_price, cheapest, dearest))
    if query.free_only:
        tests.append(lambda facts: facts.is_free)
    return tests


def _word_tests(query: ModelQuery) -> list[Test]:
    tests: list[Test] = []
    if query.families:
        families = {*query.families, *(FAMILY_ALIASES.get(name, name) for name in query.families)}
        tests.append(lambda facts: facts.family in families)
    if query.input_modalities:
        tests.append(lambda facts: facts.input_modalities.issuperset(query.input_modalities))
    if query.output_modalities:
        tests.append(lambda facts: facts.output_modalities.issuperset(query.output_modalities))
    if query.supported_parameters:
        tests.append(lambda facts: facts.supported_parameters.issuperset(query.supported_parameters))
    return tests


def _reasoning_tests(query: ModelQuery) -> list[Test]:
    tests: list[Test] = []
    if query.reasoning is not None:
        tests.append(lambda facts: facts.reasoning.supported is query.reasoning)
    if query.toggleable_reasoning is not None:
        tests.append(lambda facts: facts.reasoning.toggleable is query.toggleable_reasoning)
    return tests


def _within(value: int | Decimal | None, low: int | Decimal | None, high: int | Decimal | None) -> bool:
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def _matching(entries: list[Facts], text: str) -> list[Facts]:
    """The entries that hold every word of the text, the best match first."""
    if not text:
        return entries
    words = text.split()
    ranked = [(rank, facts) for facts in entries if (rank := _rank(facts, text, words)) is not None]
    ranked.sort(key=lambda pair: pair[0])
    return [facts for _, facts in ranked]


def _rank(facts: Facts, text: str, words: list[str]) -> int | None:
    """0 is the best match; None is no match."""
    wanted = text.lstrip("~")
    if text == facts.id.casefold():
        return 0
    if wanted in (facts.key, facts.slug):
        return 1
    if wanted and facts.key.startswith(wanted):
        return 2
    if wanted and facts.slug.startswith(wanted):
        return 3
    if all(word.lstrip("~") in facts.title for word in words):
        return 4
    return 5 if all(word in facts.title or word in facts.description for word in words) else None


def _sorted(entries: list[Facts], query: ModelQuery, order: Sequence[str]) -> list[Facts]:
    if query.sort is None:
        return entries
    if query.sort in UPSTREAM_SORTS:
        place = {id_: position for position, id_ in enumerate(order)}
        return sorted(entries, key=lambda facts: place.get(facts.id, len(place)))
    return sorted(entries, key=_SORT_KEYS[query.sort])


def _number(value: int | Decimal | None, sign: int) -> Decimal:
    return _UNKNOWN if value is None else Decimal(value) * sign


def _by_price(sign: int) -> Callable[[Facts], tuple[Decimal, Decimal]]:
    def key(facts: Facts) -> tuple[Decimal, Decimal]:
        completion = facts.completion_price if isinstance(facts.completion_price, Decimal) else None
        return _number(facts.list_price, sign), _number(completion, sign)

    return key


_SORT_KEYS: Final[dict[str, Callable[[Facts], Any]]] = {
    "newest": lambda facts: _number(facts.created, -1),
    "name": lambda facts: facts.sort_name,
    "pricing_low_to_high": _by_price(1),
    "pricing_high_to_low": _by_price(-1),
    "context_high_to_low": lambda facts: _number(facts.context_length, -1),
    "context_low_to_high": lambda facts: _number(facts.context_length, 1),
}
