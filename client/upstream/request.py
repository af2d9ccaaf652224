"""A caller's request to the JSON body that OpenRouter gets.

A few shorthands become the OpenRouter fields they stand for; everything else passes through untouched, names we do
not know too. No field is invented. Pure module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from client.border.details import bounded, details_of, items_like, items_of, query_name, summary
from client.errors import Detail
from client.translation.foreign.fronts import CHAT

NotNegative = Annotated[StrictInt, Field(ge=0)] | Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
Names = Annotated[StrictStr | list[StrictStr], items_of(str)]


class HistoryMessage(BaseModel):
    """An earlier turn, for callers that send `message` alone."""

    model_config = ConfigDict(extra="allow")

    role: StrictStr
    content: Any


def _is_turn(item: Any) -> bool:
    return type(item) is dict and type(item.get("role")) is str and "content" in item


History = Annotated[list[HistoryMessage], items_like(_is_turn, HistoryMessage)]
"""Checked, and left as it came: its items are dicts."""


Messages = Annotated[list[dict[str, Any]], items_of(dict)]


class ChatRequest(BaseModel):
    """The body of `POST /chat`: shorthands of ours; any other OpenRouter field may stand beside them."""

    model_config = ConfigDict(extra="allow")

    message: StrictStr | None = Field(None, description="The last user message.")
    history: History | None = Field(None, description="Earlier turns, with `message`.")
    system: StrictStr | None = Field(None, description="The system message, with `message`.")
    messages: Messages | None = Field(None, description="OpenRouter messages, instead of `message`.")
    model: StrictStr | None = Field(None, min_length=1, description="A model id; the server's default without.")
    stream: StrictBool | None = Field(None, description="false: one JSON reply instead of events.")
    grace_s: NotNegative | None = Field(None, description="Seconds that the answer goes on with no reader.")
    sort: StrictStr | dict[str, Any] | None = Field(None, description="`provider.sort`")
    providers: Names | None = Field(None, description="`provider.order`, as list or comma list")
    max_price: NotNegative | dict[str, Any] | None = Field(
        None, description="`provider.max_price`; a number sets prompt and completion, USD per million tokens"
    )
    fallbacks: Names | None = Field(None, description="`models` after the first, as list or comma list")
    require_parameters: StrictBool | None = Field(None, description="`provider.require_parameters`")
    reasoning_effort: StrictStr | None = Field(None, description="`reasoning.effort`")
    reasoning_max_tokens: StrictInt | None = Field(None, ge=0, description="`reasoning.max_tokens`")
    hide_reasoning: StrictBool | None = Field(None, description="`reasoning.exclude`")
    disable_reasoning: StrictBool | None = Field(None, description="`reasoning.enabled: false`")
    web_search: StrictBool | dict[str, Any] | None = Field(
        None, description="The server tool `openrouter:web_search`; an object gives its parameters"
    )


QUERY_FIELDS = (
    "sort",
    "providers",
    "max_price",
    "fallbacks",
    "require_parameters",
    "reasoning_effort",
    "reasoning_max_tokens",
    "hide_reasoning",
    "disable_reasoning",
    "web_search",
    "model",
    "message",
    "stream",
)
"""Fields that may also come as query parameters."""

_FLAGS = {"require_parameters", "hide_reasoning", "disable_reasoning", "web_search", "stream"}
_PROVIDER_FIELDS = {"sort": "sort", "providers": "order", "max_price": "max_price"}
_PROVIDER_FIELDS["require_parameters"] = "require_parameters"
_REASONING_FIELDS = {
    "reasoning_effort": "effort",
    "reasoning_max_tokens": "max_tokens",
    "hide_reasoning": "exclude",
    "disable_reasoning": "enabled",
}
_SHORTHANDS = frozenset({*_PROVIDER_FIELDS, *_REASONING_FIELDS, "fallbacks", "web_search"})
_OUR_FIELDS = frozenset(ChatRequest.model_fields)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class InvalidRequest(Exception):
    """A request that cannot be passed on; `details` names every field and what is wrong with it.

    Of a great many problems it names the first, and how many there are.
    """

    def __init__(self, details: list[Detail]) -> None:
        self.details = bounded(details)
        super().__init__(summary(self.details))


class ChatCall(NamedTuple):
    """A request made ready.

    Attributes:
        body: the JSON object for OpenRouter's `/chat/completions`, or for another of its routes.
        stream: whether the caller wants events.
        grace_s: seconds the answer goes on with no reader; None: the server's default.
        asked: what of the request the readers of another protocol need to see again; nothing that goes upstream.
        upstream_protocol: that of the body: chat completions, or one of `upstream.protocols`.
    """

    body: dict[str, Any]
    stream: bool = True
    grace_s: float | None = None
    asked: object = None
    upstream_protocol: str = CHAT


def build_chat_call(
    body: Mapping[str, Any],
    query: Iterable[tuple[str, str]],
    *,
    default_model: str,
    max_grace_s: float,
) -> ChatCall:
    """Checks a request and builds what goes upstream.

    Raises:
        InvalidRequest: with every problem found.
    """
    problems: list[Detail] = []
    merged = _merge_query(body, query, problems)
    request = _validate(merged, problems)
    if request is None:
        raise InvalidRequest(problems)
    problems += _conflicts(request, merged, max_grace_s)
    if problems:
        raise InvalidRequest(problems)
    return ChatCall(
        body=_upstream_body(request, merged, default_model),
        stream=request.stream is not False,
        grace_s=request.grace_s,
    )


def _merge_query(body: Mapping[str, Any], query: Iterable[tuple[str, str]], problems: list[Detail]) -> dict[str, Any]:
    """The body with the query's fields in it; the same one in both places is a problem."""
    merged = dict(body)
    seen: set[str] = set()
    for name, text in query:
        if name not in QUERY_FIELDS:
            problems.append(Detail(query_name(name), f"unknown; known are {', '.join(QUERY_FIELDS)}"))
        elif name in body:
            problems.append(Detail(f"query.{name}", "is in the body too; send it in one place"))
        elif name in seen:
            problems.append(Detail(f"query.{name}", "is given twice"))
        else:
            merged[name] = _query_value(name, text, problems)
        seen.add(name)
    return merged


