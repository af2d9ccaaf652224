"""A request for a completion to the body that upstream gets: unchanged, but for a few fields. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import Detail
from client.upstream.request import ChatCall
from server.protocols.chat_completions.request import streamed_call_of

PROTOCOL = "completions"


def completions_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float) -> ChatCall:
    """What is asked for. Upstream is always asked to stream: only so can a caller who leaves stop the bill.

    Raises:
        InvalidRequest: what cannot be passed on, each field with what is wrong with it.
    """
    problems: list[Detail] = []
    if not _is_one_text(body.get("prompt")):
        problems.append(Detail("prompt", "must be one text, or the numbers of its tokens; send a request for each"))
    return streamed_call_of(
        body, problems, default_model=default_model, max_grace_s=max_grace_s, upstream_protocol=PROTOCOL
    )


def _is_one_text(prompt: Any) -> bool:
    """A text or a list of tokens, or a list of one of these."""
    if not isinstance(prompt, list):
        return isinstance(prompt, str) and prompt != ""
    if len(prompt) == 1 and isinstance(prompt[0], str | list):
        return bool(prompt[0])
    return bool(prompt) and all(isinstance(token, int) and not isinstance(token, bool) for token in prompt)
