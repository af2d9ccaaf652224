"""Pieces of parallel calls in every cut and numbering, and what putting them together costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from client.translation.events import ToolCall, ToolCallDelta
from client.translation.tool_calls import ToolCallAssembler
from client.translation.translate import ChatTranslator
from tests.support.chunks import DONE, call, calls, chunk

Fragments = list[list[dict[str, Any]]]


def assemble(*chunks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Names and arguments, proved to be what the deltas add up to, and their ids and indexes to be unique."""
    calls = ToolCallAssembler()
    events = [delta for chunk in chunks for delta in calls.add(chunk)] + calls.finish()
    told: dict[int, str] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            told[event.index] = told.get(event.index, "") + event.arguments
    whole = [event for event in events if isinstance(event, ToolCall)]
    for each in whole:
        assert (told[each.index].strip() or "{}") == each.arguments
        assert each.complete, each
    assert len({each.id for each in whole}) == len({each.index for each in whole}) == len(whole)
    return [(each.name, each.arguments) for each in whole]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        # F1: an empty value that another follows held the place for it
        ([[call(0, "{}", "f", "a")], [call(0, '{"s":1}')]], [("f", '{"s":1}')]),
        ([[call(0, "{}", "f", "a")], [call(0, '{"s"')], [call(0, ":1}")]], [("f", '{"s":1}')]),
        ([[call(0, "{}", "f", "a")], [call(0, '{"s":1}', None, "a")]], [("f", '{"s":1}')]),
        ([[call(0, "{}", "f", "a")], [call(0, '{"s":1}', "f", "a")]], [("f", '{"s":1}')]),
        ([[call(0, "null", "f", "a")], [call(0, '{"s":1}')]], [("f", '{"s":1}')]),
        ([[call(0, '""', "f", "a")], [call(0, "{}")]], [("f", "{}")]),
        ([[call(0, "null", "f", "a")]], [("f", "{}")]),
        ([[call(0, "", "f", "a")], [call(0, " ")], [call(0, "{ }")], [call(0, "\n")]], [("f", "{}")]),
        # F2: arguments as an object
        ([[call(0, {"s": 1}, "f", "a")]], [("f", '{"s": 1}')]),
        ([[call(0, {}, "f", "a")], [call(0, {"s": 1})]], [("f", '{"s": 1}')]),
        ([[{"index": 0, "id": "a", "name": "f", "arguments": {"s": 1}}]], [("f", '{"s": 1}')]),
        # F3: two names at one index without ids
        ([[call(0, "{}", "f")], [call(0, '{"x":1}', "g")]], [("f", "{}"), ("g", '{"x":1}')]),
        ([[call(0, "", "f"), call(0, "", "g")], [call(0, "[1]"), call(0, "[2]")]], [("f", "[1]"), ("g", "[2]")]),
        (
            [[call(None, "", "f"), call(None, "", "g")], [call(None, "[1]"), call(None, "[2]")]],
            [("f", "[1]"), ("g", "[2]")],
        ),
        ([[call(0, "[1]", "f")], [call(0, "[2]", "f")]], [("f", "[1]"), ("f", "[2]")]),
        ([[call(0, "{}", "f"), call(0, "{}", "f")]], [("f", "{}"), ("f", "{}")]),
        ([[call(0, "{}", "f", "c"), call(0, "{}", "g", "c")]], [("f", "{}"), ("g", "{}")]),
        # ids: repeated, late, new with every piece, numbers, the same on other calls
        ([[call(0, "[", "f", "a")], [call(0, "1]", "f", "a")]], [("f", "[1]")]),
        ([[call(0, "[", "f")], [call(0, "1]", None, "a")]], [("f", "[1]")]),
        ([[call(0, "[", "f", "a")], [call(0, "1]", "f", "b")]], [("f", "[1]")]),
        ([[call(0, "[", "f", "a")], [call(0, "1]", None, "b")]], [("f", "[1]")]),
        ([[{**call(0, "{}", "f"), "id": 7}], [{**call(1, "{}", "g"), "id": 7}]], [("f", "{}"), ("g", "{}")]),
        (
            [
                [call(None, "[", "f", "a")],
                [call(None, "[", "g", "b")],
                [call(None, "1]", None, "a")],
                [call(None, "2]", None, "b")],
            ],
            [("f", "[1]"), ("g", "[2]")],
        ),
        # names: repeated on every piece
        ([[call(0, "", "f")], [call(0, "[", "f")], [call(0, "1]", "f")]], [("f", "[1]")]),
        ([[call(None, "", "f")], [call(None, "[", "f")], [call(None, "1]", "f")]], [("f", "[1]")]),
        # indexes: as text, as 1.0, of no use, another one for the same call
        ([[call(0, "[", "f", "a")], [{**call(0, "1]"), "index": "0"}]], [("f", "[1]")]),
        ([[call(0, "[", "f", "a")], [{**call(0, "1]"), "index": 0.0}]], [("f", "[1]")]),
        ([[{**call(0, "[", "f", "a"), "index": -1}], [{**call(0, "1]"), "index": 1e300}]], [("f", "[1]")]),
        ([[call(0, "[1,", "f", "a")], [call(1, "2")], [call(2, "]")]], [("f", "[1,2]")]),
        (
            [[call(0, "[1]", "f", "a")], [call(1, "[2]", "g", "b")], [call(1, " ")], [call(7, " ")]],
            [("f", "[1]"), ("g", "[2]")],
        ),
        # braces and quotes inside strings end nothing
        (
            [[call(0, '{"a":"}\\', "f", "a")], [call(0, '"{')], [call(0, "    ")], [call(0, '"}')]],
            [("f", '{"a":"}\\"{    "}')],
        ),
    ],
)
def test_pieces_find_their_call(chunks: Fragments, expected: list[tuple[str, str]]) -> None:
    """faults F1, F2, F3"""
    assert assemble(*chunks) == expected


