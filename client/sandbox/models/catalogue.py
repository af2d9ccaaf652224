"""The models of the sandbox, as OpenRouter lists them: whole objects, and the queries of `GET /models`.

Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

PROVIDER = "Sandbox"
DEFAULT_MODEL = "sandbox/echo"
DEFAULT_LIMIT, MAX_LIMIT = 500, 1000

Model = dict[str, Any]

_TEXT_PARAMETERS = ["max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"]
_PACE = ' The body field `"sandbox": {"tokens_per_s": N}` sets the pace (50; 0 is as fast as possible).'
_CUT = ' `"sandbox": {"after_tokens": N}` says after how many tokens (8).'
_EPOCH = 1767225600
_DAY_S = 86400


def _model(
    slug: str,
    description: str,
    *,
    day: int,
    price: tuple[str, str],
    context_length: int = 131072,
    inputs: Sequence[str] = ("text",),
    outputs: Sequence[str] = ("text",),
    parameters: Sequence[str] = (),
    prices: Mapping[str, str] | None = None,
    reasoning: Mapping[str, Any] | None = None,
) -> Model:
    """One entry; `price` is USD per token for prompt and completion, as decimal strings."""
    name = slug.replace("-", " ").title()
    model: Model = {
        "id": f"sandbox/{slug}",
        "canonical_slug": f"sandbox/{slug}-20260101",
        "hugging_face_id": "",
        "name": f"Sandbox: {name}",
        "created": _EPOCH + day * _DAY_S,
        "description": description + _PACE,
        "context_length": context_length,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
            "input_modalities": list(inputs),
            "output_modalities": list(outputs),
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": price[0], "completion": price[1], **(prices or {})},
        "top_provider": {
            "context_length": context_length,
            "max_completion_tokens": min(context_length, 65536),
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": [*_TEXT_PARAMETERS, *parameters],
        "default_parameters": {"temperature": None, "top_p": None, "frequency_penalty": None},
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/sandbox/{slug}/endpoints"},
    }
    return model if reasoning is None else {**model, "reasoning": dict(reasoning)}


MODELS: tuple[Model, ...] = (
    _model(
        "echo",
        "Answers with the request as it arrived: the JSON body, indented.",
        day=1,
        price=("0.0000001", "0.0000004"),
        context_length=1048576,
        inputs=("text", "image", "file", "audio"),
        parameters=("tools", "tool_choice", "response_format", "reasoning"),
    ),
    _model(
        "reasoner",
        "Thinks, then answers. The effort sets how long it thinks; thinking that comes back altered in a later"
        " turn is refused, as Claude does.",
        day=2,
        price=("0.000003", "0.000015"),
        context_length=200000,
        parameters=("reasoning", "include_reasoning", "reasoning_effort"),
        prices={"internal_reasoning": "0.000015", "input_cache_read": "0.0000003"},
        reasoning={
            "mandatory": False,
            "default_enabled": True,
            "default_effort": "medium",
            "supported_efforts": ["max", "xhigh", "high", "medium", "low", "minimal", "none"],
            "supports_max_tokens": True,
        },
    ),
    _model(
        "tools",
        "Calls the first function it is offered, with arguments made from its schema, and uses the result on the"
        " next turn.",
        day=3,
        price=("0.0000005", "0.0000015"),
        parameters=("tools", "tool_choice", "parallel_tool_calls"),
    ),
    _model(
        "search",
        "Cites: two url_citation annotations, then the answer; the search shows in the usage and in the cost.",
        day=4,
        price=("0.000001", "0.000001"),
        parameters=("tools", "web_search_options"),
        prices={"web_search": "0.005"},
    ),
    _model(
        "painter",
        "Returns a small PNG beside a line of text.",
        day=5,
        price=("0.0000003", "0.0000025"),
        context_length=32768,
        inputs=("text", "image"),
        outputs=("image", "text"),
        prices={"image_output": "0.00003"},
    ),
    _model("refuser", "Refuses every request, politely.", day=6, price=("0.0000002", "0.0000002")),
    _model(
        "long",
        'Counts to 2,000, one number per token; `"sandbox": {"tokens": N}` says how far.',
        day=7,
        price=("0.00000015", "0.0000006"),
        context_length=1048576,
    ),
    _model(
        "markdown",
        "Answers in Markdown: headings, lists, a table, code, formulas, and pieces that must do nothing.",
        day=0,
        price=("0.0000004", "0.0000016"),
        context_length=65536,
    ),
    _model(
        "no-credits",
        "402: the account cannot afford it.",
        day=8,
        price=("0.000015", "0.000075"),
    ),
    _model(
        "rate-limited",
        "429 with Retry-After: 1 twice, then an answer; the same request is counted per key.",
        day=9,
        price=("0", "0"),
        context_length=8192,
    ),
    _model("breaks", "Reports an error in the middle of the answer." + _CUT, day=10, price=("0.000001", "0.000002")),
    _model(
        "hangs-up",
        "Cuts the connection in the middle of the answer." + _CUT,
        day=11,
        price=("0.000001", "0.000002"),
    ),
    _model(
        "stalls",
        "Goes silent in the middle of the answer, without comments, until the caller leaves." + _CUT,
        day=12,
        price=("0.000001", "0.000002"),
    ),
)

EMBEDDER: Model = {
    **_model("embedder", "", day=12, price=("0.00000002", "0"), context_length=8192, outputs=("embeddings",)),
    "description": "Gives numbers that depend on the text alone, at `/embeddings`.",
}
"""Answers no chat, and is listed with models of its kind alone."""

_BY_ID = {model["id"]: model for model in MODELS} | {model["canonical_slug"]: model for model in MODELS}


def find_model(model_id: str) -> Model | None:
    """The model of this id or permanent slug; a `:variant` on it is ignored."""
    return _BY_ID.get(model_id.split(":", 1)[0])


def _prompt_price(model: Model) -> Decimal:
    return Decimal(model["pricing"]["prompt"])


def _as_listed(model: Model) -> int:
    return MODELS.index(model)


_SORTS: dict[str, Callable[[Model], Any]] = {
    "most-popular": _as_listed,
    "top-weekly": _as_listed,
    "newest": lambda model: -model["created"],
    "pricing-low-to-high": _prompt_price,
    "pricing-high-to-low": lambda model: -_prompt_price(model),
    "context-high-to-low": lambda model: -model["context_length"],
    # The sandbox measures nothing: these three give an order that is fixed and unlike the others.
    "throughput-high-to-low": lambda model: (model["context_length"], model["id"]),
    "latency-low-to-high": lambda model: model["id"],
    "intelligence-high-to-low": lambda model: (-_prompt_price(model), model["id"]),
}


def select_models(query: Mapping[str, str]) -> list[Model]:
    """What `GET /models` lists before paging.

    Raises:
        ValueError: a value that OpenRouter would refuse.
    """
    found = [model for model in MODELS if _matches(model, query)]
    sort = query.get("sort", "most-popular")
    if sort not in _SORTS:
        raise ValueError(f"sort: {sort!r} is not one of {', '.join(_SORTS)}")
    return sorted(found, key=_SORTS[sort])


def _matches(model: Model, query: Mapping[str, str]) -> bool:
    architecture = model["architecture"]
    outputs = _words(query.get("output_modalities", "text"))
    million = _prompt_price(model) * 1_000_000
    return (
        query.get("q", "").lower() in f"{model['id']} {model['name']}".lower()
        and _words(query.get("supported_parameters", "")) <= set(model["supported_parameters"])
        and _words(query.get("input_modalities", "")) <= set(architecture["input_modalities"])
        and ("all" in outputs or bool(outputs & set(architecture["output_modalities"])))
        and model["context_length"] >= _number(query, "context", Decimal(0))
        and _number(query, "min_price", Decimal(0)) <= million <= _number(query, "max_price", million)
    )


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",") if word.strip()}


def _number(query: Mapping[str, str], key: str, default: Decimal) -> Decimal:
    try:
        return Decimal(query[key]) if key in query else default
    except ArithmeticError:
        raise ValueError(f"{key}: {query[key]!r} is not a number") from None


def page_bounds(query: Mapping[str, str]) -> tuple[int, int] | None:
    """`offset` and `limit` of the page asked for; None where the whole list is.

    Raises:
        ValueError: not a whole number, or out of range.
    """
    if "offset" not in query and "limit" not in query:
        return None
    offset, limit = int(query.get("offset", 0)), int(query.get("limit", DEFAULT_LIMIT))
    if offset < 0 or not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"offset must be 0 or more, limit 1 to {MAX_LIMIT}")
    return offset, limit


def model_endpoints(model: Model) -> dict[str, Any]:
    """The `data` of `GET /models/{author}/{slug}/endpoints`: one provider serves each model."""
    shared = ("id", "name", "created", "description", "architecture")
    return {**{key: model[key] for key in shared}, "endpoints": [_endpoint(model)]}


def _endpoint(model: Model) -> dict[str, Any]:
    return {
        "name": f"{PROVIDER} | {model['canonical_slug']}",
        "model_id": model["id"],
        "model_name": model["name"],
        "provider_name": PROVIDER,
        "tag": PROVIDER.lower(),
        "pricing": {**model["pricing"], "discount": 0},
        "context_length": model["context_length"],
        "max_completion_tokens": model["top_provider"]["max_completion_tokens"],
        "max_prompt_tokens": None,
        "quantization": None,
        "supported_parameters": model["supported_parameters"],
        "supports_tool_choice": dict.fromkeys(
            ("auto", "none", "required", "function"), "tools" in model["supported_parameters"]
        ),
        "supports_implicit_caching": False,
        "supports_diarization": False,
        "native_tools": {},
        "service_tier": None,
        "status": 0,
        "uptime_last_5m": 100,
        "uptime_last_30m": 100,
        "uptime_last_1d": 100,
        "latency_last_30m": None,
        "throughput_last_30m": None,
    }
