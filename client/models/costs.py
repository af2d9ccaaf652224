"""Money: exact sums, and what an answer may cost before anybody knows.

Sums are whole nano-USD, a billionth of a dollar: floats would drift, and SQLite has no decimals. The cheapest token
costs some tens of them. Pure module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from client.models.facts import Model, effective_context_length, price_of
from client.models.prompt_size import BOUNDLESS, PromptSize, prompt_size

NANOS: Final = 1_000_000_000
"""Nano-USD in a dollar."""

UNKNOWN_PROMPT_USD_PER_M: Final = Decimal(15)
UNKNOWN_COMPLETION_USD_PER_M: Final = Decimal(75)
UNKNOWN_COMPLETION_TOKENS: Final = 32_768
"""What a model without a known price or limit is reckoned at: as dear as the dearest that are in wide use."""

_MOST_USD = Decimal(10_000)
_NANO_PER_TOKEN = Decimal(NANOS) / 1_000_000
_MOST_TOOLS = 1_000
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

MOST_MODELS: Final = 1_000
"""Models that one request may name and that are looked at."""

Known = Callable[[str], Model | None]
"""Finds a model in the catalogue, without waiting."""


def nano_usd(usd: object) -> int | None:
    """A sum in USD as whole nano-USD; None for what is no sum: no number, negative, not finite.

    A float counts as what it shows: 0.1 is a tenth. Sums beyond all reason are cut to 10,000 USD.
    """
    if type(usd) is float and 0 <= usd < 1000:  # as near, and much faster
        return round(usd * NANOS)
    if isinstance(usd, bool) or not isinstance(usd, int | float | Decimal):
        return None
    exact = Decimal(str(usd))
    if not exact.is_finite() or exact < 0:
        return None
    return int((min(exact, _MOST_USD) * NANOS).to_integral_value())


def budget_nano_usd(budget: Decimal | None) -> int | None:
    """A budget in USD as whole nano-USD; None is none. What is no sum lets nothing be spent."""
    if budget is None:
        return None
    return int(budget * NANOS) if budget.is_finite() and budget > 0 else 0


def usd(nano: int) -> float:
    """Nano-USD as the nearest float in USD, which shows as the exact decimal."""
    return nano / NANOS


def models_of(body: Mapping[str, Any]) -> list[str]:
    """The models that may answer a request: `model`, `models` and `fallbacks`, `MOST_MODELS` of each of these."""
    named = [body.get("model")]
    for listed in (body.get("models"), body.get("fallbacks")):
        named += listed[:MOST_MODELS] if isinstance(listed, list) else [listed]
    named = [each.get("model") if isinstance(each, dict) and "model" in each else each for each in named]
    return list(dict.fromkeys(name_of(name) for name in named if name))


def name_of(value: object) -> str:
    """A name as text; what is no text is named by its kind, however large it is."""
    return value if isinstance(value, str) else type(value).__name__


class NothingWritten(dict[str, Any]):
    """A request to which no model writes anything, such as one for embeddings: what is read alone costs."""


class Reckoning(NamedTuple):
    """As much of a request as its price depends on.

    Attributes:
        models: those that may answer; of several the dearest counts.
        asked_tokens: the most tokens that the caller wants of an answer; None: as many as the model gives.
        answers: how many are wanted; 0: nothing is written.
        has_other_models: whether models may answer that are not known.
        is_search: whether a search is asked for.
    """

    prompt: PromptSize
    models: tuple[str, ...]
    asked_tokens: int | None
    answers: int
    has_other_models: bool
    is_search: bool

    def nano_usd(self, known: Known) -> int:
        """The most that the answer is expected to cost: its prompt and as many tokens as it may be answered with.

        A dearer provider than the one that the catalogue shows, and what tools of OpenRouter's do, may still cost
        more.
        """
        each = [self._of(known(name), name) for name in self.models]
        if self.has_other_models or not each:
            each.append(self._of(None, ""))
        return min(max(each), int(_MOST_USD) * NANOS)

    def _of(self, model: Model | None, name: str) -> int:
        tokens = _tokens_nano_usd(
            _prices(model, is_cached=self.prompt.is_cached),
            min(self.prompt.tokens, _largest_context(model)),
            self._completion_tokens(model) * self.answers,
        )
        fees = 0 if model is None else _fee(model, "request")
        if model is not None and (self.is_search or ":online" in name):
            fees += _fee(model, "web_search")
        return tokens + fees

    def _completion_tokens(self, model: Model | None) -> int:
        """The caller's limit, the model's and its context, the smallest of them."""
        limits = [self.asked_tokens]
        if model is not None:
            limits += [_count(_provider(model).get("max_completion_tokens")), effective_context_length(model)]
        return min([limit for limit in limits if limit is not None] or [UNKNOWN_COMPLETION_TOKENS])


def reckon(body: Mapping[str, Any]) -> Reckoning:
    """Takes from a request what its price depends on; in a time that its size bounds, whatever is in it."""
    listed = body.get("models")
    return Reckoning(
        prompt_size(body),
        tuple(models_of(body)),
        _asked_tokens(body),
        0 if isinstance(body, NothingWritten) else max(_count(body.get("n")) or 1, _count(body.get("best_of")) or 1),
        has_other_models=body.get("preset") is not None
        or any(isinstance(each, list) and len(each) > MOST_MODELS for each in (listed, body.get("fallbacks"))),
        is_search=_asks_for_search(body),
    )


def estimate_nano_usd(body: Mapping[str, Any], known: Known) -> int:
    """The most that a request is expected to cost; see `Reckoning`."""
    return reckon(body).nano_usd(known)


def tokens_nano_usd(model: Model | None, prompt_tokens: int, completion_tokens: int) -> int:
    """What so many tokens cost at the catalogue's prices, up to 10,000 USD."""
    return min(_tokens_nano_usd(_prices(model), prompt_tokens, completion_tokens), int(_MOST_USD) * NANOS)


