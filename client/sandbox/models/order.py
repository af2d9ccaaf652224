"""What a chat request asks of the sandbox, read and checked once.

Pure: no I/O.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from client.sandbox.models.catalogue import DEFAULT_MODEL


class BadRequest(Exception):
    """A request that OpenRouter would answer with a 400; the text is the message."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """The body field `sandbox`: how the answer behaves, on any model.

    Attributes:
        tokens_per_s: pace of the answer; 0 is as fast as the caller reads.
        first_token_s: silence before anything is sent, the head of the reply included.
        comments: keep-alive comments before the first token.
        first_token_delay_s: time before the first token, over which the comments are spread.
        tokens: length of `sandbox/long`.
        after_tokens: where `sandbox/breaks`, `sandbox/hangs-up` and `sandbox/stalls` do so; 0 is before the first
            token.
    """

    tokens_per_s: float = 50.0
    first_token_s: float = 0.0
    comments: int = 2
    first_token_delay_s: float = 0.0
    tokens: int = 2000
    after_tokens: int = 8


_MOST = {
    "tokens_per_s": 1e6,
    "first_token_s": 86400.0,
    "comments": 1e6,
    "first_token_delay_s": 86400.0,
    "tokens": 1e6,
    "after_tokens": 1e6,
}


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request.

    Attributes:
        body: for chat completions.
        asked: as it was sent.
        models: ids in the order in which they are to be tried.
        max_tokens: None where the caller set no limit.
        prompt_tokens: an estimate, four bytes of the body to a token.
    """

    body: dict[str, Any]
    asked: dict[str, Any]
    models: tuple[str, ...]
    messages: list[dict[str, Any]]
    stream: bool
    max_tokens: int | None
    prompt_tokens: int
    knobs: Knobs

    @property
    def prompt(self) -> str:
        """The text of the last user message; "" if there is none."""
        users = (message for message in reversed(self.messages) if message["role"] == "user")
        return next((text_of(message.get("content")) for message in users), "")


def read_order(raw: bytes, as_chat: Callable[[dict[str, Any]], dict[str, Any]]) -> Order:
    """Reads the body of a request; `as_chat` makes one for chat completions of it.

    Raises:
        BadRequest: it is not one.
    """
    try:
        asked = json.loads(raw)
    except ValueError:
        raise BadRequest("Invalid JSON in the request body") from None
    if not isinstance(asked, dict):
        raise BadRequest("The request body must be a JSON object")
    body = as_chat(asked)
    return Order(
        body=body,
        asked=asked,
        models=_models(body),
        messages=_messages(body),
        stream=body.get("stream") is True,
        max_tokens=_max_tokens(body),
        prompt_tokens=max(1, len(raw) // 4),
        knobs=_knobs(body),
    )


def text_of(content: object) -> str:
    """The text of a message's content, which may be a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _models(body: dict[str, Any]) -> tuple[str, ...]:
    named = [body.get("model"), *(body.get("models") or [])]
    if not all(isinstance(name, str | None) for name in named):
        raise BadRequest("model: expected a string")
    return tuple(dict.fromkeys(name for name in named if name)) or (DEFAULT_MODEL,)


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest('Input required: specify "prompt" or "messages"')
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        raise BadRequest("messages: expected objects with a role")
    return messages


def _max_tokens(body: dict[str, Any]) -> int | None:
    for key in ("max_completion_tokens", "max_tokens"):
        limit = body.get(key)
        if limit is None:
            continue
        if type(limit) is not int or limit < 1:
            raise BadRequest(f"{key}: expected a whole number of at least 1")
        return limit
    return None


def _knobs(body: dict[str, Any]) -> Knobs:
    given = body.get("sandbox")
    if given is None:
        return Knobs()
    known = {knob.name: knob.default for knob in fields(Knobs)}
    if not isinstance(given, dict) or not given.keys() <= known.keys():
        raise BadRequest(f"sandbox: expected an object with any of {', '.join(known)}")
    for name, value in given.items():
        _check_knob(name, value, whole=isinstance(known[name], int))
    return Knobs(**given)


def _check_knob(name: str, value: object, *, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if type(value) not in kinds or not 0 <= value <= _MOST[name] or math.isnan(value):  # type: ignore[operator, arg-type]
        kind = "a whole number" if whole else "a number"
        raise BadRequest(f"sandbox.{name}: expected {kind} from 0 to {_MOST[name]:.0f}")
