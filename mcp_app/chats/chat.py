"""The chat tools as plain functions: arguments in, output out. They know neither transport nor SDK.

A call that is cancelled closes its requests to OpenRouter at once, unless it had handed the answer over to the
background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from client.border.fit import cost_of
from client.errors import OpenRouterError, Refusal
from client.streams.answer import Answer
from client.streams.gathering import read_answer
from client.streams.log import EventsGone
from client.streams.readable import Readable, StreamsFull
from client.streams.stream import Stream
from client.streams.streams import SHUTTING_DOWN
from mcp_app.chats.attaching import attach, check_taken
from mcp_app.chats.cap import capped, shares, smallest_cap
from mcp_app.chats.keeping import find_target, keep_answer
from mcp_app.chats.request import ChatArguments, Earlier, body_of, each_model
from mcp_app.chats.turns import Turn, earlier_of, for_other_model, keep_turn, turn_of
from mcp_app.files.folders import Folders
from mcp_app.files.reading import Attached
from mcp_app.results.clean import clean_text
from mcp_app.results.expected import Read, is_json_expected, read_expected
from mcp_app.results.failures import NO_KEY, ToolFailure, failure_of
from mcp_app.results.output import SavedAnswer, ToolOutput
from mcp_app.results.progress import AnswerReader
from mcp_app.results.reports import Reports
from mcp_app.results.results import MAX_TEXT_BYTES, AnswerFacts, output_of
from mcp_app.results.several import Told, several_output
from mcp_app.state import McpState

MAX_WAIT_S = 3600.0
_MAX_PARTIAL_BYTES = 20_000
_ENDED_WITH_ITS_PROCESS = (
    " If the host starts this server anew for every call, no answer outlives its call: give llm_chat a wait_s that "
    "is long enough."
)


@dataclass(frozen=True)
class View:
    """How much of an answer is told."""

    include_reasoning: bool = False
    offset: int = 0
    max_text_bytes: int = MAX_TEXT_BYTES


@dataclass
class _Asked:
    """One model that is asked, or why it was not."""

    model: str
    body: dict[str, Any]
    turn: Turn
    failure: ToolFailure | None = None
    stream: Stream | None = None


async def chat(
    state: McpState,
    arguments: ChatArguments,
    *,
    owner: str,
    wait_s: float,
    reports: Reports | None = None,
    include_reasoning: bool = False,
    folders: Folders | None = None,
) -> ToolOutput:
    """Starts an answer, or one of each model, and waits; what is not done after `wait_s` goes on in the background.

    Args:
        folders: where files may be read and written; None where none may.

    Raises:
        ToolFailure: nothing was started, or there is no answer.
    """
    asked = await _prepare(state, arguments, owner, folders)
    is_kept = False
    try:
        for each in asked:
            await _try_to_start(state, each, owner)
        output = await _told(state, asked, wait_s, reports, View(include_reasoning))
        is_kept = True
    finally:
        if not is_kept:
            for each in asked:
                if each.stream is not None:
                    each.stream.stop("cancelled")
    for each in asked:
        if each.stream is not None and each.stream.is_running and each.turn.target is not None:
            _save_later(state, each.stream)
    return output


async def chat_result(
    state: McpState,
    stream_id: str,
    *,
    owner: str,
    wait_s: float,
    reports: Reports | None = None,
    include_reasoning: bool = False,
    offset: int = 0,
) -> ToolOutput:
    """The answer of a stream, waiting for it; a call that is cancelled leaves it running.

    Raises:
        ToolFailure: there is no such stream, or no answer.
    """
    stream = await _find(state, stream_id, owner)
    return await _follow(state, stream, wait_s, reports, View(include_reasoning, max(0, offset)))


async def chat_stop(state: McpState, stream_id: str, *, owner: str) -> ToolOutput:
    """Ends a stream and gives what came of it.

    Raises:
        ToolFailure: there is no such stream.
    """
    stream = await _find(state, stream_id, owner)
    try:
        await stream.end("cancelled")
    except Refusal as exc:
        raise failure_of(exc.failure) from exc
    return await _follow(state, stream, 0, None, View())


# -- starting -----------------------------------------------------------------------------------------------------


async def _prepare(state: McpState, arguments: ChatArguments, owner: str, folders: Folders | None) -> list[_Asked]:
    """What each model is to be asked, under one cap."""
    if state.lacks_key:
        raise ToolFailure(NO_KEY)
    if state.streams.is_draining:
        raise failure_of(SHUTTING_DOWN)
    earlier = None
    if arguments.going_on_from.strip():
        earlier = await earlier_of(await _find(state, arguments.going_on_from, owner))
    each_one = each_model(arguments)
    is_one = len(each_one) == 1
    target = await find_target(folders, arguments.save_to, overwrite=arguments.overwrite, is_one=is_one)
    attached = await attach(folders, arguments.files)
    if arguments.max_cost_usd is not None or state.budget is not None or attached:
        with suppress(OpenRouterError):  # without a list every model is reckoned at what the dearest cost
            await state.catalogue.listing()
    asked = [_asked(state, each, earlier, attached) for each in each_one]
    if target is not None:
        for one in asked:
            own = target if is_one else target.for_one_of_several(one.model)
            one.turn = Turn(one.body, target=own)
    _cap(state, arguments, asked)
    if is_one and asked[0].failure is not None:
        raise asked[0].failure
    return asked


def _asked(
    state: McpState, arguments: ChatArguments, earlier: Earlier | None, attached: Sequence[Attached]
) -> _Asked:
    default, parts = state.openrouter.config.model, [each.part for each in attached]
    body = body_of(arguments, default, earlier=earlier, parts=parts)
    if earlier is not None and body["model"] != earlier.body.get("model"):
        body = body_of(arguments, default, earlier=for_other_model(earlier), parts=parts)
    asked = _Asked(body["model"], body, Turn(body))
    try:
        check_taken(state.catalogue.known(asked.model) if attached else None, attached)
    except ToolFailure as exc:
        asked.failure = exc
    return asked


def _cap(state: McpState, arguments: ChatArguments, asked: list[_Asked]) -> None:
    """Limits what all of them cost together. Nothing waits from here to the start of the streams."""
    cap = smallest_cap(arguments.max_cost_usd, None if state.budget is None else state.budget.left_nano)
    if cap is None:
        return
    known = state.catalogue.known
    sent = [each for each in asked if each.failure is None]
    for each, share in zip(sent, shares([each.body for each in sent], cap, known), strict=True):
        try:
            body, is_limited = capped(each.body, share, known)
        except ToolFailure as exc:
            each.failure = exc
        else:
            each.turn = replace(each.turn, cap=share.name if is_limited else "")
            each.body = body


async def _try_to_start(state: McpState, asked: _Asked, owner: str) -> None:
    """Starts it, or notes why not."""
    if asked.failure is not None:
        return
    try:
        turn = keep_turn(state.streams, asked.turn)
        grace_s = state.streams.config.max_grace_s
        asked.stream = await state.streams.start(asked.body, owner=owner, grace_s=grace_s, asked=turn)
    except Refusal as exc:
        asked.failure = failure_of(exc.failure)
    except StreamsFull as exc:
        asked.failure = _full(exc)


def _full(limit: StreamsFull) -> ToolFailure:
    return ToolFailure(f"The server is at its limit: {limit}. Wait a few seconds and call again.")


async def _find(state: McpState, stream_id: str, owner: str) -> Readable:
    if not stream_id.strip():
        raise ToolFailure("stream_id: is required; llm_chat gives it. Correct that and call again.")
    try:
        stream = await state.streams.find(stream_id.strip(), owner)
    except Refusal as exc:
        raise failure_of(exc.failure) from exc
    except StreamsFull as exc:
        raise _full(exc) from exc
    if stream is None:
        others = "" if state.serves_http else _ENDED_WITH_ITS_PROCESS
        raise ToolFailure(
            f"There is no stream {stream_id[:80]!r}. It may have expired: a finished answer is kept for "
            f"{state.streams.config.retain_s:g} s.{others} Call llm_chat again."
        )
    return stream


# -- telling ------------------------------------------------------------------------------------------------------


async def _told(
    state: McpState, asked: list[_Asked], wait_s: float, reports: Reports | None, view: View
) -> ToolOutput:
    if len(asked) > 1:
        return await _tell_several(state, asked, wait_s, reports, view)
    [one] = asked
    if one.stream is None:
        raise one.failure or ToolFailure("Nothing was started. Call again.")
    return await _follow(state, one.stream, wait_s, reports, view)


async def _tell_several(
    state: McpState, asked: list[_Asked], wait_s: float, reports: Reports | None, view: View
) -> ToolOutput:
    """All side by side; what fails is told in its place.

    Raises:
        ToolFailure: none of them has an answer.
    """
    if reports is not None:
        reports.expect([each.model for each in asked])
    part = View(view.include_reasoning, max_text_bytes=MAX_TEXT_BYTES // len(asked))
    told = await asyncio.gather(*(_tell_one(state, each, wait_s, reports, part) for each in asked))
    return several_output(told)


async def _tell_one(state: McpState, asked: _Asked, wait_s: float, reports: Reports | None, view: View) -> Told:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    try:
        if asked.stream is None:
            raise asked.failure or ToolFailure("Nothing was started. Call again.")
        output = await _follow(state, asked.stream, wait_s, reports, view)
    except ToolFailure as exc:
        cost_usd = None if asked.stream is None else cost_of(asked.stream.settlement.total_cost)
        told = Told(asked.model, loop.time() - started_s, error=str(exc), cost_usd=cost_usd)
    else:
        told = Told(asked.model, loop.time() - started_s, output)
    if reports is not None:
        reports.note_done(asked.model, is_running=told.is_running)
    return told


async def _follow(
    state: McpState, stream: Readable, wait_s: float, reports: Reports | None, view: View
) -> ToolOutput:
    """Reads a stream for at most `wait_s`, and says what there is."""
    reader = AnswerReader(stream)
    stream.attach(reader)
    try:
        if reports is not None:
            reports.follow(stream, reader)
        await reader.wait_end(min(max(wait_s, 0.0), MAX_WAIT_S))
    except EventsGone as exc:
        raise ToolFailure("The answer is too long to be kept; its beginning is gone. Ask for a shorter one.") from exc
    finally:
        stream.detach(reader)
        reader.let_go()
    if reader.answer.error is not None:
        raise await _failed(state, stream, reader)
    turn = turn_of(stream)
    read = await _read(stream, reader.answer, turn)
    facts = AnswerFacts(
        stream_id=stream.id,
        is_running=stream.is_running,
        model=stream.model,
        settlement=stream.settlement,
        result_path=f"{state.prefix}/chat/{stream.id}/result" if state.serves_http else None,
        read=read,
        cap="" if turn is None else turn.cap,
        saved=await _saved(stream, reader.answer, turn, read),
    )
    return output_of(
        reader.answer,
        facts,
        include_reasoning=view.include_reasoning,
        offset=view.offset,
        max_text_bytes=view.max_text_bytes,
    )


def _save_later(state: McpState, stream: Readable) -> None:
    """Has an answer that goes on saved at its end, whether anybody fetches that or not."""
    task = asyncio.create_task(_save_at_end(stream), name=f"save {stream.id}")
    state.background.add(task)
    task.add_done_callback(state.background.discard)


async def _save_at_end(stream: Readable) -> None:
    await stream.ended.wait()
    answer, turn = Answer(), turn_of(stream)
    with stream.pinned(), suppress(EventsGone):
        await read_answer(stream.log, answer)
        if answer.error is None:
            await _saved(stream, answer, turn, await _read(stream, answer, turn))


async def _saved(stream: Readable, answer: Answer, turn: Turn | None, read: Read | None) -> SavedAnswer:
    """What of the answer is in files, as was asked for when it was begun; once it has ended."""
    if turn is None or turn.target is None or stream.is_running or answer.done is None:
        return SavedAnswer()
    async with turn.saving:
        if not turn.saved:
            saved = await keep_answer(turn.target, stream.id, answer.to_result(), read)
            if saved.problem is not None:
                return saved
            turn.saved.append(saved)
    return turn.saved[0]


async def _read(stream: Readable, answer: Answer, turn: Turn | None) -> Read | None:
    """What became of an answer that was to be JSON; on a thread, since a check may take long."""
    response_format: Any = None if turn is None else turn.body.get("response_format")
    done = answer.done
    text = answer.text("content")
    if stream.is_running or done is None or not done["completed"] or not is_json_expected(response_format):
        return None
    if not text or len(text) > MAX_TEXT_BYTES:  # what is read in parts is put together, and read, by whoever asked
        return None
    return await asyncio.to_thread(read_expected, clean_text(text), response_format)


async def _failed(state: McpState, stream: Readable, reader: AnswerReader) -> ToolFailure:
    """The failure with its advice; what came before it is still the model's to use."""
    error = reader.answer.error or {}
    suggestions: list[str] = []
    if error.get("type") == "model_not_found":
        with suppress(OpenRouterError):
            await state.catalogue.listing()
        suggestions = await asyncio.to_thread(state.catalogue.suggestions, stream.requested_model)
    failure = failure_of(error, suggestions)
    partial = clean_text(reader.answer.text("content")).encode()[-_MAX_PARTIAL_BYTES:].decode("utf-8", "ignore")
    return ToolFailure(f"{failure} The answer up to there:\n\n{partial}") if partial else failure
