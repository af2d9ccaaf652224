"""What `llm_chat` was asked, as the request that OpenRouter gets. Pure module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from client.upstream.request import InvalidRequest, build_chat_call
from mcp_app.results.failures import ToolFailure

_URL_SCHEMES: Final = ("https://", "http://", "data:")
_URL_PARTS: Final = ("image_url", "video_url")


@dataclass(frozen=True)
class ChatArguments:
    """The arguments that shape the request; empty text and None mean that the caller said nothing."""

    prompt: str = ""
    messages: list[dict[str, Any]] | None = None
    model: str = ""
    system: str = ""
    reasoning_effort: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    web_search: bool = False


def check_arguments(arguments: ChatArguments) -> None:
    """Finds what is wrong before anything is opened or reported.

    Raises:
        ToolFailure: there is nothing to answer, or something that cannot be sent.
    """
    messages = _messages_of(arguments)
    _check_urls(messages)
    _check_numbers(messages)


def body_of(arguments: ChatArguments, default_model: str) -> dict[str, Any]:
    """The body for OpenRouter; nothing stands in it that was not asked for.

    Raises:
        ToolFailure: there is nothing to answer, or something that cannot be sent.
    """
    check_arguments(arguments)
    messages = _messages_of(arguments)
    optional = {
        "model": arguments.model.strip() or None,
        "reasoning_effort": arguments.reasoning_effort.strip() or None,
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "web_search": arguments.web_search or None,
    }
    body = {"messages": messages} | {name: value for name, value in optional.items() if value is not None}
    try:
        return build_chat_call(body, (), default_model=default_model, max_grace_s=0).body
    except InvalidRequest as exc:
        raise ToolFailure(f"{exc}. Correct that and call again.") from exc


def _messages_of(arguments: ChatArguments) -> list[dict[str, Any]]:
    messages = [{"role": "system", "content": arguments.system}] if arguments.system.strip() else []
    messages += arguments.messages or []
    if arguments.prompt.strip():
        messages.append({"role": "user", "content": arguments.prompt})
    if not arguments.prompt.strip() and not arguments.messages:
        raise ToolFailure("Nothing to answer: give `prompt` (text), or `messages` ([{role, content}, …]).")
    return messages


def _check_urls(messages: list[dict[str, Any]]) -> None:
    """Images and files are passed on as URLs; a path would mean the reader's own disk, and is never read."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            for url in _urls_of(part):
                if not url.lower().startswith(_URL_SCHEMES):
                    raise ToolFailure(
                        f"{url[:100]!r} is not a URL that can be sent: files of this machine are not read. Give an "
                        "https URL, or the content as a data: URL."
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