def _query_value(name: str, text: str, problems: list[Detail]) -> Any:
    try:
        if name in _FLAGS:
            return _TRUTHS[text.strip().lower()]
        if name == "reasoning_max_tokens":
            return int(text)
        if name == "max_price":
            return float(text)
    except (KeyError, ValueError):
        wanted = "true or false" if name in _FLAGS else "a number"
        problems.append(Detail(f"query.{name}", f"must be {wanted}, not {text[:50]!r}"))
        return None
    return text


def _validate(merged: dict[str, Any], problems: list[Detail]) -> ChatRequest | None:
    try:
        return ChatRequest.model_validate({name: value for name, value in merged.items() if name in _OUR_FIELDS})
    except ValidationError as exc:
        problems += details_of(exc)
        return None


def _conflicts(request: ChatRequest, merged: dict[str, Any], max_grace_s: float) -> list[Detail]:
    """What is well-formed, but cannot be meant."""
    problems = _message_problems(request)
    if _has_shorthands(merged):
        problems += _shorthand_problems(request, merged)
    if request.grace_s is not None and request.grace_s > max_grace_s:
        problems.append(Detail("grace_s", f"is at most {max_grace_s:g} on this server"))
    if "n" in merged and not _is_one(merged["n"]):
        problems.append(Detail("n", "one answer a request can be streamed; send the request again for another"))
    return problems


def _is_one(value: Any) -> bool:
    return type(value) in (int, float) and value == 1


def _message_problems(request: ChatRequest) -> list[Detail]:
    if request.messages is not None:
        beside = [name for name in ("message", "history", "system") if getattr(request, name) is not None]
        problems = [Detail(name, "cannot stand beside messages; send one of them") for name in beside]
        if not request.messages:
            problems.append(Detail("messages", "is empty; give at least one message"))
        return problems
    if request.message is None:
        return [Detail("message", "is missing; give message (text) or messages (a list)")]
    if not request.message.strip():
        return [Detail("message", "is blank")]
    return []


def _has_shorthands(merged: Mapping[str, Any]) -> bool:
    """Most requests have none; they are spared the look at each one."""
    return not _SHORTHANDS.isdisjoint(merged)


