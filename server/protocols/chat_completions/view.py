"""A raw log as the event stream of Chat Completions.

Rules of this module: no `id:` lines and no `event:` names (openai's Python decoder takes a comment after an id for an
event), nothing invented at the beginning, nothing merged or put in another order. `[DONE]` comes once, last; a cut
answer has an error frame in front of it. Pure module.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec

from client.border.json_codec import decode_json, encode_json
from client.errors import Failure
from client.streams.raw_log import has_own_records, runs_of
from client.translation.events import ContentDelta, Done, ReasoningDelta
from server.protocols.chat_completions.failures import openai_error, openrouter_error
from server.protocols.chat_completions.thinking import REASONING, SecondName
from server.protocols.stopped import stopped

_ERROR = b'"error"'
_DATA = b"data: "
_END = b"\n\n"
_DONE = b"data: [DONE]\n\n"
_LINE = b"\ndata: "
_LF = 10
_LONGEST_ALONE = 4096
_THINKING = re.compile(rb'"reasoning"(?:\s|data: )*:(?:\s|data: )*"[^"]')
"""Between lines of a chunk stands what begins them in a record."""
_NOTHING_KNOWN = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}


_decode_done = msgspec.json.Decoder(Done).decode


class _View(ABC):
    """Ours are taken out, and said in the protocol's words."""

    passes: tuple[type, ...] = (ContentDelta,)

    def __init__(self) -> None:
        self._failed_with: bytes | None = None

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records."""
        if not has_own_records(records):
            return self._chunks(records)
        pieces: list[bytes] = []
        for name, data in runs_of(records):
            if name is None:
                pieces.append(self._chunks(data))
            elif name == "error":
                said = decode_json(data)
                failure = msgspec.convert(said["failure"], Failure)
                self._failed_with = self._failure(failure, is_told=said["is_upstreams"])
            elif name == "done":
                pieces.append(self._end(_decode_done(data)))
        return b"".join(pieces)

    def _end(self, done: Done) -> bytes:
        """A failure comes last: clients take the finish that they read last for the end, and upstream may tell one
        behind what it failed of, with the usage."""
        if self._failed_with is not None:
            return self._failed_with + _DONE
        if done.completed:
            return _DONE
        return self._failure(stopped(done), is_told=False) + _DONE

    @abstractmethod
    def _chunks(self, records: bytes) -> bytes:
        """The bytes for records that are all upstream's."""

    @abstractmethod
    def _failure(self, failure: Failure, *, is_told: bool) -> bytes:
        """The bytes for a failure; `is_told`: upstream's own frame tells of it."""


class ConvertedView:
    """One of the views over a log that holds no chunks, by way of records that do."""

    def __init__(self, convert: Callable[[bytes], bytes], view: _View) -> None:
        self._convert = convert
        self._view = view

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records."""
        return self._view.view(self._convert(records))


class TransparentView(_View):
    """Below `/api/v1`: upstream's chunks byte for byte, its own error frames included."""

    passes = (ContentDelta, ReasoningDelta)

    def __init__(self) -> None:
        super().__init__()
        self._head: dict[str, Any] = _NOTHING_KNOWN
        self._first: bytes | None = None

    def _chunks(self, records: bytes) -> bytes:
        if self._first is None and records:
            self._first = records[: records.index(b"\n\n")]
        return records

    def _failure(self, failure: Failure, *, is_told: bool) -> bytes:
        """OpenRouter's SDKs drop a frame without the head of a chunk."""
        if is_told:
            return b""
        first = decode_json((self._first or b"").removeprefix(b"data: "))
        known = (
            {name: first[name] for name in (*_NOTHING_KNOWN, "provider") if name in first}
            if isinstance(first, dict)
            else {}
        )
        return _frame({**_NOTHING_KNOWN, **known, "choices": [], **openrouter_error(failure)})


