"""Asks in Ollama's words, and reads its lines strictly."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp

from tests.support.serving import Api

ASKED: dict[str, Any] = {"model": "acme/m", "messages": [{"role": "user", "content": "Why?"}]}
PROMPT: dict[str, Any] = {"model": "acme/m", "prompt": "Why?"}
_TIMES = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_COUNTS = ("prompt_eval_count", "eval_count")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def ask(api: Api, path: str = "/api/chat", **more: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    """An answer, read to its end."""
    asked = ASKED if path == "/api/chat" else PROMPT
    async with api.http.post(api.url + path, json={**asked, **more}) as response:
        return response, await response.read()


def lines_in(body: bytes) -> list[dict[str, Any]]:
    """The lines, proved to be ASCII, none empty, and ended by the last one or by an error."""
    assert body.isascii()
    assert body.endswith(b"\n")
    lines = [json.loads(line, parse_constant=_refuse) for line in body.removesuffix(b"\n").split(b"\n")]
    for line in lines[:-1]:
        check_line(line, is_last=False)
    if "error" in lines[-1]:
        assert lines[-1].keys() == {"error", "type"}
    else:
        check_line(lines[-1], is_last=True)
    return lines


def check_line(line: dict[str, Any], *, is_last: bool, is_whole: bool = False) -> None:
    """A line of an answer, or a whole one."""
    assert _DATE.fullmatch(line["created_at"])
    assert line["done"] is (is_last or is_whole)
    fields = line.keys() - {"model", "created_at", "done"}
    if line["done"]:
        assert line["done_reason"] in ("stop", "length")
        assert all(type(line[name]) is int and line[name] >= 0 for name in (*_TIMES, *_COUNTS) if name in line)
        fields -= {"done_reason", "usage", *_TIMES, *_COUNTS}
    said = line.get("message", line)
    if "message" in line:
        assert fields == {"message"}
        assert said["role"] == "assistant"
        assert said.keys() <= {"role", "content", "thinking", "tool_calls"}
        assert type(said["content"]) is str
        for call in said.get("tool_calls", ()):
            assert call.keys() == {"function"}
            assert call["function"].keys() == {"name", "arguments"}
            assert type(call["function"]["arguments"]) is dict
    else:
        assert fields <= {"response", "thinking"}
        assert type(said["response"]) is str


def text_in(lines: list[dict[str, Any]], name: str = "content") -> str:
    """The text of all lines."""
    said = (line.get("message", line) for line in lines if "error" not in line)
    return "".join(each.get(name) or "" for each in said)


def _refuse(name: str) -> None:
    raise ValueError(name)
