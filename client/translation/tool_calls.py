"""Assembling tool calls from their fragments.

Providers differ in ids, indexes and how they cut the arguments (the variations are listed in the tests), so none of
index, id, name and position is trusted alone. What holds for all: fragments of a call come in order; arguments are
concatenated as raw strings and parsed only at the end; every call gets an index and an id that no other call of the
answer has. A call is given out whole at the answer's end only: a finish may be withdrawn by what follows it, a call
that was said to be complete cannot. Every fragment costs the same, however many came before. Pure module.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from client.border.json_codec import decode_json, encode_json
from client.border.json_progress import JsonProgress
from client.translation.events import ToolCall, ToolCallDelta

_EMPTY = frozenset({"{}", "null", '""'})
_LARGEST_INDEX = 2**31
"""A larger number is no place in a list."""


class _OpenCall:
    """A call under way."""

    __slots__ = ("_progress", "_seen", "at", "id", "index", "is_announced", "name", "pieces", "told", "upstream_id")

    def __init__(self, index: int, at: int | None) -> None:
        self.index = index
        self.at = at  # the index that upstream gave
        self.upstream_id = ""
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.told = 0  # pieces that deltas have given out
        self.is_announced = False
        self._progress = JsonProgress()
        self._seen = 0  # pieces that the progress knows of

    @property
    def arguments(self) -> str:
        """All of the arguments so far."""
        return "".join(self.pieces)

    @property
    def has_ended(self) -> bool:
        """Whether the arguments are a whole value; looks at new pieces only."""
        while self._seen < len(self.pieces):
            self._progress.feed(self.pieces[self._seen])
            self._seen += 1
        return self._progress.has_ended

    @property
    def is_placeholder(self) -> bool:
        """Whether the arguments so far are an empty value, which may stand for others that are still to come."""
        return len(self.pieces) == 1 and len(self.pieces[0]) < 9 and "".join(self.pieces[0].split()) in _EMPTY

    def restart(self) -> None:
        """The arguments so far were none."""
        self.pieces = []
        self.told = self._seen = 0
        self._progress = JsonProgress()

    def untold(self) -> str:
        """The arguments that no delta has given out yet."""
        count, told = len(self.pieces), self.told
        self.told = count
        return self.pieces[-1] if count == told + 1 else "".join(self.pieces[told:])


class Fragment:
    """What one entry of `tool_calls` says."""

    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, found: dict[str, Any]) -> None:
        function = found.get("function")
        if not isinstance(function, dict):
            function = found
        self.index = _index_of(found.get("index"))
        self.id = _text(found.get("id"))
        self.name = _text(function.get("name"))
        self.arguments = _arguments_text(function.get("arguments"))

    @property
    def is_blank(self) -> bool:
        """Whether it says nothing, of no call."""
        return not (self.id or self.name or self.arguments.strip())

    @property
    def starts_value(self) -> bool:
        """Whether an object or a list begins with it."""
        return self.arguments.lstrip()[:1] in ("{", "[")


class ToolCallAssembler:
    """Collects the calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_OpenCall] = []
        self._by_id: dict[str, _OpenCall] = {}
        self._at_index: dict[int | None, list[_OpenCall]] = {}  # those that the last chunk that began any there began
        self._indexes: set[int] = set()
        self._next_index = 0
        self._ids: set[str] = set()
        self._suffixes: dict[str, int] = {}
        self._unfinished: list[_OpenCall] = []  # in order; those that have ended meanwhile are dropped when met
        self._waiting: dict[_OpenCall, None] = {}  # not announced: what they have may only hold the place
        self._emitted: list[ToolCall] | None = None
        self._named_now: set[_OpenCall] = set()  # by fragments of the chunk under way
        self._begun_now: set[int | None] = set()  # indexes at which this chunk began calls
        self._met_now: dict[int | None, int] = {}  # fragments without id and name of this chunk, by index

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragments: list[Any]) -> list[ToolCallDelta]:
        """The deltas that a chunk's `tool_calls` amount to."""
        self._begin_chunk()
        deltas = (self._add(Fragment(found)) for found in fragments if isinstance(found, dict))
        return [delta for delta in deltas if delta is not None]

    def add_alone(self, fragment: Fragment) -> ToolCallDelta | None:
        """The delta that a chunk with this one fragment amounts to."""
        self._begin_chunk()
        there = self._at_index.get(fragment.index)
        if there is not None and len(there) == 1 and not fragment.id and not fragment.name:  # as nearly all are
            return self._extend(there[0], fragment)
        return self._add(fragment)

    @property
    def is_waiting(self) -> bool:
        """Whether some call is to be announced with the next piece, or before anything else is passed on."""
        return bool(self._waiting)

    def flush(self) -> list[ToolCallDelta]:
        """The deltas of calls that waited for other arguments than the empty value they have."""
        deltas = [self._tell(call) for call in list(self._waiting)]
        return [delta for delta in deltas if delta is not None]

    def finish(self, *, is_cut: bool = False) -> list[ToolCallDelta | ToolCall]:
        """Every call, whole, by index, once; before it what was not told of it.

        No arguments at all, and an empty value that nothing has followed, are an empty object; but where the answer
        was cut off (`is_cut`) a call of which no arguments have come is not whole.
        """
        if self._emitted is not None:
            return []
        self._emitted = []
        events: list[ToolCallDelta | ToolCall] = []
        for call in sorted(self._calls, key=lambda call: call.index):
            if call.is_placeholder and call.arguments.strip() != "{}":
                call.restart()
            if (untold := self._tell(call)) is not None:
                events.append(untold)
            arguments = call.arguments.strip() or "{}"
            may_be_whole = bool(call.name) and not (is_cut and not call.pieces)
            whole = ToolCall(call.index, call.id, call.name, arguments, may_be_whole and is_json(arguments))
            self._emitted.append(whole)
            events.append(whole)
        return events

    def has_cut_call(self) -> bool:
        """True when some call was given out as incomplete."""
        return any(not call.complete for call in self._emitted or ())

    # -- one fragment -------------------------------------------------------------------------------------------

    def _begin_chunk(self) -> None:
        if self._named_now or self._begun_now or self._met_now:
            self._named_now.clear()
            self._begun_now.clear()
            self._met_now.clear()

    def _add(self, fragment: Fragment) -> ToolCallDelta | None:
        call = self._call_of(fragment)
        return None if call is None else self._extend(call, fragment)

    def _extend(self, call: _OpenCall, fragment: Fragment) -> ToolCallDelta | None:
        """Adds what a fragment says to its call."""
        if fragment.id and not call.upstream_id:
            call.upstream_id = fragment.id
        if fragment.id:
            self._by_id[fragment.id] = call
        if fragment.name:
            self._named_now.add(call)
            call.name = call.name or fragment.name
        arguments = "" if self._goes_nowhere(call, fragment) else fragment.arguments
        if arguments:
            call.pieces.append(arguments)
        if len(call.pieces) > 1 and call.is_announced and not self._waiting:  # as most are
            return ToolCallDelta(call.index, None, None, call.untold()) if arguments else None
        if not call.name:
            return None
        if call.is_placeholder and not call.told:
            self._waiting[call] = None
            return None
        return self._tell(call)

    def _tell(self, call: _OpenCall) -> ToolCallDelta | None:
        """What no delta has told of a call yet."""
        if self._waiting:
            self._waiting.pop(call, None)
        if not call.is_announced:
            return self._announce(call)
        untold = call.untold()
        return ToolCallDelta(call.index, None, None, untold) if untold else None

    def _goes_nowhere(self, call: _OpenCall, fragment: Fragment) -> bool:
        """Whether a piece adds nothing: white space before the arguments, and after them, as Kimi sends it.

        What was only a placeholder is forgotten when the arguments themselves begin.
        """
        first = fragment.arguments[:1]
        if first and first not in " \t\r\n{[":
            return False
        if fragment.arguments.isspace():
            return not call.pieces or call.is_placeholder or call.has_ended
        if fragment.starts_value and call.is_placeholder:
            call.restart()
        return False

    def _announce(self, call: _OpenCall) -> ToolCallDelta:
        call.is_announced = True
        call.id = self._unique_id(call)
        return ToolCallDelta(call.index, call.id, call.name, call.untold())

    def _unique_id(self, call: _OpenCall) -> str:
        wanted = call.upstream_id or f"call_{call.index}"
        unique = wanted
        if unique in self._ids:
            suffix = self._suffixes.get(wanted, call.index)
            while (unique := f"{wanted}_{suffix}") in self._ids:
                suffix += 1
            self._suffixes[wanted] = suffix + 1
        self._ids.add(unique)
        return unique

    # -- whose fragment it is -----------------------------------------------------------------------------------

    def _call_of(self, fragment: Fragment) -> _OpenCall | None:
        """The call that a fragment continues, or a new one; None for a fragment that is of no call."""
        candidate = self._candidate(fragment)
        if candidate is None:
            return None if fragment.is_blank else self._open(fragment)
        return candidate if self._continues(candidate, fragment) else self._open(fragment)

    def _candidate(self, fragment: Fragment) -> _OpenCall | None:
        """The call that a fragment continues if it continues any."""
        index = fragment.index
        there = self._at_index.get(index)
        known = self._by_id.get(fragment.id) if fragment.id else None
        if known is not None and (index is None or (not fragment.name if there is None else known.at == index)):
            return known
        if there is None:
            return None if fragment.id or fragment.name else self._last_unfinished()
        if len(there) == 1 or fragment.id or fragment.name:
            return there[-1]
        position = self._met_now.get(index, 0)
        self._met_now[index] = position + 1
        return there[min(position, len(there) - 1)]

    def _continues(self, call: _OpenCall, fragment: Fragment) -> bool:
        """Whether the fragment is a piece of that call, or the first one of another."""
        is_same_id = bool(fragment.id) and fragment.id == call.upstream_id
        if not fragment.name:
            return is_same_id or not (fragment.id and fragment.index is None and call.has_ended)
        is_new_here = call not in self._named_now  # two names in one chunk are two calls
        if call.name and fragment.name != call.name:
            return is_same_id and is_new_here and not call.has_ended
        starts_value = fragment.starts_value
        is_in_the_middle = bool(call.pieces and fragment.arguments) and not starts_value and not call.has_ended
        is_other_id = bool(fragment.id and call.upstream_id) and not is_same_id
        if is_in_the_middle or is_other_id or not (is_new_here or is_same_id):
            return is_in_the_middle
        if not (starts_value and call.has_ended):  # the name is repeated, or comes late
            return True
        return call.is_placeholder and bool(call.upstream_id) and is_new_here

    def _last_unfinished(self) -> _OpenCall | None:
        """Nebius and Cerebras go on at another index, without an id."""
        while self._unfinished and self._unfinished[-1].has_ended:
            self._unfinished.pop()
        return self._unfinished[-1] if self._unfinished else None

    def _open(self, fragment: Fragment) -> _OpenCall:
        index = fragment.index
        if index is None or index in self._indexes:
            while self._next_index in self._indexes:
                self._next_index += 1
            free = self._next_index
        else:
            free = index
        self._indexes.add(free)
        self._next_index = max(self._next_index, free + 1)
        call = _OpenCall(free, index)
        self._calls.append(call)
        self._unfinished.append(call)
        if index in self._begun_now:
            self._at_index[index].append(call)
        else:
            self._at_index[index] = [call]
            self._begun_now.add(index)
        return call


def is_json(text: str) -> bool:
    """True when the text is one whole JSON value; with a NaN in it, it is one to Python alone."""
    try:
        json.loads(text, parse_constant=_refuse)
    except RecursionError:
        return decode_json(text.encode("utf-8", "replace")) is not None
    except ValueError:
        return False
    return True


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _index_of(value: Any) -> int | None:
    """A place in a list, also as text or as `1.0`; None for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_index = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_INDEX
    return value if is_index else None


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        return str(value)
    return value if isinstance(value, str) else ""


def _arguments_text(value: Any) -> str:
    """Arguments are a string; some providers send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return encode_json(value).decode()
