"""A person at a terminal: conversations, Ctrl-C, what is pasted, what is attached to again."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import Hold, Mark, Reply, Sandbox
from tests.sdk.python.cutting import cutting_proxy
from tests.sdk.python.terminal.running import (
    CTRL_C,
    CTRL_D,
    PASTE,
    PASTED,
    in_terminal,
    kill_hard,
    piped,
)
from tests.support.chunks import END, STOP, chunk, text
from tests.support.serving import Api

PROMPT = ">>> "
OPTIONS = "-m", "acme/m"


def said(answer: str) -> Reply:
    return Reply.stream(text(answer), STOP, END)


def asked(upstream: Sandbox) -> list[list[Any]]:
    """The messages of every call: what each says."""
    return [[message["content"] for message in call.json["messages"]] for call in upstream.calls]


async def test_a_conversation_sends_what_was_said(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("It scatters."), said("Red."))
    async with in_terminal(tmp_path, api.url, *OPTIONS, "-s", "Be short.") as terminal:
        await terminal.wait_shown(PROMPT)
        await terminal.say("Why is the sky blue?", "It scatters.\n")
        await terminal.wait_shown(PROMPT)
        await terminal.say("And at night?", "Red.\n")
        await terminal.wait_shown(PROMPT)
        await terminal.say("/cost", "0.002000 USD for 2 answers")
        await terminal.wait_shown(PROMPT)
        terminal.type(CTRL_D)
        assert await terminal.wait_exit() == 0
    first = ["Be short.", "Why is the sky blue?"]
    assert asked(upstream) == [first, [*first, "It scatters.", "And at night?"]]


async def test_every_command_does_what_it_says(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("one"), said("two"), said("three"), said("four"))
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf ' and written\\nin two lines' >> \"$2\"\n")
    editor.chmod(0o755)
    async with in_terminal(tmp_path, api.url, EDITOR=f"{editor} --wait") as terminal:
        await terminal.wait_shown(PROMPT)
        for command, then in (
            ("/?", "/retry"),
            ("/nonsense", "there is no /nonsense"),
            ("/model", "the default of the server"),
            ("/model acme/m", "model: acme/m"),
            ("/system Be short.", "system: Be short."),
            ("/set temperature 0.5", "temperature = 0.5"),
            ("/set stop x y", "stop = 'x y'"),
            ("/set stop", "temperature = 0.5"),
            ("/retry", "nothing was asked yet"),
            ("first", "one\n"),
            ("/retry", "two\n"),
            ("/clear", "a new conversation"),
            ("/system -", "system: none"),
            (" /not a command", "three\n"),
            ("/clear", "a new conversation"),
            ("/edit typed", "four\n"),
            ("/cost", "0.001000 USD for 1 answers"),
        ):
            await terminal.say(command, then)
            await terminal.wait_shown(PROMPT)
        terminal.type("/bye\r")
        assert await terminal.wait_exit() == 0
    wanted = ["Be short.", "first"]
    assert asked(upstream) == [wanted, wanted, ["/not a command"], ["typed and written\nin two lines"]]
    assert [call.json.get("temperature") for call in upstream.calls] == [0.5] * 4
    assert {call.json["model"] for call in upstream.calls} == {"acme/m"}


async def test_several_lines_are_one_message(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("one"), said("two"))
    async with in_terminal(tmp_path, api.url, *OPTIONS) as terminal:
        await terminal.wait_shown(PROMPT)
        terminal.type('"""first\r')
        await terminal.wait_shown("... ")
        terminal.type("  second\r")
        await terminal.wait_shown("... ")
        await terminal.say('third"""', "one\n")
        await terminal.wait_shown(PROMPT)
        terminal.type(f"{PASTE}def f():\r    return 1\r\rf(){PASTED}")  # as terminals send line ends
        await terminal.say("", "two\n")
        await terminal.wait_shown(PROMPT)
        terminal.type(CTRL_D)
        assert await terminal.wait_exit() == 0
    assert asked(upstream)[0] == ["first\n  second\nthird"]
    assert asked(upstream)[1][-1] == "def f():\n    return 1\n\nf()"


