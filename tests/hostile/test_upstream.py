"""Whatever upstream says, and wherever: one end, a status of ours, figures that add up, and nothing leaked."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from server.keys import CATALOGUE
from server.telemetry.log_lines import JsonFormatter
from tests.hostile.table import TEMPLATES, cases, reply_of
from tests.hostile.ways import (
    QUESTION,
    TOKEN,
    Collected,
    OverHttp,
    OverStdio,
    Streamed,
    Told,
    Watch,
    Way,
    one_end,
    over_stdio,
    sane_log,
    strict,
)
from tests.protocols.ag_ui.reading import RUN, check_order
from tests.protocols.ag_ui.reading import parse as parse_run
from tests.support.chunks import DONE, STOP, USAGE, event, text
from tests.support.completions import MOUNTS, asking, frames_in
from tests.support.ollama_lines import ASKED, lines_in
from tests.support.raw_upstream import http_reply, raw_upstream
from tests.support.serving import KEY, Api, changed, serving
from tests.support.ui_parts import parts_in, posting

LOOK_EVERY = 200
PATIENCE_S = 60
"""For one case; some are large, and the machine may be busy."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, as it stands in a file."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
async def paid(config: Config, upstream: Sandbox) -> AsyncIterator[Api]:
    """A server with one caller, who has a budget; every cost is told when asked."""
    caller = Caller("bob", hash_token(TOKEN), budget_usd_per_day=Decimal(10_000), admin=True)
    config = changed(config, "upstream", max_retries=0).model_copy(update={"callers": (caller,)})
    upstream.script_always(Reply.json(TEMPLATES["generation"]), path="/generation")
    async with serving(config) as api:
        yield api


@pytest.fixture
def watch(paid: Api, log: io.StringIO) -> Watch:
    """The caller."""
    return Watch(paid, log)


@pytest.fixture
async def stdio(upstream: Sandbox, paid: Api) -> AsyncIterator[OverStdio]:
    """The other program."""
    async with over_stdio(upstream) as tool:
        yield tool


@pytest.fixture
def every(request: pytest.FixtureRequest) -> bool:
    """Whether to try all that there is."""
    return bool(request.config.getoption("--every-hostile-case"))


class Faults:
    """Cases that went wrong: all of them are told, not the first alone."""

    def __init__(self) -> None:
        self._found: list[tuple[str, BaseException]] = []

    def note(self, case: str, fault: BaseException) -> None:
        self._found.append((case, fault))
        assert len(self._found) < 50, self._text()

    def judge(self) -> None:
        if self._found:
            raise AssertionError(self._text()) from self._found[0][1]

    def _text(self) -> str:
        return "\n".join(f"{case}: {type(fault).__name__} {str(fault)[:300]}" for case, fault in self._found)


def _has_error_frame(said: bytes) -> bool:
    return any(frame.get("error") for frame in frames_in(said))


def _has_run_error(said: bytes) -> bool:
    events = [event for _, event in parse_run(said)]
    check_order(events)
    return bool(events[-1]["type"] == "RUN_ERROR")


def _has_error_line(said: bytes) -> bool:
    """But for calls that only this protocol has no words for."""
    return "that are no object" not in lines_in(said)[-1].get("error", "that are no object")


def _is_error_object(said: bytes) -> bool:
    return bool(strict(said).keys() == {"error"})


WORDS: dict[str, tuple[str, dict[str, Any], Callable[[bytes], bool], Callable[[bytes], bool]]] = {
    **{
        mount: (
            f"{mount}/chat/completions",
            asking(),
            _has_error_frame,
            lambda said: strict(said).keys() == {"error"},
        )
        for mount in MOUNTS
    },
    "ui": ("/api/chat", posting(), lambda said: parts_in(said)[-1]["type"] == "error", lambda said: said[:1] != b"{"),
    "ag-ui": (
        "/ag-ui",
        RUN | {"forwardedProps": {"model": "acme/m", "max_tokens": 10}},
        _has_run_error,
        lambda said: "status" in strict(said),
    ),
    "ollama": ("/api/chat", ASKED, _has_error_line, lambda said: strict(said).keys() == {"error", "type"}),
}
"""Of each protocol: the path, the body, how a failure looks in what it says, and a refusal."""