def test_an_empty_object_is_told_with_the_call_and_not_before_what_may_follow() -> None:
    calls = ToolCallAssembler()
    assert calls.add([call(0, "{}", "f", "a")]) == []
    assert calls.flush() == [ToolCallDelta(0, "a", "f", "{}")]
    assert calls.flush() == []
    assert [type(each) for each in calls.finish()] == [ToolCall]
    calls = ToolCallAssembler()
    assert calls.add([call(0, "", "f", "a")]) == [ToolCallDelta(0, "a", "f", "")]
    assert calls.add([call(0, "{}")]) == []
    assert calls.is_waiting
    assert calls.add([call(0, '{"s"')]) == [ToolCallDelta(0, None, None, '{"s"')]
    assert not calls.is_waiting


def test_a_call_without_a_name_or_whole_arguments_must_not_be_run() -> None:
    calls = ToolCallAssembler()
    calls.add([call(0, "{}"), call(1, '{"a"', "f")])
    assert [each.complete for each in calls.finish() if isinstance(each, ToolCall)] == [False, False]
    assert calls.has_cut_call()


def work(run: Callable[[], object]) -> int:
    """What it takes: every call of a function, the characters it has at hand, and the size of what it returns."""
    total = 0

    def count(frame: Any, kind: str, argument: Any) -> None:
        nonlocal total
        if kind in ("call", "c_call"):
            total += 1 + sum(len(value) for value in frame.f_locals.values() if isinstance(value, str))
        elif kind == "return" and isinstance(argument, str | list | set | dict):
            total += len(argument)

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return total


def blanks(n: int) -> Fragments:
    pieces = [[call(0, 'print(1)", "')], [call(0, "    ")]] * n
    return [[call(0, '{"code": ["', "f", "c")], *pieces, [call(0, '"]}')]]


MANY: dict[str, Callable[[int], Fragments]] = {
    "calls in one event": lambda n: [[call(i, "{}", "f", f"c{i}")] for i in range(n)],
    "calls in one list": lambda n: [[call(i, "{}", "f", f"c{i}") for i in range(n)]],
    "blank pieces": blanks,
    "pieces at another index": lambda n: [
        [call(0, '{"code": "', "f", "c")],
        *[[call(1, "print(1); ")]] * n,
        [call(1, '"}')],
    ],
    "one id": lambda n: [[call(i, "{}", "f", "c")] for i in range(n)],
    "one id and index": lambda n: [[call(0, "{}", "f", "c") for _ in range(n)]],
    "one index": lambda n: [[call(0, "[1]", "f")] for _ in range(n)],
    "no index": lambda n: [[call(None, "[1]", "f") for _ in range(n)]],
    "ids that take the made-up ones": lambda n: (
        [[call(i, "{}", "f", f"c_{i + n}")] for i in range(n)] + [[call(i + n, "{}", "f", "c")] for i in range(n)]
    ),
    "values after the end": lambda n: [[call(0, "[1]", "f", "c")], *[[call(0, "[1]")]] * n],
    "calls that have ended": lambda n: [[call(i, "[1]", "f", f"c{i}")] for i in range(n)] + [[call(n, " ")]] * n,
    "names that never come": lambda n: [[call(0, "[1,")], *[[call(0, "1,")]] * n],
}


@pytest.mark.parametrize("kind", MANY)
def test_calls_cost_in_proportion_to_their_size(kind: str) -> None:
    """break-it 15"""

    def run(chunks: Fragments) -> None:
        calls = ToolCallAssembler()
        for fragments in chunks:
            calls.add(fragments)
        calls.finish()

    small, large = MANY[kind](300), MANY[kind](1200)
    assert work(lambda: run(large)) < 5 * work(lambda: run(small))


@pytest.mark.parametrize(
    ("end", "is_whole"),
    [
        (chunk({}, "tool_calls") + DONE, True),
        (chunk({}, "stop") + DONE, True),
        (chunk({}, "length") + DONE, False),
        (chunk({}, "tool_calls", "max_output_tokens") + DONE, False),
        (chunk({}, "content_filter") + DONE, False),
        (b"", False),
    ],
)
def test_a_call_that_was_cut_before_its_arguments_is_not_whole(end: bytes, is_whole: bool) -> None:
    translator = ChatTranslator(lambda: 0.0)
    events = translator.receive_data(calls(call(0, "", "f", "a")) + end) + translator.receive_eof()
    assert [each.complete for each in events if isinstance(each, ToolCall)] == [is_whole]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_only_python_takes_for_json_is_not_whole(value: str) -> None:
    translator = ChatTranslator(lambda: 0.0)
    events = translator.receive_data(calls(call(0, f'{{"a":{value}}}', "f", "a")) + chunk({}, "tool_calls") + DONE)
    assert [each.complete for each in events if isinstance(each, ToolCall)] == [False]