async def test_ctrl_c_ends_the_answer_at_upstream_and_stays(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(Reply.stream(text("It scat"), Hold()), said("ters."))
    async with in_terminal(tmp_path, api.url, *OPTIONS) as terminal:
        await terminal.wait_shown(PROMPT)
        await terminal.say("Why?", "It scat")
        terminal.type(CTRL_C)
        await terminal.wait_shown("stopped")
        call = await upstream.wait_call()
        await call.closed.wait()
        assert call.cancelled
        await terminal.wait_shown(PROMPT)
        await terminal.say("Go on.", "ters.\n")
        await terminal.wait_shown(PROMPT)
        await terminal.wait_for_keys()
        terminal.type(CTRL_C)
        await terminal.wait_shown("Ctrl-C again leaves")
        await terminal.wait_shown(PROMPT)
        await terminal.wait_for_keys()
        terminal.type(CTRL_C)
        assert await terminal.wait_exit() == 130
    assert asked(upstream)[1] == ["Why?", "It scat", "Go on."]
    assert api.streams.active == 0


async def test_ctrl_c_before_the_first_word_stops_too(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("never").after(Hold()))
    async with in_terminal(tmp_path, api.url, *OPTIONS, "Why?") as terminal:
        call = await upstream.wait_call()
        terminal.type(CTRL_C)
        assert await terminal.wait_exit() == 130
        await call.closed.wait()
    assert call.cancelled
    assert "stopped" in terminal.shown
    assert "Traceback" not in terminal.shown


async def test_ctrl_c_twice_leaves_also_when_the_server_does_not_answer(tmp_path: Path) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asking.set()
        await reader.read()
        writer.close()

    asking = asyncio.Event()
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server, in_terminal(tmp_path, f"127.0.0.1:{server.sockets[0].getsockname()[1]}", "Why?") as terminal:
        await asking.wait()
        terminal.type(CTRL_C)
        asking.clear()
        await asking.wait()  # the request that would stop it
        terminal.type(CTRL_C)
        assert await terminal.wait_exit() == 130
    assert "Traceback" not in terminal.shown


async def test_attach_shows_the_rest_after_the_program_was_killed(
    api: Api, upstream: Sandbox, tmp_path: Path
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("It scat"), Hold(go_on), text("ters."), STOP, END), said("Red."))
    async with in_terminal(tmp_path, api.url, *OPTIONS) as terminal:
        await terminal.wait_shown(PROMPT)
        await terminal.say("Why?", "It scat")
        kill_hard(terminal)
        await terminal.wait_exit()
    while api.streams.readers:  # noqa: ASYNC110 - nobody tells of readers
        await asyncio.sleep(0)
    code, listed, _ = await piped(tmp_path, api.url, "ps")
    assert (code, listed.count("running")) == (0, 1)
    async with in_terminal(tmp_path, api.url, "attach") as terminal:
        await terminal.wait_shown("It scat")
        go_on.set()
        await terminal.wait_shown("ters.\n")
        assert await terminal.wait_exit() == 0
    assert len(upstream.calls) == 1
    assert await piped(tmp_path, api.url, "attach") == (0, "It scatters.\n", "")
    code, answer, _ = await piped(tmp_path, api.url, "-c", "And at night?")
    assert (code, answer) == (0, "Red.\n")
    assert asked(upstream)[1] == ["Why?", "It scatters.", "And at night?"]


