"""The handshake and the lists, answered before the SDK is loaded, which takes a second.

Hosts give up on slow servers, and some ask their model before the list of tools is there. What is answered here is
what the SDK would say (a test compares them; `scripts/write-mcp-lists` writes the lists); anything unusual is left to
it. Imports nothing that is slow to load.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from mcp_app.results.readers import reads_content
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
_INITIALIZED: Final = {"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}}
_LISTS: Final = Path(__file__).with_name("lists.json")
"""By method, as revisions up to 2025-11-25 have them."""
_CAPABILITIES: Final = ("protocolVersion", "clientInfo", "clientCapabilities")


@dataclass(frozen=True)
class Greeted:
    """How far a conversation is.

    Attributes:
        lines: what the SDK must hear of; an `initialize` among them is the first.
        is_answered: whether that has its answer.
        has_more: whether the host may write more.
    """

    lines: tuple[bytes | LineTooLong, ...] = ()
    is_answered: bool = False
    has_more: bool = True


async def greet(
    lines: AsyncIterator[bytes | LineTooLong], write: Callable[[bytes], Awaitable[None]], version: str
) -> Greeted:
    """Answers what comes before a tool is called; returns at the first line that does more.

    Raises:
        BrokenPipeError: the host has closed its end.
    """
    kept: list[bytes | LineTooLong] = []
    client: str | None = None
    async for line in lines:
        message = None if isinstance(line, LineTooLong) else _read(line)
        if message is not None and client is not None and message == _INITIALIZED:
            kept.append(line)
            continue
        result = None if message is None else _result(message, version) if client is None else _list(message, client)
        if message is None or result is None:
            return Greeted((*kept, line), client is not None)
        await write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())
        if message["method"] == "initialize":
            client = message["params"]["clientInfo"]["name"]
            kept.append(line)
    return Greeted(tuple(kept), client is not None, has_more=False)


def _read(line: bytes) -> dict[str, Any] | None:
    """A message in the usual form; None for anything else."""
    try:
        message = json.loads(line.decode("ascii"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or b"\\u" in line:
        return None
    message.setdefault("params", {})
    if message == _INITIALIZED:
        return message
    is_request = message.keys() == {"jsonrpc", "id", "method", "params"} and isinstance(message["params"], dict)
    return message if is_request and type(message["id"]) in (int, str) else None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _result(message: dict[str, Any], version: str) -> dict[str, Any] | None:
    params = message["params"]
    meta = params.get("_meta")
    if message["method"] == "initialize" and _is_plain(meta):
        asked = params.get("protocolVersion")
        if isinstance(asked, str) and _is_client(params.get("clientInfo"), params.get("capabilities")):
            return _initialized(asked, version)
    if message["method"] == "server/discover" and params.keys() == {"_meta"} and isinstance(meta, dict):
        asked, info, capabilities = (meta.get(_META + name) for name in _CAPABILITIES)
        if asked == _NEWER and _is_client(info, capabilities):
            return _discovered(version)
    return None


def _list(message: dict[str, Any], client: str) -> dict[str, Any] | None:
    """A list that is the same for everybody but in its form."""
    if not message["params"].keys() <= {"_meta"} or not _is_plain(message["params"].get("_meta")):
        return None
    found: dict[str, Any] | None = json.loads(_LISTS.read_bytes()).get(message["method"])
    if found is not None and "tools" in found and reads_content(client):
        found["tools"] = [{key: tool[key] for key in tool if key != "outputSchema"} for tool in found["tools"]]
    return found


def _is_plain(meta: object) -> bool:
    """Whether what goes beside a request says nothing of the newer revision."""
    return meta is None or (isinstance(meta, dict) and not any(name.startswith(_META) for name in meta))


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