def _shorthand_problems(request: ChatRequest, merged: dict[str, Any]) -> list[Detail]:
    problems = _group_problems(merged, "provider", _PROVIDER_FIELDS)
    problems += _group_problems(merged, "reasoning", _REASONING_FIELDS)
    if request.fallbacks is not None and merged.get("models") is not None:
        problems.append(Detail("fallbacks", "sets models, which is in the request too; send one of them"))
    if request.web_search not in (None, False) and _has_web_search(merged.get("tools")):
        problems.append(Detail("web_search", "adds openrouter:web_search to tools, where it stands already"))
    if request.disable_reasoning and _asks_for_reasoning(merged):
        problems.append(Detail("disable_reasoning", "contradicts the other reasoning fields; send one of them"))
    return problems


def _group_problems(merged: dict[str, Any], group: str, fields: Mapping[str, str]) -> list[Detail]:
    """A shorthand beside the field that it sets; other keys of the group are kept."""
    given = merged.get(group)
    shorthands = [name for name in fields if merged.get(name) is not None]
    if given is None or not shorthands:
        return []
    if not isinstance(given, dict):
        return [Detail(group, f"must be an object to stand beside {', '.join(shorthands)}")]
    return [
        Detail(name, f"sets {group}.{fields[name]}, which is in the request too; send one of them")
        for name in shorthands
        if fields[name] in given
    ]


def _asks_for_reasoning(merged: dict[str, Any]) -> bool:
    others = [name for name in _REASONING_FIELDS if name != "disable_reasoning"]
    return any(merged.get(name) is not None for name in (*others, "reasoning", "include_reasoning"))


def _has_web_search(tools: Any) -> bool:
    if not isinstance(tools, list):
        return False
    return any(isinstance(tool, dict) and tool.get("type") == "openrouter:web_search" for tool in tools)


def _upstream_body(request: ChatRequest, merged: dict[str, Any], default_model: str) -> dict[str, Any]:
    body = {name: value for name, value in merged.items() if name not in _OUR_FIELDS}
    body["model"] = request.model or default_model
    body["messages"] = _messages(request, merged)
    body["stream"] = True
    if _has_shorthands(merged):
        _expand_shorthands(body, request)
    return body


def _expand_shorthands(body: dict[str, Any], request: ChatRequest) -> None:
    """Puts the fields that they stand for into the body."""
    _group(body, "provider", _provider_fields(request))
    _group(body, "reasoning", _reasoning_fields(request))
    if request.fallbacks is not None:
        body["models"] = [body["model"], *names_of(request.fallbacks)]
    if request.web_search not in (None, False):
        parameters = {"parameters": request.web_search} if isinstance(request.web_search, dict) else {}
        tools = body.get("tools")
        listed = tools if isinstance(tools, list) else []
        body["tools"] = [*listed, {"type": "openrouter:web_search", **parameters}]


def _messages(request: ChatRequest, merged: dict[str, Any]) -> list[Any]:
    if request.messages is not None:
        untouched: list[Any] = merged["messages"]
        return untouched
    system = [{"role": "system", "content": request.system}] if request.system is not None else []
    history = [
        {**turn, "role": "assistant"} if turn["role"] == "model" else turn for turn in merged.get("history") or []
    ]
    return [*system, *history, {"role": "user", "content": request.message}]


def _provider_fields(request: ChatRequest) -> dict[str, Any]:
    price = request.max_price
    if isinstance(price, (int, float)):
        price = {"prompt": price, "completion": price}
    fields = {
        "sort": request.sort,
        "order": None if request.providers is None else names_of(request.providers),
        "max_price": price,
        "require_parameters": request.require_parameters,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reasoning_fields(request: ChatRequest) -> dict[str, Any]:
    fields = {
        "effort": request.reasoning_effort,
        "max_tokens": request.reasoning_max_tokens,
        "exclude": request.hide_reasoning,
        "enabled": False if request.disable_reasoning else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _group(body: dict[str, Any], name: str, fields: dict[str, Any]) -> None:
    if fields:
        body[name] = {**(body.get(name) or {}), **fields}


def names_of(value: str | list[str]) -> list[str]:
    """A comma list or a list, without blanks."""
    names = value.split(",") if isinstance(value, str) else value
    return [name.strip() for name in names if name.strip()]