def _tokens_nano_usd(prices: tuple[Decimal, Decimal], prompt_tokens: int, completion_tokens: int) -> int:
    return int((prompt_tokens * prices[0] + completion_tokens * prices[1]) * _NANO_PER_TOKEN)


def _asked_tokens(body: Mapping[str, Any]) -> int | None:
    """The caller's own limit; None where there is none, or one of which nobody knows what upstream makes of it.

    Of two that differ the larger one counts, and what may be thought comes on top.
    """
    given = [body[name] for name in _LIMITS if body.get(name) is not None]
    limits = [_count(value) for value in given]
    if not limits or None in limits:
        return None
    most = max(limit for limit in limits if limit is not None)
    reasoning = body.get("reasoning")
    thought = reasoning.get("max_tokens") if isinstance(reasoning, dict) else None
    if thought is None or thought == 0:
        return most
    thought = _count(thought)
    return None if thought is None else most + thought


def _largest_context(model: Model | None) -> int:
    """Tokens of the longest prompt that any provider may take, which is not the top provider alone."""
    contexts = [] if model is None else [_count(each.get("context_length")) for each in (model, _provider(model))]
    return max([context for context in contexts if context is not None], default=BOUNDLESS)


def _provider(model: Model) -> Mapping[str, Any]:
    provider = model.get("top_provider")
    return provider if isinstance(provider, dict) else {}


def _prices(model: Model | None, *, is_cached: bool = False) -> tuple[Decimal, Decimal]:
    """USD per million tokens of prompt and completion; a price that varies is unknown.

    The dearest way to read a token counts, and the dearest way to make one.
    """
    kinds = ("prompt", "input_cache_write", "input_cache_write_1h") if is_cached else ("prompt",)
    return (
        _dearest(model, kinds, UNKNOWN_PROMPT_USD_PER_M),
        _dearest(model, ("completion", "internal_reasoning"), UNKNOWN_COMPLETION_USD_PER_M),
    )


def _dearest(model: Model | None, kinds: tuple[str, ...], unknown: Decimal) -> Decimal:
    """The highest price of these kinds; that of the first one must be known."""
    prices = [] if model is None else [price_of(model, kind) for kind in kinds]
    if not prices or not isinstance(prices[0], Decimal):
        return unknown
    return max(price for price in prices if isinstance(price, Decimal))


def _fee(model: Model, kind: str) -> int:
    """What is charged once a request."""
    per_million = price_of(model, kind)  # that of one, times a million
    return int(per_million * _NANO_PER_TOKEN) if isinstance(per_million, Decimal) else 0


def _asks_for_search(body: Mapping[str, Any]) -> bool:
    for kind in ("tools", "plugins"):
        listed = body.get(kind)
        listed = listed if isinstance(listed, list) else [listed]
        if len(listed) > _MOST_TOOLS or any(_is_search(each) for each in listed):
            return True
    return "web_search_options" in body


def _is_search(tool: object) -> bool:
    return isinstance(tool, dict) and "web" in name_of(tool.get("type") or tool.get("id"))


def _count(value: object) -> int | None:
    """A number of tokens as a request states it: 10 or 10.0, but neither text nor what is not positive."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        return None
    return int(value) if value == int(value) else None
