"""Who is behind a proxy, and who only says so."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from server.access.forwarded import Source, source_of
from server.config import Config
from tests.server.http.test_errors import assert_refused
from tests.support.serving import Api, changed, serving, with_tokens

PROXIES = ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")
MARKS = {
    "X-Forwarded-For": "127.0.0.1",
    "Forwarded": "for=127.0.0.1",
    "X-Real-IP": "127.0.0.1",
    "Via": "1.1 proxy",
}


def seen(peer: str, *headers: tuple[str, str], trusted: tuple[str, ...] = PROXIES) -> Source:
    request = make_mocked_request("GET", "/", CIMultiDict(headers))
    return source_of(request.clone(remote=peer), trusted)


@pytest.mark.parametrize(
    ("listed", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
    ],
)
def test_the_right_most_address_that_is_no_trusted_proxys_is_the_caller(listed: str, address: str) -> None:
    source = seen("127.0.0.1", ("X-Forwarded-For", listed))
    assert (source.address, source.is_this_machine) == (address, False)


def test_a_header_that_stands_twice_is_one_list() -> None:
    assert seen("10.0.0.1", ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "9.9.9.9")).address == "9.9.9.9"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=203.0.113.9;proto=https", "203.0.113.9"),
        ('for=127.0.0.1, for="[2001:db8::1]:4711";by=10.0.0.1', "2001:db8::1"),
        ('for="broken, for=203.0.113.9', "203.0.113.9"),
    ],
)
def test_the_standard_header_is_read_as_well(value: str, address: str) -> None:
    source = seen("127.0.0.1", ("Forwarded", value))
    assert (source.address, source.is_this_machine) == (address, False)


@pytest.mark.parametrize("hop", ["unknown", "_hidden", "", "localhost", "127.0.0.1.evil.example", "127.1", "[::1"])
def test_a_caller_whose_address_cannot_be_read_is_not_on_this_machine(hop: str) -> None:
    for name, value in (("X-Forwarded-For", f"127.0.0.1, {hop}"), ("Forwarded", f'for="127.0.0.1", for="{hop}x"')):
        source = seen("127.0.0.1", (name, value))
        assert (source.address, source.is_this_machine) == ("127.0.0.1", False)


def test_who_calls_through_a_trusted_proxy_from_this_machine_is_on_it() -> None:
    assert seen("127.0.0.1", ("X-Forwarded-For", "127.0.0.1")).is_this_machine
    assert seen("10.0.0.1", ("Forwarded", 'for="[::1]"')).is_this_machine


def test_two_headers_that_disagree_are_not_believed_to_name_this_machine() -> None:
    said, written = ("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=127.0.0.1")
    assert not seen("127.0.0.1", said, written).is_this_machine
    said, written = ("Forwarded", "for=203.0.113.9"), ("X-Forwarded-For", "127.0.0.1")
    assert not seen("127.0.0.1", said, written).is_this_machine


def test_a_trusted_proxy_that_says_nothing_does_not_speak_for_this_machine() -> None:
    assert seen("127.0.0.1") == Source("127.0.0.1", False, "server.trusted_proxies")
    assert not seen("127.0.0.1", ("X-Real-IP", "127.0.0.1")).is_this_machine


@pytest.mark.parametrize(("name", "value"), MARKS.items())
def test_nobody_else_is_believed(name: str, value: str) -> None:
    assert seen("203.0.113.9", (name, value)) == Source("203.0.113.9", False, name)
    assert seen("127.0.0.2", (name, value)) == Source("127.0.0.2", False, name)
    assert seen("127.0.0.1", (name, value), trusted=()) == Source("127.0.0.1", False, name)
    assert seen("203.0.113.9", ("X-Forwarded-Proto", "https")).scheme is None


def test_the_scheme_is_that_of_the_last_trusted_proxy() -> None:
    assert seen("127.0.0.1", ("X-Forwarded-Proto", "http, HTTPS")).scheme == "https"
    assert seen("127.0.0.1", ("X-Forwarded-Proto", "gopher")).scheme is None


@pytest.mark.parametrize(("name", "value"), MARKS.items())
async def test_without_tokens_a_request_through_a_proxy_is_refused_with_the_way_out(
    api: Api, name: str, value: str
) -> None:
    """A proxy on this machine comes from 127.0.0.1 with `Host: 127.0.0.1`, whoever is behind it."""
    async with api.http.get(f"{api.url}/chat", headers={name: value}) as response:
        error = assert_refused(await response.read(), "unauthorized", 401)["error"]
        assert response.headers["WWW-Authenticate"] == "Bearer"
    for said in (f"through a proxy ({name})", "SERVER_TOKENS", "[[callers]]", "Authorization: Bearer"):
        assert said in error
    for path in ("/health", "/ready"):
        async with api.http.get(f"{api.url}{path}", headers={name: value}) as response:
            assert response.status == 200


async def test_behind_a_trusted_proxy_everybody_has_an_address_of_his_own(config: Config) -> None:
    trusting = changed(with_tokens(config, "right"), "server", trusted_proxies=("127.0.0.1/32",))
    async with serving(trusting) as api:

        async def status(address: str) -> int:
            wrong = {"X_Forwarded_For": address, "Authorization": "Bearer wrong"}
            return (await api.request("GET", "/chat", **wrong))[0].status

        assert [await status("203.0.113.1") for _ in range(11)] == [401] * 10 + [429]
        assert await status("203.0.113.2") == 401
        assert await status("203.0.113.2, 203.0.113.1") == 429


async def test_the_scheme_of_a_page_counts_where_a_trusted_proxy_names_it(config: Config) -> None:
    trusting = changed(config, "server", trusted_proxies=("127.0.0.1/32",))
    async with serving(trusting) as api:
        forwarded = {"X_Forwarded_For": "127.0.0.1", "X_Forwarded_Proto": "https"}
        host = f"127.0.0.1:{api.port}"
        for scheme, status in (("https", 200), ("http", 403)):
            response, _ = await api.request("GET", "/chat", Origin=f"{scheme}://{host}", **forwarded)
            assert response.status == status
