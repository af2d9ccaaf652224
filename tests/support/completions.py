"""Asks for answers in the words of Chat Completions, and reads them strictly."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from tests.support.serving import Api

MOUNTS = ("/v1", "/api/v1")
"""OpenAI's dialect and OpenRouter's."""
ASKED: dict[str, Any] = {"model": "acme/m", "messages": [{"role": "user", "content": "Why?"}]}


def asking(**more: Any) -> dict[str, Any]:
    """A body that asks for a stream."""
    return {**ASKED, "stream": True, **more}


async def complete(
    api: Api, mount: str, headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, bytes]:
    """A streamed answer, read to its end."""
    url = f"{api.url}{mount}/chat/completions"
    async with api.http.post(url, json=asking(**more), headers=headers) as response:
        return response, await response.read()


async def complete_whole(
    api: Api, mount: str, headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, Any]:
    """An answer as one JSON."""
    url = f"{api.url}{mount}/chat/completions"
    async with api.http.post(url, json={**ASKED, **more}, headers=headers) as response:
        return response, await response.json()


def frames_in(body: bytes) -> list[Any]:
    """The JSON of every chunk and error, in order; the body is proved to hold nothing else but pings and one end."""
    assert body.endswith(b"\n\n")
    blocks = [block for block in body.removesuffix(b"\n\n").split(b"\n\n") if block != b": ping"]
    assert blocks[-1] == b"data: [DONE]", blocks[-1]
    lines = [block.split(b"\n") for block in blocks[:-1]]
    assert all(line.startswith(b"data: ") for each in lines for line in each), body
    frames = [json.loads(b"\n".join(line[6:] for line in each), parse_constant=_refuse) for each in lines]
    assert all(isinstance(frame, dict) for frame in frames)
    return frames


def text_in(frames: list[Any]) -> str:
    """The answer's text."""
    choices = [choice for frame in frames for choice in frame.get("choices") or ()]
    said = [choice["delta"].get("content") for choice in choices if isinstance(choice.get("delta"), dict)]
    return "".join(each for each in said if isinstance(each, str))


def _refuse(name: str) -> None:
    raise ValueError(name)
