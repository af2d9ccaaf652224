"""The engines of these tests are what they are taken for."""

from __future__ import annotations

import pytest
import redis

from tests.support.engines import Engine


def test_the_user_of_these_tests_may_do_no_more_than_is_documented(engine: Engine) -> None:
    with redis.Redis.from_url(engine.tcp_url, protocol=2, driver_info=None) as client:
        assert client.set("openrouter-sse:x", "1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("other:x", "1")
        for command in ("KEYS *", "SCAN 0", "CONFIG GET *", "FLUSHALL", "SCRIPT LOAD x", "PUBLISH a b"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def test_each_is_of_its_own_kind_and_can_be_emptied(engine: Engine) -> None:
    with engine.admin() as admin:
        info = admin.info("server")
        assert ("valkey_version" in info) == (engine.flavour == "valkey")
        admin.set("x", "1")
        engine.empty()
        assert admin.get("x") is None
