"""Between pipes: what goes where, exit codes, files, JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import HangUp, Hold, Reply, Sandbox
from openrouter_sse_client.terminal.asking.arguments import UsageError, parse_arguments
from openrouter_sse_client.terminal.output import figures
from openrouter_sse_client.terminal.output.code_block import first_code_block
from openrouter_sse_client.terminal.output.marks import Marker
from server.config import Config
from tests.sdk.python.scripted import events_reply, scripted
from tests.sdk.python.terminal.running import PROGRAM, as_process, environment, piped
from tests.support.chunks import END, STOP, call, calls, chunk, text
from tests.support.serving import Api, changed, serving, with_tokens

OPTIONS = "-m", "acme/m"
CODE = "Here:\n\n```python\nprint(1)\n\nprint(2)\n```\n\nand\n\n```\nno\n```\n"


def said(*pieces: str) -> Reply:
    return Reply.stream(*map(text, pieces), STOP, END)


async def test_what_is_piped_stands_before_the_question(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(*[said("It ", "scatters.")] * 3)
    done = await as_process(tmp_path, api.url, *OPTIONS, "Explain", "this", given=b"caf\xe9\n")
    assert done == (0, "It scatters.\n", "")
    assert (await piped(tmp_path, api.url, *OPTIONS, given="Why?"))[0] == 0
    assert (await piped(tmp_path, api.url, *OPTIONS, "--", "usage"))[0] == 0
    contents = [each.json["messages"][0]["content"] for each in upstream.calls]
    assert contents == ["caf\ufffd\n\nExplain this", "Why?", "usage"]


async def test_options_become_fields_of_the_request(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("x"))
    options = ["-o", "temperature", "0.5", "-o", "stop", '["a"]', "-o", "user", "me", "-s", "Short."]
    assert (await piped(tmp_path, api.url, *OPTIONS, "Why?", *options))[0] == 0
    [only] = upstream.calls
    found = {name: only.json[name] for name in ("temperature", "stop", "user", "model")}
    assert found == {"temperature": 0.5, "stop": ["a"], "user": "me", "model": "acme/m"}
    assert only.json["messages"] == [
        {"role": "system", "content": "Short."},
        {"role": "user", "content": "Why?"},
    ]


async def test_the_cost_goes_beside_the_answer(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("x"))
    code, answer, beside = await piped(tmp_path, api.url, *OPTIONS, "-u", "Why?")
    assert (code, answer) == (0, "x\n")
    assert beside.startswith("0.001000 USD · 3 → 2 tokens · ")


async def test_json_lines_are_the_events(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("a\u2028b\x9b"), Reply.error(402, "No credits"))
    code, lines, beside = await piped(tmp_path, api.url, *OPTIONS, "--json", "Why?")
    assert (code, beside) == (0, "")
    events = list(map(json.loads, lines.split("\n")[:-1]))
    assert [event["type"] for event in events] == ["start", "content", "usage", "done"]
    assert events[1]["data"] == {"text": "a\u2028b\x9b"}
    assert events[1]["id"].endswith(":2")
    code, lines, beside = await piped(tmp_path, api.url, *OPTIONS, "--json", "Why?")
    assert code == 1
    assert json.loads(lines)["data"]["type"] == "insufficient_credits"
    assert beside.startswith("error: ")


async def test_a_block_of_code_alone(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said(*CODE), said("no code"), said("It ", "is."))
    assert await piped(tmp_path, api.url, *OPTIONS, "-x", "Why?") == (0, "print(1)\n\nprint(2)\n", "")
    assert await piped(tmp_path, api.url, *OPTIONS, "-x", "Why?") == (0, "no code\n", "")
    assert await piped(tmp_path, api.url, *OPTIONS, "--no-stream", "Why?") == (0, "It is.\n", "")


@pytest.mark.parametrize(
    ("answer", "block"),
    [
        (CODE, "print(1)\n\nprint(2)\n"),
        ("~~~\na```b\n```\n~~~", "a```b\n```\n"),
        ("````\n```\nx\n```\n````", "```\nx\n```\n"),
        ("```\n```", ""),
        ("```\nnever closed", None),
        ("`inline ``` code`", None),
        ("   ```\n   x\n   ```", "   x\n"),
        ("", None),
    ],
)
def test_the_first_block_of_code(answer: str, block: str | None) -> None:
    assert first_code_block(answer) == block


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a\r\nb"], "a\nb"),
        (["a\r", "\nb"], "a\nb"),
        (["a\r", "b"], "a\u240db"),
        (["a\r"], "a\u240d"),
        (["\x1b[", "2J"], "\u241b[2J"),
        (["\t\n", "\0\x7f\x85"], "\t\n\u2400\u2421<85>"),
        (["\ud83d"], "\ufffd"),
        (["שלום \u202e x"], "שלום <U+202E> x"),
    ],
)
def test_control_characters_become_marks(pieces: list[str], shown: str) -> None:
    marker = Marker()
    assert "".join(map(marker.feed, pieces)) + marker.flush() == shown


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        (None, "cost unknown"),
        (0.0, "0.000000 USD"),
        (2e-7, "< 0.000001 USD"),
        (0.000603, "0.000603 USD"),
        (1.5, "1.50 USD"),
    ],
)
def test_unknown_is_never_zero(cost: float | None, told: str) -> None:
    assert figures.dollars(cost) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [("-1", "varies"), ("0", "free"), (None, "\u2013"), ("0.0000006", "0.60"), ("0.00000000125", "0.0013")],
)
def test_prices_that_vary_or_are_missing_are_no_numbers(given: object, told: str) -> None:
    assert figures.price(given) == told


# -- what is not whole ----------------------------------------------------------------------------------------------


async def test_what_came_before_a_failure_stays_and_the_code_says_so(
    api: Api, upstream: Sandbox, tmp_path: Path
) -> None:
    upstream.script(*[Reply.stream(text("It scat"), HangUp())] * 2)
    for words in ((), ("--no-stream",)):
        code, answer, beside = await piped(tmp_path, api.url, *OPTIONS, *words, "Why?")
        assert (code, answer) == (1, "It scat\n")
        assert beside.startswith("error: ")
        assert "Traceback" not in beside


async def test_a_refusal_is_no_answer(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(Reply.stream(chunk({"refusal": "I will not."}), STOP, END))
    assert await piped(tmp_path, api.url, *OPTIONS, "Why?") == (1, "", "refused: I will not.\n")


async def test_what_stands_beside_an_answer_is_told(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "https://example.com/", "title": "Page 1"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 8000}}
    upstream.script(
        Reply.stream(
            chunk({"content": "See [1].", "annotations": [cited], "images": [image]}),
            calls(call(0, '{"city": "Rome"}', "weather", "c1")),
            chunk({"content": ""}, "length"),
            END,
        )
    )
    code, answer, beside = await piped(tmp_path, api.url, *OPTIONS, "Why?")
    assert (code, answer) == (0, "See [1].\n")
    assert "[1] Page 1: https://example.com/" in beside
    assert "a picture (image/png, 6 kB)" in beside
    assert 'calls weather({"city": "Rome"})' in beside


async def test_refusals_of_the_server_name_the_way_out(config: Config, upstream: Sandbox, tmp_path: Path) -> None:
    token = "a-token-of-alice-aaaaaaaa"
    upstream.script(said("x"), Reply.error(429, "Slow down", headers={"Retry-After": "40"}))
    async with serving(with_tokens(config, token)) as api:
        code, answer, beside = await piped(tmp_path, api.url, "Why?")
        assert (code, answer) == (1, "")
        assert "OPENROUTER_SERVER_TOKEN" in beside
        assert (await piped(tmp_path, api.url, *OPTIONS, "Why?", OPENROUTER_SERVER_TOKEN=token))[0] == 0
        done = await piped(tmp_path, api.url, *OPTIONS, "Why?", OPENROUTER_SERVER_TOKEN=token)
        assert "It may work in 40 s." in done[2]
    code, answer, beside = await piped(tmp_path, "127.0.0.1:9", "Why?")
    assert (code, answer) == (1, "")
    assert "--sandbox" in beside


async def test_what_the_server_no_longer_has_is_said_and_what_came_stays(tmp_path: Path) -> None:
    begun = {**events_reply("s", ("content", {"text": "It scat"})), "end": "cut"}
    refusal = {"error": "There is no such stream.", "type": "not_found", "status": 404, "retryable": False}
    gone = {"status": 404, "headers": {"Content-Type": "application/json"}, "body": json.dumps(refusal)}
    async with scripted([begun, gone]) as server:
        code, answer, beside = await piped(tmp_path, server.url, "Why?")
    assert (code, answer) == (1, "It scat\n")
    assert beside.startswith("connection lost (cut), trying again\nerror: The server no longer has the rest")


async def test_a_server_with_a_shorter_grace_is_asked_all_the_same(
    config: Config, upstream: Sandbox, tmp_path: Path
) -> None:
    upstream.script(said("x"))
    async with serving(changed(config, "streams", max_grace_s=10.0)) as api:
        assert await piped(tmp_path, api.url, *OPTIONS, "Why?") == (0, "x\n", "")


async def test_a_reader_who_has_enough_ends_the_answer(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    """As `| head` does: nobody pays for what nobody reads."""
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("first\n"), Hold(go_on), text("second\n"), Hold()))
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *OPTIONS, "Why?", env=environment(tmp_path, api.url), stdin=-3, stdout=write_end, stderr=-1
    )
    os.close(write_end)
    assert await asyncio.to_thread(os.read, read_end, 100) == b"first\n"
    os.close(read_end)
    go_on.set()
    async with asyncio.timeout(20):
        _, complaints = await process.communicate()
        only = await upstream.wait_call()
        await only.closed.wait()
    assert only.cancelled
    assert (process.returncode, complaints) == (141, b"")


async def test_whoever_ends_the_program_ends_the_answer(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(Reply.stream(text("It scat"), Hold()))
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *OPTIONS, "Why?", env=environment(tmp_path, api.url), stdin=-3, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    assert await process.stdout.read(7) == b"It scat"
    process.terminate()
    async with asyncio.timeout(20):
        assert await process.communicate() == (b"\n", b"stopped\n")
        only = await upstream.wait_call()
        await only.closed.wait()
    assert (process.returncode, only.cancelled) == (130, True)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
async def test_a_stream_that_is_closed_is_no_reason_to_fail(
    api: Api, upstream: Sandbox, tmp_path: Path, closed: str
) -> None:
    upstream.script(said("x"))
    command = f"{shlex.join([*PROGRAM, *OPTIONS, 'Why?'])} {closed}"
    process = await asyncio.create_subprocess_shell(
        command, env=environment(tmp_path, api.url), stdin=-3, stdout=-1, stderr=-1
    )
    async with asyncio.timeout(20):
        answer, beside = await process.communicate()
    assert (process.returncode, beside) == (0, b"")
    assert answer == (b"" if closed == ">&-" else b"x\n")


# -- commands -------------------------------------------------------------------------------------------------------


async def test_answers_can_be_listed_stopped_and_read_again(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("whole"), Reply.stream(text("It scat"), Hold()))
    assert (await piped(tmp_path, api.url, *OPTIONS, "Why?"))[0] == 0
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *OPTIONS, "Why?", env=environment(tmp_path, api.url), stdin=-3, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    assert await process.stdout.read(7) == b"It scat"
    code, listed, beside = await piped(tmp_path, api.url, "ps")
    assert (code, len(listed.splitlines())) == (0, 2)
    assert "1 running, 1 finished" in beside
    stream_id = listed.splitlines()[1].split()[0]
    code, lines, _ = await piped(tmp_path, api.url, "ps", "--all", "--json")
    assert [json.loads(line)["state"] for line in lines.splitlines()] == ["running", "finished"]
    code, _, beside = await piped(tmp_path, api.url, "stop", stream_id)
    assert (code, beside) == (0, "ended: cancelled\n")
    async with asyncio.timeout(20):
        rest, complaints = await process.communicate()
    assert (process.returncode, rest, complaints) == (130, b"\n", b"stopped\n")
    assert await piped(tmp_path, api.url, "attach", stream_id) == (130, "It scat\n", "stopped\n")
    code, _, beside = await piped(tmp_path, api.url, "stop", "unknown")
    assert code == 1
    assert "ps --all" in beside


async def test_models_and_costs_are_tables(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("x"))
    await piped(tmp_path, api.url, *OPTIONS, "Why?")
    code, listed, beside = await piped(tmp_path, api.url, "models", "reasoner")
    assert code == 0
    assert listed.splitlines()[0].split() == ["model", "in", "out", "context"]
    assert listed.splitlines()[1].split()[0] == "sandbox/reasoner"
    assert "models, USD per million tokens" in beside
    assert json.loads((await piped(tmp_path, api.url, "models", "reasoner", "--json"))[1].splitlines()[0])["id"]
    code, spent, beside = await piped(tmp_path, api.url, "usage")
    assert spent.splitlines()[1].split()[1:] == ["acme/m", "local", "1", "3", "2", "0.001000"]
    assert "0.001000 USD from" in beside
    assert json.loads((await piped(tmp_path, api.url, "usage", "--json"))[1])["total_cost_usd"] == 0.001


async def test_the_sandbox_is_started_for_one_call_and_ends_with_it(tmp_path: Path) -> None:
    done = await as_process(tmp_path, "http://127.0.0.1:9", "--sandbox", "-R", "Why is the sky blue?")
    assert done == (0, "You asked: Why is the sky blue?. Having thought about it, I agree.\n", "")


# -- files ----------------------------------------------------------------------------------------------------------


async def test_files_go_along_as_what_they_are(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    upstream.script(said("x"))
    files = []
    for name in ("a.png", "b.pdf", "c.wav", "d.py", "e.mp4"):
        (tmp_path / name).write_bytes(name.encode())
        files += ["-a", str(tmp_path / name)]
    files += ["-a", "https://x/y.png"]
    assert (await piped(tmp_path, api.url, *OPTIONS, "Look", *files))[0] == 0
    parts: list[dict[str, Any]] = upstream.calls[0].json["messages"][0]["content"]
    assert [part["type"] for part in parts] == [
        "text", "image_url", "file", "input_audio", "text", "video_url", "image_url"
    ]  # fmt: skip
    assert parts[1]["image_url"]["url"] == "data:image/png;base64,YS5wbmc="
    assert parts[2]["file"] == {"filename": "b.pdf", "file_data": "data:application/pdf;base64,Yi5wZGY="}
    assert parts[3]["input_audio"] == {"data": "Yy53YXY=", "format": "wav"}
    assert parts[4]["text"] == "d.py:\n\nd.py"
    assert parts[6]["image_url"]["url"] == "https://x/y.png"


async def test_a_file_that_cannot_go_along_is_named(api: Api, upstream: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\0")
    for name, why in (("missing.png", "No such file"), ("x.bin", "neither a picture"), ("", "Is a directory")):
        file = str(tmp_path / name)
        code, _, beside = await piped(tmp_path, api.url, "Look", "-a", file)
        assert code == 1
        assert f"error: {file}: " in beside
        assert why in beside
    assert not upstream.calls


# -- wrong usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--nonsense"],
        ["-o", "temperature"],
        ["-m"],
        ["--mod", "x", "Why?"],
    ],
)
def test_a_command_line_that_makes_no_sense(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_arguments(words, {})


@pytest.mark.parametrize(
    "stream_id", ["-AbCdEfGhIjKlMnOpQrStUv", "--bCdEfGhIjKlMnOpQrStUv", "AbCdEfGhIjKlMnOpQrStUv"]
)
@pytest.mark.parametrize("command", ["stop", "attach"])
def test_an_id_may_begin_as_an_option_does(command: str, stream_id: str) -> None:
    order = parse_arguments(["--json", command, stream_id, "-R"], {})
    assert (order.command, order.words, order.is_json, order.hides_thinking) == (command, (stream_id,), True, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--nonsense", "Why?"], "--nonsense"),
        (["stop"], "needs the ID"),
        (["stop", "the", "war"], "openrouter-chat -- stop"),
        (["attach", "a", "b"], "one ID"),
        (["attach", "../health"], "no answer has such an id"),
        (["usage", "now"], "too many words"),
        ([], "no question"),
        (["--url", "ftp://x", "Why?"], "http://"),
    ],
)
async def test_wrong_usage_is_2_and_says_why(tmp_path: Path, words: list[str], why: str) -> None:
    code, answer, beside = await piped(tmp_path, "127.0.0.1:9", *words)
    assert (code, answer) == (2, "")
    assert why in beside
    assert "--help" in beside
