"""The table of wire cases is right of the typed events, to which every other protocol is compared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.protocols.wire_cases import CASES, Call, Said
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import Event


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


async def test_typed_events_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        _, events = await once.chat()
        assert said_by(events) == case.said, name


def said_by(events: list[Event]) -> Said:
    """What typed events say."""
    last: dict[str, Any] = {each.name: each.data for each in events}

    def texts(name: str) -> str:
        return "".join(each.data["text"] for each in events if each.name == name)

    found = [each.data for each in events if each.name == "tool_call"]
    return Said(
        text=texts("content").encode("utf-16", "surrogatepass").decode("utf-16"),
        thinking=texts("reasoning"),
        refusal=texts("refusal"),
        calls=tuple(Call(each["name"], each["arguments"], each["complete"]) for each in found),
        images=sum(each.name == "image" for each in events),
        annotations=sum(each.name == "annotation" for each in events),
        finish=None if "error" in last else last["done"]["finish_reason"],
        error=last.get("error", {}).get("type"),
        total_tokens=last.get("usage", {}).get("total_tokens"),
        details=tuple(last.get("reasoning_details", {}).get("reasoning_details", ())),
    )
