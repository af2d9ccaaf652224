"""Assembling tool calls from their fragments.

Providers differ in ids, indexes and how they cut the arguments (the variations are listed in the tests). What holds
for all: fragments of a call come in order; arguments are concatenated as raw strings and parsed only at the
end; every call gets an index and an id that no other call of the answer has. Pure module.
"""

from __future__ import annotations

import json
from typing import Any

from client.events import ToolCall, ToolCallDelta


class _OpenCall:
    """A call under way."""

    def __init__(self, index: int, upstream_index: int | None) -> None:
        self.index = index
        self.upstream_index = upstream_index
        self.upstream_id = ""
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.announced = False
        self.emitted = False

    @property
    def arguments(self) -> str:
        """All of the arguments so far; joined once and kept so."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def is_complete(self) -> bool:
        return is_json(self.arguments)


class ToolCallAssembler:
    """Collects the calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_OpenCall] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragments: list[Any]) -> list[ToolCallDelta]:
        """The deltas that a chunk's `tool_calls` amount to."""
        deltas = []
        for fragment in fragments:
            if isinstance(fragment, dict):
                delta = self._add_one(fragment)
                if delta is not None:
                    deltas.append(delta)
        return deltas

    def finish(self) -> list[ToolCallDelta | ToolCall]:
        """Every call not finished before, whole, by index; a call whose name never came is announced first."""
        events: list[ToolCallDelta | ToolCall] = []
        for call in sorted(self._calls, key=lambda call: call.index):
            if call.emitted:
                continue
            call.emitted = True
            if not call.announced:
                events.append(self._announce(call))
            arguments = call.arguments.strip() or "{}"
            events.append(ToolCall(call.index, call.id, call.name, arguments, is_json(arguments)))
        return events

    def has_cut_call(self) -> bool:
        """True when the JSON of some call's arguments is not whole."""
        return any(call.arguments.strip() and not call.is_complete() for call in self._calls)

    def _add_one(self, fragment: dict[str, Any]) -> ToolCallDelta | None:
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = {}
        upstream_id, name = _text(fragment.get("id")), _text(function.get("name"))
        arguments = _arguments_text(function.get("arguments"))
        call = self._find(fragment.get("index"), upstream_id, name)
        if call is None:
            call = self._open(fragment.get("index"))
        call.upstream_id = call.upstream_id or upstream_id
        call.name = call.name or name
        return self._extend(call, arguments)

    def _extend(self, call: _OpenCall, arguments: str) -> ToolCallDelta | None:
        if call.emitted or (arguments.isspace() and call.is_complete()):
            return None  # Kimi sends white space after the end
        if arguments:
            call.pieces.append(arguments)
        if not call.announced:
            return self._announce(call) if call.name else None
        return ToolCallDelta(call.index, None, None, arguments) if arguments else None

    def _announce(self, call: _OpenCall) -> ToolCallDelta:
        call.announced = True
        call.id = self._unique_id(call)
        return ToolCallDelta(call.index, call.id, call.name, call.arguments)

    def _unique_id(self, call: _OpenCall) -> str:
        taken = {other.id for other in self._calls}
        wanted = call.upstream_id or f"call_{call.index}"
        unique, suffix = wanted, call.index
        while unique in taken:
            unique, suffix = f"{wanted}_{suffix}", suffix + 1
        return unique

    def _find(self, index: Any, upstream_id: str, name: str) -> _OpenCall | None:
        """The open call that a fragment continues; None when it starts a new one."""
        if not _is_index(index):
            return self._find_without_index(upstream_id, name)
        call = next((call for call in reversed(self._calls) if call.upstream_index == index), None)
        if call is None:
            return None if upstream_id or name else self._last_cut()
        reused = upstream_id and call.upstream_id and upstream_id != call.upstream_id and name
        return None if reused else call

    def _find_without_index(self, upstream_id: str, name: str) -> _OpenCall | None:
        if upstream_id:
            same = (call for call in reversed(self._calls) if call.upstream_id == upstream_id)
            call = next(same, None)
            # the same id twice with a whole call in between is two calls, not one
            return None if call is not None and name and call.name and call.is_complete() else call
        if name:
            return None
        return self._calls[-1] if self._calls else None

    def _last_cut(self) -> _OpenCall | None:
        """Nebius and Cerebras go on at another index, without an id."""
        return next((call for call in reversed(self._calls) if not call.is_complete()), None)

    def _open(self, index: Any) -> _OpenCall:
        taken = {call.index for call in self._calls}
        upstream_index = index if _is_index(index) else None
        free = upstream_index
        if free is None or free in taken:
            free = max(taken, default=-1) + 1
        call = _OpenCall(free, upstream_index)
        self._calls.append(call)
        return call


def is_json(text: str) -> bool:
    """True when the text is one whole JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments_text(value: Any) -> str:
    """Arguments are a string; some providers send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
