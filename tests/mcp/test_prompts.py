"""The prompts that hosts offer, and how hosts that are known get an answer once."""

from __future__ import annotations

import asyncio

import pytest
from mcp import Client
from mcp.types import ImageContent, Implementation, PromptReference, TextContent

from client.sandbox import Sandbox
from mcp_app.results.readers import reads_content
from mcp_app.server import build_mcp
from tests.support.mcp.clients import ERAS, Era, in_memory, open_state, text_of

FAST = {"sandbox": {"tokens_per_s": 0}}


@pytest.mark.parametrize("era", ERAS)
async def test_two_prompts_tell_the_hosts_model_what_to_call(upstream: Sandbox, era: Era) -> None:
    """G12."""
    async with asyncio.timeout(30), in_memory(upstream, era) as client:
        listed = (await client.list_prompts()).prompts
        assert {prompt.name: prompt.title for prompt in listed} == {
            "second_opinion": "Second opinion",
            "compare_models": "Compare models",
        }
        for prompt in listed:
            assert prompt.description
            assert all(not argument.required for argument in prompt.arguments or [])
        assert "acme/m" in await _text(client, "second_opinion", question="why?", model="acme/m")
        assert "why?" in await _text(client, "second_opinion", question="why?")
        assert "search_models" in await _text(client, "second_opinion")
        assert "['a/b', 'c/d']" in await _text(client, "compare_models", models="a/b, c/d")
        for name in ("second_opinion", "compare_models"):
            assert "llm_chat" in await _text(client, name)


async def _text(client: Client, name: str, **arguments: str) -> str:
    [message] = (await client.get_prompt(name, arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_models_are_completed_in_prompts(upstream: Sandbox) -> None:
    async with asyncio.timeout(30), in_memory(upstream) as client:
        for name, argument, typed in (
            ("second_opinion", "model", "sandbox/re"),
            ("compare_models", "models", "sandbox/echo,sandbox/re"),
        ):
            asked = {"name": argument, "value": typed}
            found = await client.complete(PromptReference(type="ref/prompt", name=name), asked)
            assert any(value.endswith("sandbox/reasoner") for value in found.completion.values)
            assert all(value.startswith(typed[:-2]) for value in found.completion.values)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("name", "is_host"), [("claude-code", True), ("my-program", False)])
async def test_a_host_gets_an_answer_once_and_a_program_both_forms(
    upstream: Sandbox, era: Era, name: str, is_host: bool
) -> None:
    mcp = build_mcp(lambda: open_state(upstream), version="0")
    info = Implementation(name=name, version="1")
    async with asyncio.timeout(30), Client(mcp, mode=era, client_info=info) as client:
        listed = await client.list_tools()
        result = await client.call_tool("llm_chat", {"prompt": "draw", "model": "sandbox/painter", "options": FAST})
        found = await client.call_tool("search_models", {"q": "echo"})
    assert [tool.output_schema is None for tool in listed.tools[:3]] == [is_host] * 3
    assert (result.structured_content is None) is is_host
    assert (found.structured_content is None) is is_host
    assert any(isinstance(block, ImageContent) for block in result.content)
    assert "cost" in text_of(result)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("codex-mcp-client", True),
        ("gemini-cli-mcp-client", True),
        ("Visual Studio Code - Insiders", True),
        ("mcp", False),
        ("", False),
    ],
)
def test_hosts_are_known_by_their_names(name: str, expected: bool) -> None:
    assert reads_content(name) is expected