@pytest.mark.parametrize("template", ["chunk", "usage", "completion", "error", "error-frame"])
async def test_an_odd_value_in_an_answer_is_told_alike_in_every_way_and_to_every_client(
    template: str, watch: Watch, stdio: OverStdio, upstream: Sandbox, every: bool
) -> None:
    others: list[Way] = [Collected(watch), OverHttp(watch), stdio]
    faults = Faults()
    for number, case in enumerate(cases(template, every=every)):
        ways = others if every else [others[case.number % len(others)]]
        protocols = list(WORDS) if every else [list(WORDS)[number % len(WORDS)]]
        try:
            async with asyncio.timeout(PATIENCE_S):
                upstream.script_always(reply_of(template, case.body))
                first = await Streamed(watch).tell()
                for way in ways:
                    await told_alike(first, way)
                for protocol in protocols:
                    await readable(protocol, watch, is_failure=first.error is not None)
                if number % LOOK_EVERY == 0:
                    await watch.look()
        except (Exception, pytest.fail.Exception) as exc:
            faults.note(case.name, exc)
    faults.judge()
    await watch.look_at_end()


async def told_alike(first: Told, way: Way) -> None:
    """Asks again, in another way than as a stream."""
    told = await way.tell()
    assert told == (first if isinstance(way, Collected) else first.as_over_mcp()), type(way).__name__


async def readable(protocol: str, watch: Watch, *, is_failure: bool) -> None:
    """Asks again in the words of other clients: strict JSON, one end, and an error where `/chat` has one."""
    path, body, has_failed, is_refusal = WORDS[protocol]
    status, said = await watch.ask("POST", path, json.dumps({**body, "max_tokens": 10}).encode())
    if status == 200:
        assert has_failed(said) == is_failure, protocol
    else:
        assert is_refusal(said), protocol
        assert is_failure, protocol


async def test_an_odd_value_in_a_generation_record(watch: Watch, upstream: Sandbox, every: bool) -> None:
    for case in cases("generation", every=every):
        upstream.script(Reply.raw(case.body, content_type="application/json"), path="/generation")
        upstream.script(reply_of("generation", b""))
        one_end((await watch.ask("POST", "/chat", QUESTION))[1])
    await watch.look_at_end()
    for stream in strict((await watch.ask("GET", "/chat?limit=200"))[1])["data"]:
        strict((await watch.ask("GET", f"/chat/{stream['stream_id']}/result"))[1])


ANSWER = json.dumps(TEMPLATES["completion"]).encode()
READS: dict[str, tuple[str, list[str], list[tuple[str, dict[str, Any]]]]] = {
    "catalogue": (
        "/models",
        ["/models", "/models/search?q=o&sort=pricing_low_to_high&max_price=5", "/models/families", "/models/acme/m"],
        [("search_models", {"q": "o"}), ("get_model", {"model_id": "acme/odd"})],
    ),
    "model": ("/model/acme/other", ["/models/acme/other"], [("get_model", {"model_id": "acme/other"})]),
    "endpoints": (
        "/models/acme/m/endpoints",
        ["/models/acme/m"],
        [("get_model", {"model_id": "acme/m"})],
    ),
    "key": ("/key", [], [("account", {})]),
    "credits": ("/credits", [], [("account", {})]),
}
"""What upstream is asked for: where, and by which routes and tools of ours."""


async def test_an_odd_value_in_what_upstream_is_asked_for(
    watch: Watch, paid: Api, stdio: OverStdio, upstream: Sandbox, every: bool
) -> None:
    paid.app[CATALOGUE].ttl_s = 0  # of each case all is asked anew
    upstream.script_always(Reply.json(TEMPLATES["catalogue"]), path="/models")
    upstream.script_always(Reply.json(TEMPLATES["key"]), path="/key")
    faults = Faults()
    for template, (path, routes, tools) in READS.items():
        for case in cases(template, every=every):
            upstream.script_always(Reply.raw(case.body, content_type="application/json"), path=path)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    for route in routes:
                        strict((await watch.ask("GET", route))[1])
                    for name, arguments in tools:
                        if every or case.number % 2:
                            judged(await watch.call_tool(name, arguments))
                        if every or not case.number % 2:
                            judged(await stdio.call_tool(name, arguments))
                    if template == "catalogue":  # prices decide what is reserved
                        upstream.script_always(reply_of("completion", ANSWER))
                        status, body = await watch.ask("POST", "/chat", QUESTION)
                        _ = strict(body) if status == 429 else one_end(body)  # too dear for the budget
            except (Exception, pytest.fail.Exception) as exc:
                faults.note(case.name, exc)
        if template in ("catalogue", "key"):
            upstream.script_always(Reply.json(TEMPLATES[template]), path=path)
    faults.judge()
    await watch.look_at_end()


