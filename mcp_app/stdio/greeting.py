"""The handshake, answered before the SDK is loaded, which takes a second: hosts give up on slow servers.

What is answered here is what the SDK would say, word for word (a test compares them); anything unusual is left to it.
Imports nothing that is slow to load.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from mcp_app.stdio.pipes import LineTooLong

NAME: Final = "openrouter"
TITLE: Final = "OpenRouter"
INSTRUCTIONS: Final = (
    "Ask any language model that OpenRouter offers. llm_chat needs only a prompt; find models with search_models. "
    "An answer that takes longer than wait_s goes on in the background: fetch it with llm_chat_result."
)
_REVISIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Those that begin with `initialize`; the last is offered to whoever asks for another."""
_NEWER: Final = "2026-07-28"
_META: Final = "io.modelcontextprotocol/"
_CAPABILITIES: Final = ("protocolVersion", "clientInfo", "clientCapabilities")


@dataclass(frozen=True)
class Greeted:
    """How far a conversation is.

    Attributes:
        line: the first one that is not done with; None when there are no more.
        is_answered: whether it is an `initialize` that has its answer, of which the SDK must hear all the same.
    """

    line: bytes | LineTooLong | None
    is_answered: bool = False


async def greet(
    lines: AsyncIterator[bytes | LineTooLong], write: Callable[[bytes], Awaitable[None]], version: str
) -> Greeted:
    """Answers what comes before anything is asked for; returns at the first line that does more.

    Raises:
        BrokenPipeError: the host has closed its end.
    """
    async for line in lines:
        message = None if isinstance(line, LineTooLong) else _read(line)
        result = None if message is None else _result(message, version)
        if message is None or result is None:
            return Greeted(line)
        await write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())
        if message["method"] == "initialize":
            return Greeted(line, is_answered=True)
    return Greeted(None)


def _read(line: bytes) -> dict[str, Any] | None:
    """A request in the usual form; None for anything else."""
    try:
        message = json.loads(line.decode("ascii"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.keys() != {"jsonrpc", "id", "method", "params"}:
        return None
    is_request = message["jsonrpc"] == "2.0" and isinstance(message["params"], dict)
    return message if is_request and type(message["id"]) in (int, str) and b"\\u" not in line else None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _result(message: dict[str, Any], version: str) -> dict[str, Any] | None:
    params = message["params"]
    meta = params.get("_meta")
    if message["method"] == "initialize" and meta is None:
        asked = params.get("protocolVersion")
        if isinstance(asked, str) and _is_client(params.get("clientInfo"), params.get("capabilities")):
            return _initialized(asked, version)
    if message["method"] == "server/discover" and params.keys() == {"_meta"} and isinstance(meta, dict):
        asked, info, capabilities = (meta.get(_META + name) for name in _CAPABILITIES)
        if asked == _NEWER and _is_client(info, capabilities):
            return _discovered(version)
    return None


def _is_client(info: object, capabilities: object) -> bool:
    """Whether a client names itself and its abilities as most do."""
    if not isinstance(info, dict) or not isinstance(capabilities, dict):
        return False
    named = all(isinstance(info.get(name), str) for name in ("name", "version"))
    plain = all(isinstance(value, str) for value in info.values())
    return named and plain and all(isinstance(value, dict) for value in capabilities.values())


def _initialized(asked: str, version: str) -> dict[str, Any]:
    return {
        "protocolVersion": asked if asked in _REVISIONS else _REVISIONS[-1],
        "capabilities": _capabilities(changes=False),
        "serverInfo": {"name": NAME, "title": TITLE, "version": version},
        "instructions": INSTRUCTIONS,
    }


def _discovered(version: str) -> dict[str, Any]:
    return {
        "resultType": "complete",
        "supportedVersions": [_NEWER],
        "capabilities": _capabilities(changes=True),
        "instructions": INSTRUCTIONS,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {f"{_META}serverInfo": {"name": NAME, "title": TITLE, "version": version}},
    }


def _capabilities(*, changes: bool) -> dict[str, Any]:
    """What the SDK says of a server with tools, resources, prompts and completion."""
    return {
        "completions": {},
        "prompts": {"listChanged": changes},
        "resources": {"listChanged": changes, "subscribe": changes},
        "tools": {"listChanged": changes},
    }
