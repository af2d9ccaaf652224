"""The container's files agree with the project; `container_check` builds and runs them where an engine is."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]  # what the schema tests bring

from server.config import ServerConfig, environment_name, setting_fields
from tests.support.process import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["openrouter-sse"]


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for copy in copies for name in copy.split()}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_port_is_the_default_one() -> None:
    port = ServerConfig().port
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert f'environ.get(\\"PORT\\") or {port}' in DOCKERFILE
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_every_variable_is_one_that_the_server_reads() -> None:
    secrets = {"OPENROUTER_API_KEY_FILE", "SERVER_TOKENS_FILE"}
    settings = set(map(environment_name, setting_fields().values()))
    assert secrets <= set(SERVICE["environment"]) <= secrets | settings
    for name in secrets:
        path = SERVICE["environment"][name]
        secret = PurePosixPath(path).name
        assert name == f"{secret.upper()}_FILE"
        assert secret in SERVICE["secrets"]
        assert COMPOSE["secrets"][secret]["file"] == f"./secrets/{secret}"


def test_it_runs_without_rights_and_writes_to_its_state_only() -> None:
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    [state] = SERVICE["volumes"]
    folder = state.partition(":")[2]
    assert f"STATE_DIRECTORY={folder} \\\n" in DOCKERFILE
    assert f"-m 0700 {folder}\n" in DOCKERFILE


DOCKER_KILLS_AFTER_S = 10
FLUSH_S = 2
"""What readers may take for the last events, beyond `server.shutdown_timeout_s`."""


def test_nobody_is_killed_while_answers_may_finish() -> None:
    """bare 6"""
    [of_image] = re.findall(r"SHUTDOWN_TIMEOUT=(\d+)$", DOCKERFILE, re.MULTILINE)
    assert int(of_image) + FLUSH_S < DOCKER_KILLS_AFTER_S
    of_compose = float(SERVICE["environment"]["SHUTDOWN_TIMEOUT"])
    assert of_compose == ServerConfig().shutdown_timeout_s
    assert of_compose + FLUSH_S < float(SERVICE["stop_grace_period"].removesuffix("s"))


def test_what_is_installed_is_pinned_by_hash() -> None:
    installs = re.findall(r"^RUN pip install (.+)$", DOCKERFILE, re.MULTILINE)
    assert all("--no-deps" in install for install in installs)
    assert "--require-hashes -r requirements-redis.txt" in installs[0]
