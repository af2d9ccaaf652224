"""Models of the catalogue in few words: a host's context is small. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from client.border.fit import number_of
from client.models.catalogue import ModelDetails
from client.models.facts import Facts, Model, Price, facts_of, price_of
from mcp_app.results.clean import fit_fact

_MAX_DESCRIPTION = 800
_MAX_NAME = 200
_MAX_ENDPOINTS = 20
_MILLION = 1_000_000
_MOST_USD = Decimal(10**12)


def summarize_model(model: Model) -> dict[str, Any]:
    """What a choice between models needs; what is unknown is left out."""
    facts = facts_of(model)
    described = {
        "id": facts.id,
        "name": fit_fact(_plain(model.get("name"))) or facts.id,
        "context_length": facts.context_length,
        "prompt_usd_per_m": _number(facts.prompt_price),
        "completion_usd_per_m": _number(facts.completion_price),
        "inputs": sorted(facts.input_modalities - {"text"}),
        "outputs": sorted(facts.output_modalities - {"text"}),
        "reasoning": facts.reasoning.supported or None,
    }
    return _known(described)


def describe_model(details: ModelDetails, tokens: tuple[int, int] | None = None) -> dict[str, Any]:
    """One model and its endpoints; with what so many tokens, of prompt and completion, cost."""
    model = details.model
    facts = facts_of(model)
    described = summarize_model(model) | {
        "description": _plain(model.get("description"), _MAX_DESCRIPTION),
        "supported_parameters": sorted(facts.supported_parameters),
        "reasoning_efforts": _efforts(facts),
        "reasoning_can_be_off": facts.reasoning.toggleable or None,
        "max_completion_tokens": _plain(_object(model.get("top_provider")).get("max_completion_tokens")),
        "expiration_date": _plain(model.get("expiration_date")),
        "endpoints": [_endpoint(endpoint, tokens) for endpoint in details.endpoints[:_MAX_ENDPOINTS]],
        "more_endpoints": max(0, len(details.endpoints) - _MAX_ENDPOINTS) or None,
        "stale": details.stale or None,
    }
    if tokens is None:
        return _known(described)
    return _known(described) | {"estimate": _estimate(model, tokens)}


def _estimate(model: Model, tokens: tuple[int, int]) -> dict[str, Any]:
    """What so many tokens cost at the model's list price, with what is charged once a request."""
    told = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    cost_usd = _cost_usd(model, tokens)
    if cost_usd is None:
        return {**told, "note": "its price is not known, or varies"}
    return {**told, "cost_usd": cost_usd, "note": "list price; a provider may be cheaper or dearer"}


def _cost_usd(model: Model, tokens: tuple[int, int]) -> float | None:
    """None where the price is not known."""
    prices = [price_of(model, kind) for kind in ("prompt", "completion")]
    if not all(isinstance(price, Decimal) for price in prices):
        return None
    fee = price_of(model, "request")
    sums = [count * price for count, price in zip(tokens, prices, strict=True) if isinstance(price, Decimal)]
    sums += [fee] if isinstance(fee, Decimal) else []
    return float(min(sum(sums) / _MILLION, _MOST_USD))


def _endpoint(endpoint: Mapping[str, Any], tokens: tuple[int, int] | None) -> dict[str, Any]:
    prices = facts_of({"id": "-", "pricing": endpoint.get("pricing")})
    described = {
        "provider": _plain(endpoint.get("provider_name")),
        "tag": _plain(endpoint.get("tag")),
        "quantization": _plain(endpoint.get("quantization")),
        "context_length": _plain(endpoint.get("context_length")),
        "max_completion_tokens": _plain(endpoint.get("max_completion_tokens")),
        "prompt_usd_per_m": _number(prices.prompt_price),
        "completion_usd_per_m": _number(prices.completion_price),
        "uptime_last_30m": _plain(endpoint.get("uptime_last_30m")),
    }
    if tokens is not None:
        described["estimate_usd"] = _cost_usd({"id": "-", "pricing": endpoint.get("pricing")}, tokens)
    return _known(described)


def _efforts(facts: Facts) -> list[str]:
    efforts = facts.reasoning.efforts
    return ["all"] if efforts == "all" else list(efforts)


def _number(price: Price) -> float | str | None:
    return float(price) if isinstance(price, Decimal) else price


def _plain(value: object, most_chars: int = _MAX_NAME) -> object:
    """Text, not too long, or a number; whatever else upstream puts in such a place says nothing here."""
    if isinstance(value, str):
        return value[:most_chars]
    return number_of(value)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _known(described: dict[str, Any]) -> dict[str, Any]:
    """What is known of it; every value is fit for a model to read."""
    fitted = {name: value if name == "endpoints" else fit_fact(value) for name, value in described.items()}
    return {name: value for name, value in fitted.items() if value not in (None, [], "")}
