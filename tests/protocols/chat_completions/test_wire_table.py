"""The table of wire cases in both dialects of Chat Completions, in chunks and whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.protocols.wire_cases import BREAKS, CASES, Call, Said
from tests.support.completions import MOUNTS, complete, complete_whole, frames_in, text_in
from tests.support.serving import Api, changed, serving


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


@pytest.mark.parametrize("mount", MOUNTS)
async def test_whole_answers_say_what_the_table_says(mount: str, once: Api, upstream: Sandbox) -> None:
    """trap 7"""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, found = await complete_whole(once, mount)
        if case.said.error is None:
            assert response.status == 200, name
            assert said_by(found) == replace(case.said, calls=as_told(case.said.calls)), name
            message = found["choices"][0]["message"]
            assert message.get("reasoning_content") == (case.said.thinking or None if mount == "/v1" else None), name
        else:
            assert response.status >= 400, name
            assert found.keys() == {"error"}
            assert found["error"]["metadata"]["type"] == case.said.error, name


@pytest.mark.parametrize("mount", MOUNTS)
async def test_chunks_say_what_the_table_says(mount: str, once: Api, upstream: Sandbox) -> None:
    """trap 7: what is odd in a chunk stays as it came, and there is one end."""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        frames = frames_in((await complete(once, mount))[1])
        assert text_in(frames).encode("utf-16", "surrogatepass").decode("utf-16") == case.said.text, name
        failed = [frame["error"] for frame in frames if frame.get("error")]
        assert bool(failed) == (name in BREAKS), name
        used = [frame["usage"]["total_tokens"] for frame in frames if frame.get("usage")]
        assert used[-1:] == ([] if case.said.total_tokens is None else [case.said.total_tokens]), name
        if mount == "/v1" and failed:
            assert [each["metadata"]["type"] for each in failed] == [case.said.error], name


def as_told(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """This protocol has no word for a call that was cut off, but the finish `length`."""
    return tuple(call._replace(is_whole=True) for call in calls)


def said_by(found: dict[str, Any]) -> Said:
    """What a completion says."""
    (choice,) = found["choices"]
    message = choice["message"]
    functions = [each["function"] for each in message.get("tool_calls", ())]
    return Said(
        text=message["content"] or "",
        thinking=message["reasoning"] or "",
        refusal=message["refusal"] or "",
        calls=tuple(Call(each["name"], each["arguments"]) for each in functions),
        images=len(message.get("images", ())),
        annotations=len(message.get("annotations", ())),
        finish=choice["finish_reason"],
        total_tokens=(found["usage"] or {}).get("total_tokens"),
        details=tuple(message.get("reasoning_details", ())),
    )
