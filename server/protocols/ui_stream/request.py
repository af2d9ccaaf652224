"""What `useChat` posts to the body that upstream gets. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.errors import Detail
from client.streams.names import LONGEST_NAME
from client.upstream.request import ChatCall, InvalidRequest, build_chat_call
from server.protocols.ui_stream.messages import messages_of

_NOT_SENT_ON = ("id", "messages", "trigger", "messageId", "message", "history", "stream")


@dataclass(frozen=True, slots=True)
class UiRequest:
    """What readers of the answer need of the request.

    Attributes:
        chat_id: what the client calls the conversation; None where it did not say.
        continues: whether the answer goes on with the last message, as behind the results of its tools.
        message_id: of that message.
    """

    chat_id: str | None
    continues: bool
    message_id: str | None


def is_ui_request(body: Mapping[str, Any]) -> bool:
    """Whether it is this protocol's, and not that of Ollama, which has the same path."""
    if "trigger" in body or _has_parts(body.get("message")):
        return True
    messages = body.get("messages")
    return isinstance(messages, list) and any(map(_has_parts, messages))


def ui_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float) -> ChatCall:
    """What is asked for. Whatever the application has put beside the messages is a field of `POST /chat`.

    Raises:
        InvalidRequest: with every problem found.
    """
    chat_id, messages = body.get("id"), body.get("messages")
    problems: list[Detail] = []
    if chat_id is not None and not (isinstance(chat_id, str) and 1 <= len(chat_id) <= LONGEST_NAME):
        problems.append(Detail("id", f"must be text of 1 to {LONGEST_NAME} characters"))
    if not isinstance(messages, list) or not messages:
        problems.append(Detail("messages", "is missing; send the whole conversation: none is kept here"))
        raise InvalidRequest(problems)
    told = messages_of(messages)
    if not told:
        problems.append(Detail("messages", "holds nothing that a model could be told"))
    if problems:
        raise InvalidRequest(problems)
    system = body.get("system")
    if isinstance(system, str) and system:
        told.insert(0, {"role": "system", "content": system})
    others = {name: value for name, value in body.items() if name not in (*_NOT_SENT_ON, "system")}
    call = build_chat_call({**others, "messages": told}, (), default_model=default_model, max_grace_s=max_grace_s)
    last = messages[-1] if isinstance(messages[-1], Mapping) else {}
    return call._replace(asked=UiRequest(chat_id, *_continued(last)))


def _continued(last: Mapping[str, Any]) -> tuple[bool, str | None]:
    """An answer that had another id would be a message of its own to the client."""
    if last.get("role") != "assistant":
        return False, None
    message_id = last.get("id")
    is_fit = isinstance(message_id, str) and 1 <= len(message_id) <= LONGEST_NAME
    return True, message_id if is_fit else None


def _has_parts(message: Any) -> bool:
    return isinstance(message, Mapping) and isinstance(message.get("parts"), list)
