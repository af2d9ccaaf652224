"""What a `Content-Type` names."""

from __future__ import annotations

import pytest

from client.border.media_type import UNSAID, media_type


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("\ttext/event-stream ;charset=UTF-8", "text/event-stream"),
        ("application/problem+json;", "application/problem+json"),
        (None, UNSAID),
        ("", UNSAID),
        ("json", UNSAID),
        ("application/", UNSAID),
        ("application/json, text/html", UNSAID),
        ("application/js\u00f6n", UNSAID),
        ("text/" + "x" * 500, UNSAID),
    ],
)
def test_a_media_type_is_read_without_its_parameters(raw: str | None, named: str) -> None:
    assert media_type(raw) == named
