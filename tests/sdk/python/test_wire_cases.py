"""The table that every client of this server must agree with: `sdk/wire_cases.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_sse_client import Chat, ChatError, Client, Event, Reconnecting, SSEDecoder, Unknown
from openrouter_sse_client.wire import backoff
from tests.sdk.python.scripted import scripted, whole
from tests.support.process import ROOT

TABLE = json.loads((ROOT / "sdk" / "wire_cases.json").read_text())


def decoded(pieces: Sequence[bytes]) -> list[dict[str, str]]:
    decoder = SSEDecoder()
    events = [event for piece in pieces for event in decoder.receive_data(piece)]
    return [{"type": event.name, "data": event.data, "id": event.id} for event in events]


@pytest.mark.parametrize("case", TABLE["decoding"], ids=lambda case: case["name"])
def test_bytes_become_the_same_events_at_every_cut(case: dict[str, Any]) -> None:
    body: bytes = case["body"].encode()
    wanted = case["events"]
    assert decoded([body]) == wanted
    assert decoded([body[place : place + 1] for place in range(len(body))]) == wanted
    for cut in range(min(len(body), 300)):
        assert decoded([body[:cut], body[cut:]]) == wanted, cut


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"data: x", b"data", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xf0\x9f", b":", b"id: 1"])
        | st.binary(max_size=9)
    ),
    st.data(),
)
def test_any_bytes_decode_the_same_at_any_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert decoded(
        [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)],
    ) == decoded([stream])


def byte_by_byte(body: bytes) -> list[bytes]:
    return [body[place : place + 1] for place in range(len(body))]


def told(event: Event) -> dict[str, Any]:
    """An event in the words of the table."""
    name = event.name if isinstance(event, Unknown) else event.event_name
    return {"type": name, "data": event.data, "id": event.event_id}


@pytest.mark.parametrize("pieces", [whole, byte_by_byte])
@pytest.mark.parametrize("case", TABLE["chats"], ids=lambda case: case["name"])
async def test_the_same_replies_are_asked_for_and_understood(case: dict[str, Any], pieces: Any, quick: None) -> None:
    async with (
        scripted(case["replies"], pieces) as server,
        Client(server.url, max_retries=case.get("max_retries", 8)) as client,
    ):
        chat = begun(client, case)
        events, raised = await read(chat)
    assert [told(event) for event in events] == case["events"]
    assert len(server.requests) == len(case["requests"])
    for asked, wanted in zip(server.requests, case["requests"], strict=True):
        assert (asked.method, asked.path) == (wanted["method"], wanted["path"])
        for name, value in wanted["headers"].items():
            assert asked.headers.get(name.lower()) == value
        if asked.method == "POST":
            assert json.loads(asked.body) == {"message": "Why?"}
    assert (raised is not None) == ("raises" in case), raised
    for name, value in case.get("raises", {}).items():
        found = getattr(raised, name)
        assert (list(found) if isinstance(found, tuple) else found) == value, name
    for name, value in case.get("result", {}).items():
        found = getattr(chat, name)
        assert (found.data if name == "error" and found is not None else found) == value, name
    assert chat.reconnects == case.get("reconnects", 0)
    assert chat.state == "closed"


def begun(client: Client, case: dict[str, Any]) -> Chat:
    if resumed := case.get("resume"):
        return client.resume(resumed["id"], last_event_id=resumed.get("last_event_id"))
    return client.chat("Why?", idempotency_key=TABLE["key"])


async def read(chat: Chat) -> tuple[list[Event], ChatError | None]:
    events: list[Event] = []
    try:
        async for event in chat:
            events.append(event)
    except ChatError as exc:
        return events, exc
    return events, None


@pytest.mark.parametrize(
    ("failures", "least_s", "most_s"),
    [(1, 0.125, 0.25), (2, 0.25, 0.5), (3, 0.5, 1.0), (6, 4.0, 8.0), (7, 5.0, 10.0), (1000, 5.0, 10.0)],
)
def test_the_wait_doubles_up_to_ten_seconds_half_of_it_by_chance(
    failures: int, least_s: float, most_s: float
) -> None:
    assert backoff.backoff_s(failures, lambda: 0.0) == least_s
    assert backoff.backoff_s(failures, lambda: 1.0) == most_s


async def test_the_wait_that_the_server_asks_for_goes_first() -> None:
    away = {"status": 503, "headers": {"Retry-After": "0"}, "body": "away", "end": "end"}
    waits: list[Reconnecting] = []
    async with scripted([away, *TABLE["chats"][0]["replies"]]) as server, Client(server.url) as client:
        await client.chat("Why?").on("reconnecting", waits.append).text()
    assert [wait.delay_s for wait in waits] == [0.0]
