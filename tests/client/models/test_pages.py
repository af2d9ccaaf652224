"""Reading upstream's lists, and which link to a next page is followed (quirks Q105, Q106)."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import UpstreamProtocolError
from client.models.pages import join_pages, next_page_params, parse_endpoints, parse_model, parse_page

BASE = "https://host.example/api/v1"


@pytest.mark.parametrize(
    ("body", "link"),
    [
        ({"data": [{"id": "a"}], "total_count": 1, "links": {"next": None}}, None),
        ({"data": [{"id": "a"}], "links": {"next": "/x"}}, "/x"),
        ({"data": [{"id": "a"}], "links": {"next": ""}}, None),
        ({"data": [{"id": "a"}], "links": None}, None),
        ({"data": [{"id": "a"}]}, None),
        ([{"id": "a"}], None),
    ],
)
def test_q106_a_page_may_have_only_data_or_be_a_bare_list(body: Any, link: str | None) -> None:
    assert parse_page(body) == ([{"id": "a"}], link)


def test_entries_nobody_could_ask_for_are_left_out() -> None:
    assert parse_page({"data": [None, "a", {}, {"id": 3}, {"id": "a"}]})[0] == [{"id": "a"}]


@pytest.mark.parametrize("body", [None, "models", 3, {}, {"data": None}, {"data": {"id": "a"}}, {"error": "no"}])
def test_what_is_no_list_of_models_is_a_protocol_error(body: Any) -> None:
    with pytest.raises(UpstreamProtocolError) as caught:
        parse_page(body)
    assert (caught.value.failure.type, caught.value.failure.status) == ("upstream_protocol", 502)


@pytest.mark.parametrize(
    ("link", "params"),
    [
        (f"{BASE}/models?offset=500&limit=500", {"offset": "500", "limit": "500"}),
        ("/api/v1/models?offset=500", {"offset": "500"}),
        ("/models?offset=500", {"offset": "500"}),
        ("?offset=500&sort=", {"offset": "500", "sort": ""}),
        ("https://HOST.example:443/api/v1/models?offset=1", {"offset": "1"}),
    ],
)
def test_q105_a_link_to_the_same_list_gives_the_query_of_the_next_page(link: str, params: dict[str, str]) -> None:
    assert next_page_params(BASE + "/", "/models", link) == params


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/v1/models?offset=500",
        "//evil.example/api/v1/models?offset=500",
        "http://host.example/api/v1/models?offset=500",
        "https://host.example:8443/api/v1/models?offset=500",
        "https://host.example:port/api/v1/models",
        "https://[broken/api/v1/models",
        f"{BASE}/key",
        "../keys?offset=500",
        "javascript:alert(1)",
    ],
)
def test_q105_a_link_that_leads_elsewhere_is_refused(link: str) -> None:
    assert next_page_params(BASE, "/models", link) is None


def test_q105_pages_are_joined_in_order_with_each_id_once() -> None:
    first, again = {"id": "b", "n": 1}, {"id": "b", "n": 2}
    assert join_pages([[{"id": "a"}, first], [again, {"id": "c"}]]) == [{"id": "a"}, first, {"id": "c"}]


def test_a_single_model_is_unwrapped() -> None:
    assert parse_model({"data": {"id": "a"}}) == {"id": "a"}


@pytest.mark.parametrize("body", [None, [], {}, {"data": []}])
def test_a_reply_without_a_model_is_a_protocol_error(body: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        parse_model(body)


@pytest.mark.parametrize(
    ("body", "endpoints"),
    [
        ({"data": {"endpoints": [{"name": "x"}, None]}}, [{"name": "x"}]),
        ({"data": {"endpoints": None}}, []),
        ({"data": []}, []),
        (None, []),
    ],
)
def test_endpoints_are_empty_where_upstream_tells_none(body: Any, endpoints: list[dict[str, Any]]) -> None:
    assert parse_endpoints(body) == endpoints
