"""What `llm_chat` was asked, as the request that OpenRouter gets. Pure module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from client.upstream.request import InvalidRequest, build_chat_call
from mcp_app.chats.options import request_fields, unset_fields
from mcp_app.results.expected import check_response_format
from mcp_app.results.failures import ToolFailure

MOST_MODELS: Final = 10
"""Asked in one call."""
_URL_SCHEMES: Final = ("https://", "http://", "data:")
_URL_PARTS: Final = ("image_url", "video_url")
_MERGED: Final = "provider"
"""A field of which new wishes are added to those of before: nobody means to take back a wish for privacy."""


@dataclass(frozen=True)
class ChatArguments:
    """The arguments that shape the request; empty text and None mean that the caller said nothing."""

    prompt: str = ""
    messages: list[dict[str, Any]] | None = None
    model: str = ""
    models: tuple[str, ...] = ()
    """Several, each of which is asked."""
    system: str = ""
    reasoning_effort: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    web_search: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    going_on_from: str = ""
    """The stream whose answer is the turn before this one."""
    max_cost_usd: float | None = None
    files: tuple[str, ...] = ()
    """Paths on this machine."""
    save_to: str = ""
    overwrite: bool = False


@dataclass(frozen=True)
class Earlier:
    """A conversation so far.

    Attributes:
        body: of the request that the last answer came to.
        reply: the assistant's message.
    """

    body: Mapping[str, Any]
    reply: Mapping[str, Any]


def check_arguments(arguments: ChatArguments) -> None:
    """Finds what is wrong before anything is opened or reported.

    Raises:
        ToolFailure: there is nothing to answer, or something that cannot be sent.
    """
    messages = _messages_of(arguments)
    _check_urls(messages)
    _check_numbers(messages)
    _check_models(arguments)
    _check_cost(arguments.max_cost_usd)
    check_response_format(_fields_of(arguments).get("response_format"))


def each_model(arguments: ChatArguments) -> list[ChatArguments]:
    """The same for every model that is to be asked."""
    names = list(dict.fromkeys(name.strip() for name in arguments.models if name.strip()))
    return [replace(arguments, model=name, models=()) for name in names] or [arguments]


def body_of(
    arguments: ChatArguments,
    default_model: str,
    *,
    earlier: Earlier | None = None,
    parts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The body for OpenRouter; nothing stands in it that was not asked for.

    Args:
        earlier: the conversation that goes on.
        parts: of content, that belong to the last message of the user.

    Raises:
        ToolFailure: there is nothing to answer, or something that cannot be sent.
    """
    messages = with_parts(_messages_of(arguments), parts)
    if earlier is not None:
        messages = _joined(earlier, messages)
        default_model = str(earlier.body.get("model") or default_model)
    body = {"messages": messages} | _fields_of(arguments)
    try:
        built = build_chat_call(body, (), default_model=default_model, max_grace_s=0).body
    except InvalidRequest as exc:
        raise ToolFailure(f"{exc}. Correct that and call again.") from exc
    return built if earlier is None else _going_on(earlier.body, built, unset_fields(arguments.options))


def with_parts(messages: list[dict[str, Any]], parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with parts of content in the last one of the user: texts before its own, media behind."""
    if not parts:
        return messages
    place = max((number for number, each in enumerate(messages) if each.get("role") == "user"), default=None)
    if place is None:
        return [*messages, {"role": "user", "content": list(parts)}]
    content = messages[place].get("content")
    own = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part for part in parts if part["type"] == "text"]
    media = [part for part in parts if part["type"] != "text"]
    changed = {**messages[place], "content": [*texts, *own, *media]}
    return [*messages[:place], changed, *messages[place + 1 :]]


def _fields_of(arguments: ChatArguments) -> dict[str, Any]:
    """Everything but the messages."""
    said = {
        "model": arguments.model.strip() or None,
        "reasoning_effort": arguments.reasoning_effort.strip() or None,
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "web_search": arguments.web_search or None,
    }
    given = request_fields(arguments.options)
    told = {name: value for name, value in said.items() if value is not None}
    if twice := sorted(given.keys() & told.keys()):
        names = ", ".join(f"options.{name}" for name in twice)
        raise ToolFailure(f"{names}: is an argument too, which is given; send it once. Nothing was sent.")
    return given | told


def _messages_of(arguments: ChatArguments) -> list[dict[str, Any]]:
    messages = [{"role": "system", "content": arguments.system}] if arguments.system.strip() else []
    messages += arguments.messages or []
    if arguments.prompt.strip():
        messages.append({"role": "user", "content": arguments.prompt})
    if not arguments.prompt.strip() and not arguments.messages:
        raise ToolFailure("Nothing to answer: give `prompt` (text), or `messages` ([{role, content}, …]).")
    return messages


def _joined(earlier: Earlier, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation so far, and what is new; a new system message takes the place of the old one."""
    before = [each for each in earlier.body.get("messages", []) if isinstance(each, dict)]
    if messages[0].get("role") == "system":
        before = [each for each in before if each.get("role") != "system"]
        return [messages[0], *before, dict(earlier.reply), *messages[1:]]
    return [*before, dict(earlier.reply), *messages]


def _going_on(before: Mapping[str, Any], now: dict[str, Any], unset: set[str]) -> dict[str, Any]:
    """What was asked for before holds on, what is asked for now goes first, and what is null now is left out."""
    kept = {name: value for name, value in before.items() if name not in unset}
    if now["model"] != before.get("model"):
        kept.pop("models", None)  # fallbacks of another model
    merged = {**kept, **now}
    if _MERGED not in unset and isinstance(kept.get(_MERGED), dict) and isinstance(now.get(_MERGED), dict):
        merged[_MERGED] = {**kept[_MERGED], **now[_MERGED]}
    return merged


def _check_models(arguments: ChatArguments) -> None:
    if arguments.models and (arguments.model.strip() or arguments.options.get("model")):
        raise ToolFailure("models: cannot stand beside model; give one of them. Nothing was sent.")
    if len(each_model(arguments)) > MOST_MODELS:
        raise ToolFailure(f"models: at most {MOST_MODELS} are asked in one call. Nothing was sent.")


def _check_cost(max_cost_usd: float | None) -> None:
    if max_cost_usd is not None and max_cost_usd <= 0:
        raise ToolFailure("max_cost_usd: must be more than 0. Nothing was sent.")


def _check_urls(messages: list[dict[str, Any]]) -> None:
    """Images and files are passed on as URLs; a path would mean the reader's own disk, and is never read here."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            for url in _urls_of(part):
                if not url.lower().startswith(_URL_SCHEMES):
                    raise ToolFailure(
                        f"{url[:100]!r} is not a URL that can be sent. Give an https URL, the content as a data: "
                        "URL, or the path in `files`, where this server may read it."
                    )


def _check_numbers(messages: list[dict[str, Any]]) -> None:
    """JSON can hold a number that no float can (1e400); it would go on as null."""
    waiting: list[Any] = list(messages)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, float) and not math.isfinite(value):
            raise ToolFailure("messages: holds a number that is too large. Correct that and call again.")


def _urls_of(part: Any) -> list[str]:
    if not isinstance(part, dict):
        return []
    pictures = [part.get(name) for name in _URL_PARTS]
    found = [picture.get("url") if isinstance(picture, dict) else picture for picture in pictures]
    file = part.get("file")
    found.append(file.get("file_data") if isinstance(file, dict) else None)
    return [url for url in found if isinstance(url, str)]
