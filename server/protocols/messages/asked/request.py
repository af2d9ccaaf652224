"""What is asked for in the words of Messages, as a call: passed on unchanged, or translated. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import Detail
from client.upstream.request import ChatCall, InvalidRequest
from server.protocols.messages.asked.chat_request import chat_body_of
from server.protocols.messages.asked.count import estimated_tokens
from server.protocols.messages.view import PROTOCOL


def messages_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float, passes: bool) -> ChatCall:
    """What is asked for. Upstream is always asked to stream: only so can a caller who leaves stop the bill.

    Args:
        passes: whether upstream speaks the protocol itself.

    Raises:
        InvalidRequest: what cannot be passed on, each field with what is wrong with it.
    """
    problems = body_problems(body)
    model = body.get("model")
    if model is not None and not (isinstance(model, str) and model):
        problems.append(Detail("model", "must be a model id, as text"))
    if not isinstance(body.get("stream") or False, bool):
        problems.append(Detail("stream", "must be true or false"))
    grace_s = _grace_s(body.get("grace_s"), max_grace_s, problems)
    if problems:
        raise InvalidRequest(problems)
    named = {"model": model or default_model, "stream": True}
    if passes:
        passed = {name: value for name, value in body.items() if name != "grace_s"}
        return ChatCall({**passed, **named}, bool(body.get("stream")), grace_s, upstream_protocol=PROTOCOL)
    translated = chat_body_of(body, problems)
    if problems:
        raise InvalidRequest(problems)
    return ChatCall({**translated, **named}, bool(body.get("stream")), grace_s, asked=estimated_tokens(body))


def body_problems(body: Mapping[str, Any]) -> list[Detail]:
    """What is wrong with a body of which tokens can be counted."""
    messages = body.get("messages")
    if isinstance(messages, list) and messages:
        return []
    return [Detail("messages", "is missing; give a list of at least one message")]


def _grace_s(asked: Any, max_grace_s: float, problems: list[Detail]) -> float | None:
    """None when the body does not say."""
    if asked is None:
        return None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 <= asked <= max_grace_s:
        problems.append(Detail("grace_s", f"must be a number from 0 to {max_grace_s:g}"))
        return None
    return float(asked)
