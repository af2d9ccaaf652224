"""Going on with a conversation: what was asked stays with its stream, and the stream's log has the answer.

So the host need not send it all again, and thinking that only its model's provider can read (`reasoning_details`)
goes back untouched, which a host could not send.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from client.border.json_codec import encode_json
from client.streams.answer import Answer
from client.streams.gathering import read_answer
from client.streams.log import EventsGone
from client.streams.readable import Readable
from client.streams.streams import Streams
from mcp_app.chats.request import Earlier
from mcp_app.files.saving import Target
from mcp_app.results.clean import clean_json
from mcp_app.results.failures import ToolFailure
from mcp_app.results.output import SavedAnswer


@dataclass(frozen=True, eq=False)
class Turn:
    """What a chat tool asked (`client.streams.stream.Stream.asked`).

    Attributes:
        body: as it was meant; what a cap on the cost added is not in it.
        cap: what limits the answer's tokens beside the caller's own words; empty when nothing does.
        target: where the answer goes when it is whole; None where nobody wants it saved.
        saved: what of it is in files by now.
    """

    body: Mapping[str, Any]
    cap: str = ""
    target: Target | None = None
    saved: list[SavedAnswer] = field(default_factory=list)
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever saves it: two may fetch its end at once."""


def keep_turn(streams: Streams, turn: Turn) -> Turn:
    """The turn, counted with what all streams take for as long as it is kept.

    Raises:
        StreamsFull: there is no room for it.
    """
    size_bytes = len(encode_json(turn.body))
    streams.hold(size_bytes)
    weakref.finalize(turn, streams.release, size_bytes).atexit = False
    return turn


def turn_of(stream: Readable) -> Turn | None:
    """What a stream was asked; None where it was not a tool that asked."""
    return stream.asked if isinstance(stream.asked, Turn) else None


async def earlier_of(stream: Readable) -> Earlier:
    """The conversation with this stream's answer as its last message.

    Raises:
        ToolFailure: there is none to go on from.
    """
    turn = turn_of(stream)
    if turn is None:
        raise ToolFailure(
            f"continue: {stream.id} was not begun with llm_chat, or before the server started. Give the turns in "
            "`messages` instead."
        )
    if stream.is_running:
        raise ToolFailure(
            "continue: that answer is still running. Wait for it with llm_chat_result, then call again."
        )
    answer = Answer()
    with stream.pinned():
        try:
            await read_answer(stream.log, answer)
        except EventsGone as exc:
            raise ToolFailure(
                "continue: the beginning of that answer is gone. Give the turns in `messages`."
            ) from exc
    reply = _reply(clean_json(answer.to_result()))
    if reply is None:
        raise ToolFailure("continue: there is no answer to go on from. Ask again without it.")
    return Earlier(turn.body, reply)


def for_other_model(earlier: Earlier) -> Earlier:
    """The same for a model that did not give the last answer: others' thinking and pictures are refused by some."""
    kept = ("role", "content", "tool_calls")
    return Earlier(earlier.body, {name: value for name, value in earlier.reply.items() if name in kept})


def _reply(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The assistant's message, as OpenRouter wants it back."""
    text = result["content"] or result["refusal"] or ""
    calls = [_call(call) for call in result["tool_calls"] if call.get("complete", True)]
    files = [each for each in result["annotations"] if isinstance(each, dict) and each.get("type") == "file"]
    if not (text or calls or result["images"]):
        return None
    reply: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text}
    thinking = {"reasoning_details": result["reasoning_details"]}
    if not result["reasoning_details"]:
        thinking = {"reasoning": result["reasoning"]}
    more = {"tool_calls": calls, **thinking, "annotations": files, "images": result["images"]}
    return reply | {name: value for name, value in more.items() if value}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name not in ("index", "complete")}
