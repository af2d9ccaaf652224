"""What a client has sent, judged by the rules of JSON-RPC before the SDK sees it: the same over stdio and over HTTP.

The SDK answers nothing that it cannot parse, and a host then waits for its time-out. Here every message gets its due:
a request is passed on, what is none is refused with the code that JSON-RPC has for it and an id of null, and
notifications and responses are never answered. Pure module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from mcp_app.results.clean import clean_text, clean_texts

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602

MAX_BATCH: Final = 100
"""Messages in one batch."""
MAX_VALUES: Final = 10_000
"""JSON values of one message beside a tool's arguments: the SDK makes an error of every one that is wrong, of some
hundred bytes each."""
BATCH_REVISIONS: Final = frozenset({"2024-11-05", "2025-03-26"})
"""JSON-RPC has batches; of the protocol's revisions the first says nothing of them, the second demands that servers
take them, and all after it have none."""
NO_BATCH: Final = (
    "A batch is possible only in a connection whose `initialize` agreed to revision 2025-03-26 or older."
)


@dataclass(frozen=True, slots=True)
class Refused:
    """What is no message, with the error that says so."""

    code: int
    message: str
    id: int | str | None = None
    data: dict[str, Any] | None = None

    def answer(self) -> dict[str, Any]:
        """The error response."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": self.id, "error": error}


@dataclass(frozen=True, slots=True)
class Message:
    """A request, a notification or a response.

    Attributes:
        is_changed: whether it is no longer exactly what was sent.
    """

    content: dict[str, Any]
    is_changed: bool = False

    @property
    def method(self) -> str | None:
        """None for a response."""
        return self.content.get("method")

    @property
    def is_request(self) -> bool:
        """Whether it must be answered."""
        return "method" in self.content and "id" in self.content

    @property
    def id(self) -> int | str:
        """Of a request."""
        found: int | str = self.content["id"]
        return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Several messages sent as one; none of them is `initialize`, which must stand alone."""

    items: list[Message | Refused]


Judged = Message | Refused | Batch


def read_message(data: bytes) -> Judged:
    """Judges one line of stdin, or the body of one POST."""
    try:
        found, is_changed = _decode(data)
    except _NotJson as exc:
        return Refused(PARSE_ERROR, f"Parse error: {exc}")
    if not isinstance(found, list):
        return _judge(found, is_changed)
    if not found:
        return Refused(INVALID_REQUEST, "Invalid request: an empty batch.")
    if len(found) > MAX_BATCH:
        return Refused(INVALID_REQUEST, f"Invalid request: a batch holds at most {MAX_BATCH} messages.")
    return Batch([_judge_item(item) for item in found])


def _judge_item(item: Any) -> Message | Refused:
    judged = _judge(item, is_changed=True)
    if isinstance(judged, Message) and judged.method == "initialize":
        return Refused(INVALID_REQUEST, "Invalid request: initialize must not be part of a batch.")
    return judged


def _judge(found: Any, is_changed: bool) -> Message | Refused:
    if not isinstance(found, dict):
        return _invalid("a message is a JSON object")
    if found.get("jsonrpc") != "2.0":
        return _invalid('a message holds "jsonrpc": "2.0"')
    if "method" not in found:
        if "result" in found or "error" in found:
            return Message(found, is_changed)
        return _invalid("there is no method")
    if not isinstance(found["method"], str):
        return _invalid("the method is a text")
    if "id" in found:
        request_id = _id_of(found["id"])
        if request_id is None:
            return _invalid("an id is a text or a whole number")
        is_changed = is_changed or request_id is not found["id"]
        found = {**found, "id": request_id} if is_changed else found
    return _judge_params(found, is_changed)


def _judge_params(found: dict[str, Any], is_changed: bool) -> Message | Refused:
    params = found.get("params")
    if _holds_too_much(found):
        said = f"it holds more than {MAX_VALUES:,} values beside a tool's arguments."
        return Refused(INVALID_PARAMS, f"Invalid params: {said}", found.get("id"))
    if params is None or isinstance(params, dict):
        return Message(found, is_changed)
    if isinstance(params, list) and "id" in found:  # JSON-RPC knows them, this protocol does not
        return Refused(INVALID_PARAMS, "Invalid params: they are an object.", found["id"])
    if isinstance(params, list):
        return Message(found, is_changed)
    return _invalid("params is an object")


def _holds_too_much(found: dict[str, Any]) -> bool:
    params = found.get("params")
    if isinstance(params, dict) and found.get("method") == "tools/call":
        found = {**found, "params": {name: value for name, value in params.items() if name != "arguments"}}
    count = 0
    pending: list[Any] = [found]
    while pending:
        holder = pending.pop()
        count += len(holder)
        if count > MAX_VALUES:
            return True
        inside = holder.values() if isinstance(holder, dict) else holder
        pending += [value for value in inside if isinstance(value, dict | list)]
    return False


def _invalid(what: str) -> Refused:
    return Refused(INVALID_REQUEST, f"Invalid request: {what}.")


def _id_of(value: Any) -> int | str | None:
    """An id as it is sent back; None for what is none."""
    if isinstance(value, float) and value.is_integer():  # 7.0 is the whole number 7
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return None if isinstance(value, str) and clean_text(value) != value else value


class _NotJson(Exception):
    """Says why."""


def _decode(data: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether it had to be changed to be one."""
    try:
        return from_json(data, allow_inf_nan=False), False
    except ValueError:
        return _decode_carefully(data)


def _decode_carefully(data: bytes) -> tuple[Any, bool]:
    """Takes a byte order mark and halves of surrogate pairs, which a host that cuts text sends; else says why not."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _NotJson(f"not UTF-8 (byte {exc.start})") from exc
    try:
        return from_json(text, allow_inf_nan=False), True
    except ValueError as exc:
        if "\\u" not in text:
            raise _NotJson(str(exc)[:200]) from exc
    try:
        return _clean_params(json.loads(text, parse_constant=_refuse_constant)), True
    except RecursionError as exc:
        raise _NotJson("nested too deeply") from exc
    except ValueError as exc:
        raise _NotJson(str(exc)[:200]) from exc


def _clean_params(found: Any) -> Any:
    """Without halves in what a tool gets; an id with one stays as it is, and is refused."""
    if isinstance(found, list):
        return [_clean_params(item) if isinstance(item, dict) else item for item in found]
    if not isinstance(found, dict):
        return found
    return {name: value if name == "id" else clean_texts(value) for name, value in found.items()}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