class OpenAiView(_View):
    """Below `/v1`: the same chunks, thinking under both names, and one form of error."""

    def __init__(self) -> None:
        super().__init__()
        self._second_name = SecondName()

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records."""
        if len(records) <= _LONGEST_ALONE:  # most reads are one that thinks
            alike = self._second_name.put_into_alike(records[: -len(_END)])
            if alike is not None:
                return alike + _END
        return super().view(records)

    def _chunks(self, records: bytes) -> bytes:
        begin = b""
        if len(records) > _LONGEST_ALONE and not self._second_name.is_learnt:  # of two it may be
            size = _end_of_second(records)
            begin, records = self._each(records[:size]), records[size:]
        run, rest = self._second_name.put_into_run(records) or (b"", records)
        return begin + run + self._each(rest)

    def _each(self, records: bytes) -> bytes:
        """Whole records, those that may change one by one."""
        if not _may_change(records):
            return records
        end = len(records)
        if records.find(_ERROR) < 0:  # then nothing changes behind the last that may think
            end = records.find(_END, records.rfind(REASONING)) + len(_END)
        told = map(self._told, records[: end - len(_END)].split(_END))
        return b"".join([record + _END for record in told if record]) + records[end:]

    def _told(self, record: bytes) -> bytes:
        """A record of a chunk, without the empty line at its end, in OpenAI's words; empty for what is not told."""
        alike = self._second_name.put_into_alike(record)
        if alike is not None or not _may_change(record):
            return alike or record
        chunk = record[len(_DATA) :]
        data = chunk.replace(_LINE, b"\n") if _LF in chunk else chunk
        said = self._second_name.put_in(data) or _openai_chunk(data)
        return _DATA + said.replace(b"\n", _LINE) if said else b""

    def _failure(self, failure: Failure, *, is_told: bool) -> bytes:
        """Bare, as OpenAI's clients look for it; upstream's own frame was left out."""
        return _frame(openai_error(failure))


def _end_of_second(records: bytes) -> int:
    """Where the second record ends, or the last before."""
    first = records.index(_END) + len(_END)
    second = records.find(_END, first)
    return first if second < 0 else second + len(_END)


def _may_change(data: bytes) -> bool:
    """Most chunks have no thinking in them, or say that they have none."""
    return data.find(_ERROR) >= 0 or (data.find(REASONING) >= 0 and _THINKING.search(data) is not None)


def _openai_chunk(data: bytes) -> bytes:
    found = decode_json(data)
    if not isinstance(found, dict):
        return data
    choices = found.get("choices")
    listed = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    is_changed = _names_thinking_twice(listed)
    is_failed = _takes_error_out(found, listed)
    if is_failed and not (found.get("usage") or any(_says_something(choice) for choice in listed)):
        return b""
    return encode_json(found) if is_changed or is_failed else data


def _names_thinking_twice(choices: list[dict[str, Any]]) -> bool:
    """`reasoning_content` beside `reasoning`: clients of OpenAI-compatible servers read one or the other."""
    is_changed = False
    for choice in choices:
        for kind in ("delta", "message"):
            said = choice.get(kind)
            if not isinstance(said, dict):
                continue
            thinking = said.get("reasoning")
            if isinstance(thinking, str) and thinking and said.get("reasoning_content") is None:
                said["reasoning_content"] = thinking
                is_changed = True
    return is_changed


def _takes_error_out(found: dict[str, Any], choices: list[dict[str, Any]]) -> bool:
    """Text and usage beside an error go out without it: the error's own frame follows."""
    holders = [each for each in (found, *choices) if each.get("error") not in (None, "", False)]
    for holder in holders:
        del holder["error"]
    for choice in choices:
        if choice.get("finish_reason") == "error":
            choice["finish_reason"] = None
            holders.append(choice)
    return bool(holders)


def _says_something(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if choice.get("text"):  # a completion's
        return True
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role")


def _frame(data: Any) -> bytes:
    return b"data: " + encode_json(data) + b"\n\n"
