"""The files that registries and desktop clients read agree with the project."""

from __future__ import annotations

import json
import re
import tomllib
from inspect import signature
from typing import Any

from client.config import UpstreamConfig
from mcp_app.stdio.print_config import CLIENTS, stdio_config
from mcp_app.tools.prompts import PROMPTS
from mcp_app.tools.tools import TOOLS
from server.config import environment_name, setting_fields
from tests.support.process import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MANIFEST: dict[str, Any] = json.loads((ROOT / "packaging" / "mcpb" / "manifest.json").read_text())
REGISTRY: dict[str, Any] = json.loads((ROOT / "server.json").read_text())
GUIDE = (ROOT / "docs" / "mcp.md").read_text()


def test_names_and_versions_agree() -> None:
    [package] = REGISTRY["packages"]
    versions = {PROJECT["version"], MANIFEST["version"], REGISTRY["version"], package["version"]}
    assert len(versions) == 1, versions
    assert PROJECT["name"] == MANIFEST["name"] == package["identifier"]


def test_the_environment_names_exist_and_the_key_is_a_secret() -> None:
    known = {"OPENROUTER_API_KEY", *map(environment_name, setting_fields().values())}
    [package] = REGISTRY["packages"]
    listed = {variable["name"]: variable for variable in package["environmentVariables"]}
    assert set(listed) <= known
    assert set(MANIFEST["server"]["mcp_config"]["env"]) <= known
    assert listed["OPENROUTER_API_KEY"]["isSecret"] is True
    assert MANIFEST["user_config"]["api_key"]["sensitive"] is True


def test_every_optional_field_of_the_bundle_has_a_default() -> None:
    optional = [field for field in MANIFEST["user_config"].values() if not field["required"]]
    assert optional == [field for field in optional if "default" in field]
    assert MANIFEST["user_config"]["model"]["default"] == UpstreamConfig().model


def test_a_registry_starts_the_package_by_its_own_name() -> None:
    assert PROJECT["scripts"][PROJECT["name"]] == PROJECT["scripts"]["openrouter-mcp"]


def test_what_an_index_shows_claims_the_name_in_the_registry() -> None:
    assert re.findall(r"<!-- mcp-name: (\S+) -->", PROJECT["readme"]["text"]) == [REGISTRY["name"]]
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", REGISTRY["name"])
    assert len(REGISTRY["description"]) <= 100


def test_the_guides_steps_name_what_is_there() -> None:
    assert "`paste-your-OpenRouter-key-here`" in GUIDE
    assert json.loads(stdio_config("cursor", "/x", [], environment={}))["mcpServers"]["openrouter"]["env"] == {
        "OPENROUTER_API_KEY": "paste-your-OpenRouter-key-here"
    }
    assert (ROOT / "scripts" / "install").exists()


def test_the_bundle_lists_the_tools_that_there_are() -> None:
    assert [tool["name"] for tool in MANIFEST["tools"]] == [function.__name__ for function in TOOLS]


def test_the_guide_names_every_client_and_every_tool() -> None:
    for client in CLIENTS:
        assert f"--client {client}" in GUIDE
    for tool in MANIFEST["tools"]:
        assert f"`{tool['name']}`" in GUIDE


def test_the_bundle_names_the_prompts_that_there_are() -> None:
    assert {prompt["name"]: prompt["arguments"] for prompt in MANIFEST["prompts"]} == {
        name: list(signature(facts.function).parameters) for name, facts in PROMPTS.items()
    }
