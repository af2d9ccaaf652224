"""The way in: a client of one server."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from openrouter_sse_client.chat import Chat
from openrouter_sse_client.link import Asked
from openrouter_sse_client.results import Result, result_of
from openrouter_sse_client.transport import Token, Transport

DEFAULT_URL = "http://localhost:8000"
_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")
_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Client:
    """Asks one server for answers. Use it as `async with`, or `await aclose()` at the end.

    Args:
        base_url: of the server, with the path of a proxy if there is one.
        token: of this server (never a key of OpenRouter); or a function, asked before each request, that may be a
            coroutine function.
        session: a session of yours, which stays yours; its connector's limit then holds for streams and for `stop`.
        idle_timeout_s: silence after which a connection counts as lost; the server's comments count as life.
        max_retries: how often in a row a lost connection is tried again.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: Token = None,
        session: aiohttp.ClientSession | None = None,
        idle_timeout_s: float = 45.0,
        max_retries: int = 8,
    ) -> None:
        self.models = Models(self)
        self._max_retries = max_retries
        self._transport = Transport(base_url, token, session, idle_timeout_s)

    async def __aenter__(self) -> Self:
        """Opens nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes all connections; answers go on for their `grace_s`."""
        await self._transport.aclose()

    def chat(
        self,
        message: str | Mapping[str, Any] | Iterable[Mapping[str, Any]],
        /,
        *,
        idempotency_key: str | None = None,
        last_event_id: str | None = None,
        **fields: Any,
    ) -> Chat:
        """An answer, which is asked for when its first event is wanted.

        Args:
            message: what to ask; or a list of messages; or the whole body of `POST /chat`.
            idempotency_key: 22 to 64 of `A-Z a-z 0-9 _ -`; becomes the answer's id. One is made otherwise.
            last_event_id: goes on after this event of an answer that was begun before.
            fields: beside it in the body: `model`, `temperature`, `grace_s`, …

        Raises:
            ValueError: the key is none.
        """
        key = secrets.token_hex(16) if idempotency_key is None else idempotency_key
        if not _KEY.fullmatch(key):
            raise ValueError("idempotency_key must be 22 to 64 of A-Z, a-z, 0-9, _ and -")
        body = {**_body_of(message), **fields}
        body.pop("stream", None)  # this is a stream
        asked = Asked(json.dumps(body, allow_nan=False).encode(), key)
        return Chat(self._transport, key, asked, last_event_id, self._max_retries)

    def resume(self, stream_id: str, *, last_event_id: str | None = None) -> Chat:
        """An answer that was begun before, by anybody with the same token; after this event, or from its beginning.

        Raises:
            ValueError: no answer is called so.
        """
        return Chat(self._transport, _checked(stream_id), None, last_event_id, self._max_retries)

    async def stop(self, stream_id: str) -> dict[str, Any]:
        """Ends an answer; what the server says of it.

        Raises:
            ChatError: the server refused, or has none of that name.
        """
        return await self._transport.ask("DELETE", f"/chat/{_checked(stream_id)}", max_retries=self._max_retries)

    async def result(self, stream_id: str) -> Result:
        """What the server has of an answer, which may still run.

        Raises:
            ChatError: the server refused, or has none of that name.
        """
        path = f"/chat/{_checked(stream_id)}/result"
        return result_of(await self._transport.ask("GET", path, max_retries=self._max_retries), stream_id)

    async def chats(self, *, limit: int | None = None) -> dict[str, Any]:
        """Running and recent answers, newest first: `{"data", "has_more"}`."""
        return await self._transport.ask("GET", "/chat", {} if limit is None else {"limit": str(limit)})

    async def usage(self, *, from_: str | None = None, to: str | None = None) -> dict[str, Any]:
        """What was asked and spent from one day (UTC, `2026-01-31`) to another; of the last 30 days without."""
        days = {"from": from_, "to": to}
        return await self._transport.ask("GET", "/usage", {name: day for name, day in days.items() if day})

    async def health(self) -> dict[str, Any]:
        """Whether the server lives, its version, and whether it is a sandbox; needs no token."""
        return await self._transport.ask("GET", "/health")

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Any other route that answers with a JSON object; lists become comma lists, None is left out."""
        found = {name: _parameter(value) for name, value in (params or {}).items() if value is not None}
        return await self._transport.ask("GET", path, found)


class Models:
    """The models that the server offers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def search(self, q: str | None = None, **params: Any) -> dict[str, Any]:
        """Matching models: `{"data", "total", "limit", "offset", "fetched_at", "stale"}`.

        Args:
            q: words of id, name or description.
            params: of `GET /models/search`: `free_only=True`, `supported_parameters=["tools"]`, `sort="newest"`, …
        """
        return await self._client.get("/models/search", {"q": q, **params})

    async def get(self, model_id: str) -> dict[str, Any]:
        """One model and its endpoints: `{"data", "endpoints"}`."""
        return await self._client.get(f"/models/{model_id}")

    async def families(self) -> dict[str, Any]:
        """Authors and how many models each has."""
        return await self._client.get("/models/families")


def _body_of(message: str | Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(message, str):
        return {"message": message}
    return dict(message) if isinstance(message, Mapping) else {"messages": list(message)}


def _checked(stream_id: str) -> str:
    if not _STREAM_ID.fullmatch(stream_id):
        raise ValueError(f"no answer has such an id: {stream_id!r}")
    return stream_id


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ",".join(value) if isinstance(value, Iterable) else str(value)
