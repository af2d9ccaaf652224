"""Money: exact sums, and what an answer may cost before anybody knows.

Sums are whole nano-USD, a billionth of a dollar: floats would drift, and SQLite has no decimals. The cheapest token
costs some tens of them. Pure module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeGuard

from client.model_facts import Model, effective_context_length, price_of

NANOS: Final = 1_000_000_000
"""Nano-USD in a dollar."""

UNKNOWN_PROMPT_USD_PER_M: Final = Decimal(15)
UNKNOWN_COMPLETION_USD_PER_M: Final = Decimal(75)
UNKNOWN_COMPLETION_TOKENS: Final = 32_768
"""What a model without a known price or limit is reckoned at: as dear as the dearest that are in wide use."""

_MOST_USD = Decimal(10_000)
_TEXT_BYTES_PER_TOKEN = 3
_MEDIA_TOKENS = 4_000
"""An image, a file, a piece of audio; what it really takes is known at the end."""
_MEDIA = frozenset({"image_url", "file", "input_audio", "video_url"})
_NANO_PER_TOKEN = Decimal(NANOS) / 1_000_000

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


def usd(nano: int) -> float:
    """Nano-USD as the nearest float in USD, which shows as the exact decimal."""
    return nano / NANOS


def models_of(body: Mapping[str, Any]) -> list[str]:
    """The models that may answer a request: `model`, then the fallbacks in `models`."""
    listed = body.get("models")
    named = [body.get("model"), *(listed if isinstance(listed, list) else [listed])]
    return list(dict.fromkeys(str(name) for name in named if name))


def estimate_nano_usd(body: Mapping[str, Any], known: Known) -> int:
    """The most that a request is expected to cost: its prompt and as many tokens as it may be answered with.

    Of several models the dearest counts. A dearer provider than the one that the catalogue shows, and what tools of
    OpenRouter's do, may still cost more.
    """
    prompt_tokens = _prompt_tokens(body)
    dearest = max((_estimate(body, prompt_tokens, known(name)) for name in models_of(body)), default=0)
    return min(dearest, int(_MOST_USD) * NANOS)


def tokens_nano_usd(model: Model | None, prompt_tokens: int, completion_tokens: int) -> int:
    """What so many tokens cost at the catalogue's prices."""
    prompt, completion = _prices(model)
    return int((prompt_tokens * prompt + completion_tokens * completion) * _NANO_PER_TOKEN)


def _estimate(body: Mapping[str, Any], prompt_tokens: int, model: Model | None) -> int:
    context = None if model is None else effective_context_length(model)
    if context is not None:
        prompt_tokens = min(prompt_tokens, context)
    tokens = tokens_nano_usd(model, prompt_tokens, _completion_tokens(body, model, context))
    return tokens + _fees_nano_usd(body, model)


def _completion_tokens(body: Mapping[str, Any], model: Model | None, context: int | None) -> int:
    """The caller's limit and the model's, the smaller one."""
    provider = {} if model is None else model.get("top_provider")
    limits = [body.get("max_completion_tokens"), body.get("max_tokens")]
    limits += [provider.get("max_completion_tokens") if isinstance(provider, dict) else None]
    return min([limit for limit in limits if _is_count(limit)] or [context or UNKNOWN_COMPLETION_TOKENS])


def _prices(model: Model | None) -> tuple[Decimal, Decimal]:
    """USD per million tokens of prompt and completion; a price that varies is unknown."""
    prompt = None if model is None else price_of(model, "prompt")
    completion = None if model is None else price_of(model, "completion")
    return (
        prompt if isinstance(prompt, Decimal) else UNKNOWN_PROMPT_USD_PER_M,
        completion if isinstance(completion, Decimal) else UNKNOWN_COMPLETION_USD_PER_M,
    )


def _fees_nano_usd(body: Mapping[str, Any], model: Model | None) -> int:
    """What is charged once a request, and a search where one was asked for."""
    fees = [] if model is None else [_fee(model, "request")]
    if model is not None and _asks_for_search(body):
        fees.append(_fee(model, "web_search"))
    return sum(fees)


def _fee(model: Model, kind: str) -> int:
    per_million = price_of(model, kind)  # that of one, times a million
    return int(per_million * _NANO_PER_TOKEN) if isinstance(per_million, Decimal) else 0


def _asks_for_search(body: Mapping[str, Any]) -> bool:
    asked: list[Any] = [*_list(body.get("tools")), *_list(body.get("plugins"))]
    words = [str(each.get("type") or each.get("id")) for each in asked if isinstance(each, dict)]
    return "web_search_options" in body or any("web" in word for word in words)


def _prompt_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of every text in the messages and tools; a `data:` URL of any size is one medium, no text."""
    tokens = 0
    todo: list[object] = [body.get("messages"), body.get("tools")]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            tokens += _MEDIA_TOKENS if value.startswith("data:") else _text_tokens(value)
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, dict) and value.get("type") in _MEDIA:
            tokens += _MEDIA_TOKENS
        elif isinstance(value, dict):
            tokens += len(value)  # names and marks
            todo += value.values()
    return tokens


def _text_tokens(text: str) -> int:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-size // _TEXT_BYTES_PER_TOKEN)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
