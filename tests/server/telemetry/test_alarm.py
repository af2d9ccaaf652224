"""What whoever runs the server reads in its log when upstream refuses."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from client.errors import Failure
from client.sandbox import Reply, Sandbox
from server.telemetry.upstream_alarm import UpstreamAlarm
from tests.support.serving import Api


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == name]


def fields(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = vars(record)["fields"]
    return found


@pytest.mark.parametrize(("status", "type_"), [(401, "upstream_auth"), (402, "insufficient_credits")])
async def test_a_dead_key_is_a_warning_once_however_many_answers_it_costs(
    upstream: Sandbox, api: Api, caplog: pytest.LogCaptureFixture, status: int, type_: str
) -> None:
    """bare 9."""
    caplog.set_level("INFO")
    upstream.script_always(Reply.error(status, "no"))
    for _ in range(3):
        await api.chat()
    upstream.script_always(Reply.error(status, "no"), path="/models")
    _, body = await api.request("GET", "/models")
    assert type_.encode() in body
    (warning,) = lines(caplog, "upstream")
    assert warning.levelno == logging.WARNING
    assert type_ in warning.getMessage()
    *answers, request = lines(caplog, "access")
    assert [(each.levelno, fields(each)["error"]) for each in answers] == [(logging.WARNING, type_)] * 3
    assert fields(request)["error"] == type_


async def test_every_request_that_failed_names_its_error(
    upstream: Sandbox, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """bare 9."""
    caplog.set_level("INFO")
    upstream.script_always(Reply.error(500, "no"), path="/models")
    asked = [("GET", "/nothing", b""), ("POST", "/chat", b"[]"), ("PUT", "/chat", b""), ("POST", "/chat?x=1", b"{}"),
             ("GET", "/models", b""), ("GET", "/models/search?x=1", b""), ("GET", "/chat", b"")]  # fmt: skip
    for method, path, body in asked:
        await api.request(method, path, body, Content_Type="application/json")
    told = [(fields(each)["error"], each.levelno) for each in lines(caplog, "access")]
    assert told == [
        ("not_found", logging.INFO), ("invalid_json", logging.INFO), ("method_not_allowed", logging.INFO),
        ("invalid_request", logging.INFO), ("upstream_unavailable", logging.WARNING),
        ("invalid_request", logging.INFO), (None, logging.INFO),
    ]  # fmt: skip
    assert not lines(caplog, "upstream")


def test_the_alarm_counts_what_it_does_not_say(caplog: pytest.LogCaptureFixture) -> None:
    """bare 9."""
    now_s = [0.0]
    alarm = UpstreamAlarm(lambda: now_s[0])
    dead = Failure("The key is dead.", "upstream_auth", 502, retryable=False)
    for at_s in (0.0, 1.0, 59.9, 60.0, 61.0):
        now_s[0] = at_s
        alarm.note(dead)
    alarm.note(Failure("No money.", "insufficient_credits", 402, retryable=False))
    alarm.note(Failure("Slow.", "rate_limited", 429, retryable=True))
    alarm.note(None)
    assert [record.getMessage() for record in caplog.records] == [
        "upstream_auth: The key is dead.",
        "upstream_auth: The key is dead. (2 more since the last such line)",
        "insufficient_credits: No money.",
    ]
