"""The ways in which an answer leaves the product, and what each of them tells of it."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from client.sandbox import Sandbox
from mcp_app.results.clean import clean_text
from mcp_app.results.failures import failure_of
from mcp_app.results.results import cut_text
from tests.mcp.test_stdio import COMMAND, INITIALIZE, Host, environment
from tests.support.mcp.clients import modern
from tests.support.serving import KEY, Api
from tests.support.sse_reader import Event, parse_events

TOKEN = "a-token-of-somebody-with-a-budget"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
QUESTION = json.dumps({"message": "Why?", "model": "acme/m", "max_tokens": 10}).encode()
ASKED = {"prompt": "Why?", "model": "acme/m", "max_tokens": 10}


@dataclass(frozen=True)
class Told:
    """What a caller learns of an answer.

    Attributes:
        cost_usd: None also where the way does not tell it.
        error: the sentence that a model reads; None without an error.
    """

    finish: str | None
    text: str
    cost_usd: float | None
    error: str | None

    def as_over_mcp(self) -> Told:
        """As MCP tells it: text in parts and without halves of letters; of what failed, the failure alone."""
        if self.error is not None:
            return Told(None, "", None, self.error)
        finish = None if self.finish is None else clean_text(self.finish)
        return Told(finish, cut_text(clean_text(self.text), 0)[0], self.cost_usd, None)


class Watch:
    """A caller of a server who sees to it that every reply is one, and from time to time that all is well."""

    def __init__(self, api: Api, log: io.StringIO) -> None:
        self._api = api
        self._log = log
        self._spent_usd = 0.0

    async def ask(
        self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Any request of the caller's; no reply holds the key or is a failure of ours."""
        headers = {**AUTHORIZED, **({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        async with self._api.http.request(method, self._api.url + path, data=data, headers=headers) as response:
            body = await response.read()
            shown = str(response.headers)
        assert 200 <= response.status <= 599
        assert KEY.encode() not in body
        assert KEY not in shown
        assert b'"type":"internal"' not in body.replace(b": ", b":")
        return response.status, body

    async def look(self) -> None:
        """Lists, figures and the next answer are as ever; nothing is held, and no budget has grown."""
        for path in ("/metrics", "/chat", "/health", "/models", "/models/search?q=odd"):
            status, body = await self.ask("GET", path)
            assert status == 200, (path, body[:500])
        status, body = await self.ask("GET", "/usage")
        assert status == 200
        spent_usd = strict(body)["budget"]["spent_usd"]
        assert spent_usd >= self._spent_usd
        self._spent_usd = spent_usd
        sane_log(self._log.getvalue())
        self._log.seek(0)
        self._log.truncate()

    async def look_at_end(self) -> None:
        """No reservation is left over once every look-up has ended."""
        async with asyncio.timeout(60):
            while strict((await self.ask("GET", "/usage"))[1])["budget"]["reserved_usd"]:
                pass
        await self.look()

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result of a tool over HTTP."""
        params = {"name": name, "arguments": arguments}
        message, headers = modern({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        status, body = await self.ask("POST", "/mcp", json.dumps(message).encode(), headers)
        assert status == 200
        data = body if body.lstrip().startswith(b"{") else body.rsplit(b"data:", 1)[1]
        result: dict[str, Any] = strict(data)["result"]
        return result


def sane_log(lines: str) -> None:
    """Every line of a log is whole, tells of no failure of ours, and holds no key."""
    assert KEY not in lines
    for line in lines.splitlines():
        if line.startswith("{"):
            assert "exception" not in json.loads(line), line[:2000]
        else:
            assert "Traceback" not in line, lines[:4000]


def strict(body: bytes) -> Any:
    """JSON as every reader takes it: without NaN, in UTF-8."""
    return json.loads(body.decode(), parse_constant=lambda name: pytest.fail(name))


def one_end(body: bytes) -> list[Event]:
    """The events of a stream of ours, which ends once, with `done`."""
    events = parse_events(body)
    assert [event.name for event in events].count("done") == 1, body[:500]
    assert events[-1].name == "done"
    return events


class Way(Protocol):
    """Asks, and tells what came."""

    async def tell(self) -> Told: ...


class Streamed:
    """Events, and afterwards the result."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def tell(self) -> Told:
        _, body = await self._watch.ask("POST", "/chat", QUESTION)
        events = one_end(body)
        status, result = await self._watch.ask("GET", f"/chat/{events[0].id.partition(':')[0]}/result")
        assert 200 <= status < 600
        strict(result)
        last = {event.name: event.data for event in events}
        texts = {kind: "".join(e.data["text"] for e in events if e.name == kind) for kind in ("content", "refusal")}
        return Told(
            last["done"]["finish_reason"],
            texts["content"] or texts["refusal"],
            last.get("usage", {}).get("total_cost"),
            str(failure_of(last["error"])) if "error" in last else None,
        )


class Collected:
    """One JSON."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def tell(self) -> Told:
        status, body = await self._watch.ask("POST", "/chat?stream=false", QUESTION)
        found = strict(body)
        answer = found if status == 200 else found.get("partial") or {}
        return Told(
            answer.get("finish_reason"),
            answer.get("content") or answer.get("refusal") or "",
            (answer.get("usage") or {}).get("total_cost"),
            None if status == 200 else str(failure_of(found)),
        )


class OverHttp:
    """The tool, of the server."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def tell(self) -> Told:
        return told_by_tool(await self._watch.call_tool("llm_chat", ASKED))


class OverStdio:
    """The tool, of a process of its own."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._count = 0

    async def tell(self) -> Told:
        return told_by_tool(await self.call_tool("llm_chat", ASKED))

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result of a tool."""
        self._count += 1
        await self._host.send("tools/call", {"name": name, "arguments": arguments}, self._count)
        message = await self._host.wait_result(self._count)
        line = self._host.lines[-1]
        self._host.lines.clear()
        assert KEY.encode() not in line
        strict(line)
        result: dict[str, Any] = message["result"]
        return result


def told_by_tool(result: dict[str, Any]) -> Told:
    """What `llm_chat` tells."""
    if result.get("isError"):
        return Told(None, "", None, result["content"][0]["text"].split(" The answer up to there:\n\n")[0])
    data = result["structuredContent"]
    return Told(data.get("finish_reason"), data["text"], data.get("cost_usd"), None)


@asynccontextmanager
async def over_stdio(upstream: Sandbox) -> AsyncIterator[OverStdio]:
    """One session of `openrouter-mcp`, whose log is looked at when it has ended."""
    with tempfile.TemporaryFile("w+b") as log:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            env=environment(upstream) | {"OPENROUTER_API_KEY": KEY, "OPENROUTER_MAX_RETRIES": "0"},
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=2**24,
        )
        try:
            host = Host(process)
            await host.send("initialize", INITIALIZE, 0)
            await host.wait_result(0)
            await host.send("notifications/initialized", {})
            yield OverStdio(host)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 20)
            finally:
                if process.returncode is None:
                    process.kill()
        log.seek(0)
        sane_log(log.read().decode())
