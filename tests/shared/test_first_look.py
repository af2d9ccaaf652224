"""An engine is looked at before it is worked with: what is wrong with it is told, and the way out."""

from __future__ import annotations

import pytest

from server.config.redis.url import parse_url
from server.shared.engine.first_look import OLDEST, RIGHTS, acl_line, first_look
from server.shared.engine.lines import Dialler, EngineLost, Line
from tests.support.engines import COMMANDS, PASSWORD, USER, Engine, running_engine

PREFIX = "openrouter-sse"


async def look(url: str, prefix: str = PREFIX) -> list[str]:
    line = Line(Dialler(parse_url(url)).maker("test"))
    try:
        return await first_look(line, prefix)
    finally:
        await line.aclose()


def test_what_is_documented_is_what_these_tests_allow() -> None:
    assert RIGHTS == COMMANDS


async def test_an_engine_with_the_documented_user_fits_and_is_left_as_it_was(engine: Engine) -> None:
    assert await look(engine.url) == []
    assert await look(engine.tcp_url) == []
    with engine.admin() as admin:
        assert admin.keys("*") == []


async def test_the_line_for_the_access_list_is_one(engine: Engine) -> None:
    words = acl_line("mine").replace("NAME", "other").replace(">PASSWORD", ">hush").split()
    with engine.admin() as admin:
        assert admin.execute_command("ACL", "SETUSER", *words[1:])
    assert await look(f"unix://other:hush@{engine.socket}", "mine") == []


async def test_a_wrong_password_is_told_with_the_way_out(engine: Engine) -> None:
    for url in (engine.url, engine.tcp_url):
        (found,) = await look(url.replace(PASSWORD, "hush"))
        assert "the user or the password is wrong" in found
        assert "~openrouter-sse:* resetchannels -@all +hello" in found
        assert "hush" not in found


@pytest.mark.parametrize(
    "command", sorted(set(COMMANDS.split()) - {"hello", "auth", "select", "client|setname", "info"})
)
async def test_every_command_that_is_forbidden_is_named(command: str) -> None:
    with running_engine("redis") as engine:
        with engine.admin() as admin:
            admin.execute_command("ACL", "SETUSER", USER, f"-{command}")
        (found,) = await look(engine.url)
    assert f"forbids this user {command}, or keys" in found


async def test_keys_that_are_forbidden_are_told(engine: Engine) -> None:
    (found,) = await look(engine.url, "other")
    assert "or keys that begin with other:" in found


async def test_what_drops_keys_when_it_is_full_is_no_store(engine: Engine) -> None:
    with engine.admin() as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
    (found,) = await look(engine.url)
    assert found.endswith("set maxmemory-policy noeviction")


async def test_what_is_too_old_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OLDEST, engine.flavour, (99, 0))
    (found,) = await look(engine.url)
    assert f"the engine is {engine.flavour.title()} " in found
    assert "or newer, is needed" in found


async def test_what_cannot_be_reached_is_no_reason(engine: Engine) -> None:
    engine.kill()
    with pytest.raises(EngineLost):
        await look(engine.url)
