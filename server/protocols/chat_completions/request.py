"""A Chat Completions request to the body that upstream gets: unchanged, but for a few fields. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import Detail
from client.translation.foreign.fronts import CHAT as UPSTREAM_CHAT
from client.upstream.request import ChatCall, InvalidRequest


def chat_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float) -> ChatCall:
    """What is asked for. Upstream is always asked to stream: only so can a caller who leaves stop the bill.

    Raises:
        InvalidRequest: what cannot be passed on, each field with what is wrong with it.
    """
    problems: list[Detail] = []
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        problems.append(Detail("messages", "is missing; give a list of at least one message"))
    return streamed_call_of(body, problems, default_model=default_model, max_grace_s=max_grace_s)


def streamed_call_of(
    body: Mapping[str, Any],
    problems: list[Detail],
    *,
    default_model: str,
    max_grace_s: float,
    upstream_protocol: str = UPSTREAM_CHAT,
) -> ChatCall:
    """The call for a body that upstream answers in chunks; `problems` are those of its prompt.

    Raises:
        InvalidRequest: what cannot be passed on, each field with what is wrong with it.
    """
    model = body.get("model")
    if model is not None and not (isinstance(model, str) and model):
        problems.append(Detail("model", "must be a model id, as text"))
    is_streamed = body.get("stream") or False
    if not isinstance(is_streamed, bool):
        problems.append(Detail("stream", "must be true or false"))
    count = body.get("n")
    if count is not None and (count != 1 or isinstance(count, bool)):
        problems.append(Detail("n", "one answer a request can be streamed; send the request again for another"))
    grace_s = asked_grace_s(body.get("grace_s"), max_grace_s, problems)
    if problems:
        raise InvalidRequest(problems)
    passed = dict(body)
    passed.pop("grace_s", None)
    passed["model"] = model or default_model
    passed["stream"] = True
    return ChatCall(passed, is_streamed, grace_s, upstream_protocol=upstream_protocol)


def asked_grace_s(asked: Any, max_grace_s: float, problems: list[Detail]) -> float | None:
    """Seconds that the answer shall go on with no reader; None when the body does not say."""
    if asked is None:
        return None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 <= asked <= max_grace_s:
        problems.append(Detail("grace_s", f"must be a number from 0 to {max_grace_s:g}"))
        return None
    return float(asked)