async def test_going_on_takes_what_came_while_nobody_was_there(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    go_on, over = asyncio.Event(), asyncio.Event()
    upstream.script(Reply.stream(text("It scat"), Hold(go_on), text("ters."), STOP, END, Mark(over)), said("Red."))
    async with in_terminal(tmp_path, api.url, *OPTIONS, "Why?") as terminal:
        await terminal.wait_shown("It scat")
        kill_hard(terminal)
        await terminal.wait_exit()
    go_on.set()
    await over.wait()
    await api.streams.wait_idle()
    code, _, _ = await piped(tmp_path, api.url, "-c", "And at night?")
    assert code == 0
    assert asked(upstream)[1] == ["Why?", "It scatters.", "And at night?"]


async def test_a_lost_connection_is_one_line_and_goes_on(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    words = [f"{number} " for number in range(100)]
    upstream.script(Reply.stream(*map(text, words), STOP, END))
    async with (
        cutting_proxy(api.port, 3000) as proxy,
        in_terminal(
            tmp_path, proxy.url, *OPTIONS, "Count", stdout=os.open(tmp_path / "out", os.O_CREAT | os.O_RDWR)
        ) as terminal,
    ):
        assert await terminal.wait_exit() == 0
    assert (tmp_path / "out").read_text() == "".join(words) + "\n"
    assert terminal.shown.count("connection lost") == 1
    assert terminal.shown.count("\n") == 1


async def test_thinking_is_dim_and_no_answer(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    thinking = chunk({"reasoning": "Hm."})
    upstream.script(*[Reply.stream(thinking, text("Yes."), STOP, END)] * 4)
    async with in_terminal(tmp_path, api.url, *OPTIONS, "Why?") as terminal:
        assert await terminal.wait_exit() == 0
    assert terminal.shown == "\x1b[2mHm.\x1b[0m\n\nYes.\n"
    async with in_terminal(tmp_path, api.url, *OPTIONS, "Why?", NO_COLOR="1") as terminal:
        assert await terminal.wait_exit() == 0
    assert terminal.shown == "[thinking] Hm.\n\nYes.\n"
    async with in_terminal(tmp_path, api.url, *OPTIONS, "-R", "Why?") as terminal:
        assert await terminal.wait_exit() == 0
    assert terminal.shown == "Yes.\n"
    assert await piped(tmp_path, api.url, *OPTIONS, "-R", "Why?") == (0, "Yes.\n", "")


HOSTILE = "".join(map(chr, range(0x20))) + "\x7f\x80\x9b31m\x9d0;title\x07\x1b]0;title\x07\x1b[2J\u202eevil\u202c"


@pytest.mark.parametrize("words", [(), ("--no-stream",), ("--json",)])
async def test_a_terminal_obeys_no_control_character_of_a_model(
    api: Api, upstream: Sandbox, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """In the answer, in the thinking, in a refusal, in a citation, in an error, in a tool call."""
    cited = {"type": "url_citation", "url_citation": {"url": f"https://x/{HOSTILE}", "title": HOSTILE}}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": HOSTILE, "arguments": "{}"}}
    upstream.script(
        Reply.stream(
            chunk({"reasoning": HOSTILE}),
            *map(text, HOSTILE),
            chunk({"refusal": HOSTILE, "annotations": [cited], "tool_calls": [call]}),
            chunk({}, error={"code": 502, "message": HOSTILE}),
        )
    )
    async with in_terminal(tmp_path, api.url, *OPTIONS, *words, "Why?", NO_COLOR="1") as terminal:
        assert await terminal.wait_exit() == 1
    shown = terminal.shown
    bad = {character for character in shown if ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0}
    assert bad <= {"\n", "\t", "\r"}, ascii(shown)
    assert "\u202e" not in shown
    assert "\r" not in shown
    assert ("\\u001b" if "--json" in words else "\u241b]0;title\u2407") in shown


async def test_what_is_kept_is_for_its_owner_only(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("It scatters."))
    async with in_terminal(tmp_path, api.url, *OPTIONS) as terminal:
        await terminal.wait_shown(PROMPT)
        await terminal.say("Why?", "It scatters.\n")
        await terminal.wait_shown(PROMPT)
        terminal.type(CTRL_D)
        assert await terminal.wait_exit() == 0
    folder = tmp_path / "state" / "openrouter-chat"
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert files == {"last.json": 0o600, "history": 0o600}
    assert "Why?" in (folder / "history").read_text()
    assert json.loads((folder / "last.json").read_text())["turns"][0]["answer"]["content"] == "It scatters."


@pytest.mark.parametrize("columns", [20, 40, 80])
async def test_no_line_of_a_table_is_wider_than_the_terminal(
    api: Api, upstream: Sandbox, tmp_path: Path, columns: int
) -> None:
    async with in_terminal(tmp_path, api.url, "models", "sandbox", columns=columns) as terminal:
        assert await terminal.wait_exit() == 0
    lines = terminal.shown.splitlines()[:-1]
    assert any("sandbox/echo" in line for line in lines)
    assert max(map(len, lines)) <= columns
