"""The messages between a host and the SDK over one pair of pipes: what the SDK leaves unanswered is answered here.

The SDK decides by the first request which era of the protocol a connection is in, and refuses the other one ever
after. Hosts ask `server/discover` first, though, and turn to `initialize` when the answer takes them too long. So
what opens nothing is answered by itself: the era is decided by `initialize`, or by a request of the newer revision
that is served.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.inbound import InboundModernRoute, classify_inbound_request
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError

from client.border.json_codec import encode_json
from mcp_app.stdio.jsonrpc import (
    BATCH_REVISIONS,
    INVALID_REQUEST,
    NO_BATCH,
    Batch,
    Judged,
    Message,
    Refused,
    read_message,
)
from mcp_app.stdio.pipes import LineTooLong

logger = logging.getLogger(__name__)

Write = Callable[[bytes], Awaitable[None]]
Frames = MemoryObjectSendStream[SessionMessage | Exception]

_END_S = 1.0
_TOO_LONG = Refused(INVALID_REQUEST, "Invalid request: the line is too long.")


class Conversation:
    """Serves one host.

    Args:
        state: what the server's lifespan gave.
        write: sends one line.
        is_greeted: whether the first line is an `initialize` that has its answer already (`mcp_app.stdio.greeting`).
    """

    def __init__(self, server: Server[Any], state: Any, write: Write, *, is_greeted: bool = False) -> None:
        self._server = server
        self._state = state
        self._write = write
        self._to_sdk, self._sdk_reads = anyio.create_memory_object_stream[SessionMessage | Exception]()
        self._is_greeted = is_greeted
        self._is_opened = False
        self._opening_id: int | str | None = None
        self._opening_answered = anyio.Event()
        self._revision: str | None = None
        self._batches: dict[int | str | None, _OpenBatch] = {}

    async def run(self, lines: AsyncIterator[bytes | LineTooLong]) -> None:
        """Returns when there are no more lines; running calls are cancelled then."""
        async with anyio.create_task_group() as group:
            answers = self._start_sdk(group, self._sdk_reads)
            ended = anyio.Event()
            group.start_soon(self._send_on, answers, ended)
            async for line in lines:
                await self._take(_TOO_LONG if isinstance(line, LineTooLong) else read_message(line))
            await self._to_sdk.aclose()
            with anyio.move_on_after(_END_S):  # calls that still run are told so, if the host reads it
                await ended.wait()
            group.cancel_scope.cancel()
        for stream in (answers, self._sdk_reads):
            stream.close()

    def _start_sdk(
        self, group: TaskGroup, reads: MemoryObjectReceiveStream[SessionMessage | Exception]
    ) -> MemoryObjectReceiveStream[SessionMessage]:
        """Begins a connection of the SDK's; it ends with the group."""
        writes, answers = anyio.create_memory_object_stream[SessionMessage]()
        options = self._server.create_initialization_options()
        serve = partial(serve_dual_era_loop, lifespan_state=self._state, init_options=options)
        group.start_soon(serve, self._server, reads, writes)
        return answers

    async def _take(self, judged: Judged) -> None:
        if isinstance(judged, Batch) and self._revision not in BATCH_REVISIONS:
            judged = Refused(INVALID_REQUEST, f"Invalid request: {NO_BATCH}")
        if isinstance(judged, Refused):
            logger.warning("A line on stdin was refused: %s", judged.message)
            await self._send(judged.answer())
        elif isinstance(judged, Batch):
            await self._take_batch(judged)
        else:
            await self._take_message(judged)

    async def _take_message(self, message: Message, metadata: ServerMessageMetadata | None = None) -> None:
        typed = _typed(message)
        if typed is None:
            if message.is_request:  # no message that was judged good is known to be one
                await self._send(Refused(INVALID_REQUEST, "Invalid request.").answer())
            return
        if not self._opens(message):
            if message.is_request:
                await self._send_message(await self._answer_alone(typed))
            return
        if message.method != "initialize":
            await self._to_sdk.send(SessionMessage(typed, metadata))
            return
        self._opening_id, self._opening_answered = message.id, anyio.Event()
        await self._to_sdk.send(SessionMessage(typed, metadata))
        await self._opening_answered.wait()  # what the next line may be depends on the revision

    def _opens(self, message: Message) -> bool:
        """Whether the connection is in an era with this message; what is asked before that opens nothing."""
        if message.method == "server/discover":
            return False
        if not self._is_opened and message.is_request:
            self._is_opened = message.method == "initialize" or isinstance(
                classify_inbound_request(message.content), InboundModernRoute
            )
        return self._is_opened

    async def _answer_alone(self, request: JSONRPCMessage) -> JSONRPCMessage:
        """The answer as if nothing had been asked before."""
        to_sdk, reads = anyio.create_memory_object_stream[SessionMessage | Exception]()
        async with anyio.create_task_group() as group:
            answers = self._start_sdk(group, reads)
            await to_sdk.send(SessionMessage(request))
            answer = await answers.receive()
            group.cancel_scope.cancel()
        to_sdk.close()
        answers.close()
        return answer.message

    # -- answers ----------------------------------------------------------------------------------------------

    async def _send_on(self, answers: MemoryObjectReceiveStream[SessionMessage], ended: anyio.Event) -> None:
        async for each in answers:
            await self._send_message(each.message)
        ended.set()

    async def _send_message(self, message: JSONRPCMessage) -> None:
        content = message.model_dump(by_alias=True, exclude_unset=True)
        request_id = content.get("id")
        if request_id == self._opening_id and "method" not in content:
            self._revision = content.get("result", {}).get("protocolVersion", self._revision)
            self._opening_answered.set()
            if self._is_greeted:
                self._is_greeted = False
                return
        batch = None if "method" in content else self._batches.pop(request_id, None)
        if batch is None:
            await self._send(content)
            return
        batch.answers.append(content)
        await self._settle(batch, request_id)

    async def _send(self, content: dict[str, Any] | list[Any]) -> None:
        await self._write(encode_json(content))

    # -- batches ----------------------------------------------------------------------------------------------

    async def _take_batch(self, batch: Batch) -> None:
        """Its answers are one line, when the last is known; what is reported meanwhile goes its own way."""
        opened = _OpenBatch([item.answer() for item in batch.items if isinstance(item, Refused)])
        messages = [item for item in batch.items if isinstance(item, Message)]
        for message in messages:
            if message.is_request and not self._note(message, opened):
                opened.answers.append(Refused(INVALID_REQUEST, "Invalid request: the id is in use.").answer())
                messages = [each for each in messages if each is not message]
        if not opened.waiting and opened.answers:
            await self._send(opened.answers)
        for message in messages:
            settle = partial(self._settle_unanswered, opened, message.id) if message.is_request else None
            await self._take_message(message, ServerMessageMetadata(on_request_unanswered=settle))

    def _note(self, message: Message, batch: _OpenBatch) -> bool:
        if message.id in self._batches:
            return False
        self._batches[message.id] = batch
        batch.waiting.add(message.id)
        return True

    async def _settle_unanswered(self, batch: _OpenBatch, request_id: int | str) -> None:
        """A request that was cancelled gets no answer, and the others do not wait for one."""
        self._batches.pop(request_id, None)
        await self._settle(batch, request_id)

    async def _settle(self, batch: _OpenBatch, request_id: int | str | None) -> None:
        batch.waiting.discard(request_id)
        if not batch.waiting and batch.answers:
            await self._send(batch.answers)


class _OpenBatch:
    """A batch of which answers are still to come."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.answers = answers
        self.waiting: set[int | str | None] = set()


def _typed(message: Message) -> JSONRPCMessage | None:
    try:
        return jsonrpc_message_adapter.validate_python(message.content, by_name=False)
    except ValidationError as exc:
        logger.warning("A message on stdin was dropped: %d things are wrong with it.", exc.error_count())
        return None