def judged(result: dict[str, Any]) -> None:
    """A tool's result that a model can do something with, and not an accident of ours."""
    text = str(result["content"])
    assert "Error executing tool" not in text, text[:500]
    assert len(text) < 100_000


HEADS = {
    "generation-id": "X-Generation-Id: gen-\x80\xff\x01{odd}\r\n",
    "long-generation-id": f"X-Generation-Id: gen-{'x' * 7000}\r\n",
    "key-as-generation-id": f"X-Generation-Id: gen-{KEY}\r\n",
    "two-generation-ids": "X-Generation-Id: gen-1\r\nX-Generation-Id: gen-2\r\n",
    "retry-after-nan": "Retry-After: nan\r\n",
    "retry-after-infinite": "Retry-After: 1e999\r\n",
    "retry-after-long": f"Retry-After: {'9' * 5000}\r\n",
    "retry-after-negative": "Retry-After: -5\r\n",
    "retry-after-date": "Retry-After: Fri, 99 Foo 99999 99:99:99 +9999\r\n",
    "retry-after-other-digits": "Retry-After: \xb2\xb3\r\n",
    "reset-huge": f"X-RateLimit-Reset: {'9' * 400}\r\n",
    "reset-object": 'X-RateLimit-Reset: {"a": 1}\r\n',
    "reset-float": "X-RateLimit-Reset: 1e308\r\n",
    "no-type": "Content-Type:\r\n",
    "two-types": "Content-Type: text/html\r\nContent-Type: text/event-stream\r\n",
    "odd-type": "Content-Type: ;;=/\xff;charset=utf-999\r\n",
    "long-type": f"Content-Type: {'a/' * 3000}\r\n",
    "short-length": "Content-Length: 10\r\n",
    "long-length": "Content-Length: 99999\r\n",
    "huge-length": f"Content-Length: {'9' * 400}\r\n",
    "negative-length": "Content-Length: -1\r\n",
    "word-length": "Content-Length: many\r\n",
    "two-lengths": "Content-Length: 5\r\nContent-Length: 6\r\n",
    "chunked-that-is-not": "Transfer-Encoding: chunked\r\n",
    "chunked-and-length": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "odd-coding": "Transfer-Encoding: gzip, nonsense\r\n",
    "packed-that-is-not": "Content-Encoding: gzip\r\n",
    "unknown-packing": "Content-Encoding: nonsense\r\n",
    "no-colon": "This is no header\r\n",
    "blank-name": ": x\r\n",
    "folded": "X-A: a\r\n b\r\n",
    "many": "".join(f"X-{number}: x\r\n" for number in range(500)),
    "large": f"X-Large: {'x' * 100_000}\r\n",
}
"""Lines of a head: what they say of the reply need not be so."""

STATUSES = ("200 OK", "200", "204 No Content", "206 Partial", "304 Not Modified", "429 Slow", "503 \xff", "999 Odd")


@pytest.mark.parametrize("status", STATUSES)
async def test_an_odd_header(status: str, config: Config, log: io.StringIO) -> None:
    """Every way tells the same of it."""
    said = text("Hello") + STOP + event({"usage": USAGE}) + DONE if status.startswith("20") else b'{"error": "x"}'
    asked: list[str] = [""]

    def reply(request: bytes) -> bytes:
        if not request.startswith(b"POST"):
            return http_reply(b"{}", "404 Not Found")
        return f"HTTP/1.1 {status}\r\n{asked[0]}\r\n".encode("latin-1") + said

    faults = Faults()
    async with raw_upstream(reply) as upstream:
        config = changed(config, "upstream", max_retries=0, base_url=upstream.url)
        async with serving(config) as api:
            watch = Watch(api, log)
            for name, lines in HEADS.items():
                asked[0] = lines
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        first = await Streamed(watch).tell()
                        assert await Collected(watch).tell() == first
                        assert await OverHttp(watch).tell() == first.as_over_mcp()
                except (Exception, pytest.fail.Exception) as exc:
                    faults.note(name, exc)
            faults.judge()
    sane_log(log.getvalue())
