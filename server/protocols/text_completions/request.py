"""A request for a completion to the body that upstream gets: unchanged, but for a few fields. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import Detail
from client.upstream.request import ChatCall, InvalidRequest
from server.protocols.chat_completions.request import asked_grace_s

PROTOCOL = "completions"


def completions_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float) -> ChatCall:
    """What is asked for. Upstream is always asked to stream: only so can a caller who leaves stop the bill.

    Raises:
        InvalidRequest: what cannot be passed on, each field with what is wrong with it.
    """
    problems: list[Detail] = []
    if not _is_one_text(body.get("prompt")):
        problems.append(Detail("prompt", "must be one text, or the numbers of its tokens; send a request for each"))
    model = body.get("model")
    if model is not None and not (isinstance(model, str) and model):
        problems.append(Detail("model", "must be a model id, as text"))
    if not isinstance(body.get("stream") or False, bool):
        problems.append(Detail("stream", "must be true or false"))
    if body.get("n") not in (None, 1) or isinstance(body.get("n"), bool):
        problems.append(Detail("n", "one answer a request can be streamed; send the request again for another"))
    grace_s = asked_grace_s(body.get("grace_s"), max_grace_s, problems)
    if problems:
        raise InvalidRequest(problems)
    passed = {name: value for name, value in body.items() if name != "grace_s"}
    body = {**passed, "model": model or default_model, "stream": True}
    return ChatCall(body, bool(passed.get("stream")), grace_s, upstream_protocol=PROTOCOL)


def _is_one_text(prompt: Any) -> bool:
    """A text or a list of tokens, or a list of one of these."""
    if not isinstance(prompt, list):
        return isinstance(prompt, str) and prompt != ""
    if len(prompt) == 1 and isinstance(prompt[0], str | list):
        return bool(prompt[0])
    return bool(prompt) and all(isinstance(token, int) and not isinstance(token, bool) for token in prompt)
