"""The operator's page and the files for Compose say what the tests run with."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from server.config import environment_name, setting_fields
from server.config.redis.url import parse_url
from tests.instances.test_behind_nginx import COMPOSE, STORE
from tests.support.engines import COMMANDS, PREFIXES, USER
from tests.support.process import ROOT
from tests.support.proxies.balancer import CONFIG

PAGE = ROOT / "docs" / "several-processes.md"
FLUSH_S = 2
INSTANCES = [name for name in COMPOSE["services"] if name.startswith("openrouter-sse-")]


@pytest.mark.parametrize("file", [PAGE, STORE], ids=["page", "compose"])
def test_the_rights_in_the_store_are_those_that_the_tests_run_with(file: object) -> None:
    text = (PAGE if file is PAGE else STORE).read_text()
    [line] = re.findall(rf"^user {USER} on \S+ ~{PREFIXES[0]}:\* resetchannels -@all (.*)$", text, re.MULTILINE)
    assert [word.removeprefix("+") for word in line.split()] == COMMANDS.split()


def test_the_store_keeps_everything() -> None:
    lines = STORE.read_text().splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction", "user default off"} <= set(lines)


def test_every_variable_is_one_that_the_server_reads() -> None:
    files = {"OPENROUTER_API_KEY_FILE", "SERVER_TOKENS_FILE", "REDIS_TEXT_KEY_FILE"}
    settings = set(map(environment_name, setting_fields().values()))
    for name in INSTANCES:
        service = COMPOSE["services"][name]
        environment = service["environment"]
        assert files <= set(environment) <= files | settings | {"REDIS_URL"}
        for file in files:
            secret = PurePosixPath(environment[file]).name
            assert secret in service["secrets"]
            assert COMPOSE["secrets"][secret]["file"] == f"./secrets/{secret}"
        engine = parse_url(environment["REDIS_URL"])
        assert engine.username == USER
        assert [host for host, _ in engine.hosts] == ["valkey"]


def test_each_process_has_an_address_that_nginx_knows_and_a_state_of_its_own() -> None:
    services = [COMPOSE["services"][name] for name in INSTANCES]
    addresses = {service["networks"]["front"]["ipv4_address"] for service in services}
    assert addresses == set(re.findall(r"server (\S+):8000 ", CONFIG.read_text()))
    assert len({service["volumes"][0].partition(":")[0] for service in services}) == len(services)
    proxy = COMPOSE["services"]["nginx"]["networks"]["front"]["ipv4_address"]
    assert all(service["environment"]["TRUSTED_PROXIES"] == proxy for service in services)
    assert all("ports" not in service for service in services)


def test_nobody_is_killed_while_answers_may_finish() -> None:
    for name in INSTANCES:
        service = COMPOSE["services"][name]
        timeout_s = float(service["environment"]["SHUTDOWN_TIMEOUT"])
        assert timeout_s + FLUSH_S < float(service["stop_grace_period"].removesuffix("s"))
