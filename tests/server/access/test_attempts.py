"""Wrong tokens: counted by address, told apart by nothing, and never the right one's loss."""

from __future__ import annotations

import pytest

from server.access.attempts import LIMIT, WINDOW_S, FailedAttempts
from server.config import Config
from tests.server.http.test_errors import assert_refused
from tests.support.serving import Api, serving, with_tokens


class Clock:
    """Seconds that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_address_is_told_to_wait_for_the_rest_of_the_minute() -> None:
    clock = Clock()
    attempts = FailedAttempts(clock)
    assert [attempts.note("a") for _ in range(LIMIT)] == [None] * LIMIT
    clock.now_s += 20
    assert attempts.note("a") == WINDOW_S - 20
    assert attempts.note("b") is None
    clock.now_s += 40
    assert [attempts.note("a") for _ in range(LIMIT + 1)] == [None] * LIMIT + [WINDOW_S]


def test_neighbours_in_one_ipv6_network_are_one_address() -> None:
    attempts = FailedAttempts(Clock())
    waits = [attempts.note(f"2001:db8::{number:x}%eth0") for number in range(LIMIT + 1)]
    assert waits == [None] * LIMIT + [WINDOW_S]
    assert attempts.note("2001:db8:0:1::") is None


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    attempts = FailedAttempts(Clock())
    for _ in range(LIMIT + 1):
        attempts.note("first")
    for number in range(20_000):
        attempts.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts) == 10_000
    assert attempts.note("first") is None


async def wrong(api: Api, given: str = "Bearer wrong") -> tuple[int, bytes]:
    response, body = await api.request("GET", "/chat", Authorization=given)
    return response.status, body


async def test_too_many_wrong_tokens_are_a_429_and_a_right_one_is_taken_all_the_same(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(with_tokens(config, "right", "other")) as api:
        assert [(await wrong(api))[0] for _ in range(LIMIT)] == [401] * LIMIT
        response, body = await api.request("GET", "/chat", Authorization="Bearer wrong-again")
        assert_refused(body, "too_many_requests", 429)
        assert 1 <= int(response.headers["Retry-After"]) <= WINDOW_S
        for token in ("right", "other"):
            response, _ = await api.request("GET", "/chat", Authorization=f"Bearer {token}")
            assert response.status == 200
        assert (await wrong(api))[0] == 429
        assert (await api.request("GET", "/chat"))[0].status == 401
        assert (await api.request("GET", "/health", Authorization="Bearer wrong"))[0].status == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "server.access.attempts"]
    assert lines == ["more than 10 wrong tokens within a minute from 127.0.0.1"]


async def test_nothing_tells_apart_what_is_wrong_with_a_token(config: Config) -> None:
    async with serving(with_tokens(config, "right")) as api:
        answers = {await wrong(api, given) for given in ("", "Bearer", "Bearer righ", "Bearer rightx", "Basic right")}
    assert len(answers) == 1


async def test_an_empty_token_lets_nobody_in(config: Config) -> None:
    async with serving(with_tokens(config, "")) as api:
        for given in ("", "Bearer", "Bearer "):
            assert (await wrong(api, given))[0] == 401
