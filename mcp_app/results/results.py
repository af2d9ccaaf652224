"""An answer as the result of a tool: what a model reads, what a program reads, and the pictures.

Some hosts show only the text, others only the structured part, so the answer stands in both. Hosts limit the size of
a result (1 MB in all, or 25,000 tokens of text), so a long answer is given in parts. Pure module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from client.border.fit import cost_of, count_of
from client.streams.answer import Answer
from client.streams.settlement import Settlement
from client.translation.chunks.parts import text_of
from mcp_app.results.clean import clean_json, without_open_half
from mcp_app.results.expected import Read
from mcp_app.results.output import Picture, SavedAnswer, SavedFile, ToolOutput
from mcp_app.results.pictures import Encoded, Link, read_picture

MAX_TEXT_BYTES: Final = 30_000
"""Of an answer, with its reasoning, in one result; the rest is read with `offset`. Some hosts give their model both
the text and the structured part, so that it is read twice."""
_MAX_REASONING_BYTES: Final = 10_000
_MAX_IMAGE_CHARS: Final = 600_000
"""Base64 of all images in one result."""
_MAX_ITEMS: Final = 50
"""Citations, pictures and tool calls in one result."""
_MAX_CITED_CHARS: Final = 20_000
_MAX_TITLE: Final = 300
_MAX_ARGUMENTS: Final = 4_000
"""Characters of one tool call's arguments."""
_IN_CONTENT: Final = "an image block in the content of this result, which some hosts do not pass on"

_IN_FILE: Final = "the file of that path"
_MAX_PREVIEW_BYTES: Final = 1_000
"""Of a text that is in a file."""

_SPENT_ON_THINKING = (
    "The answer is empty: the whole token budget went into thinking. Call again with a larger max_tokens (or none), "
    "or with a lower reasoning_effort."
)
_ONLY_THOUGHT = (
    "The model thought, but answered nothing. Read its thoughts with llm_chat_result and include_reasoning, or call "
    "again with a lower reasoning_effort or another model."
)

Status = Literal["completed", "running", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """Of the stream that an answer belongs to.

    Attributes:
        result_path: where the whole answer can be read over HTTP; None where it cannot.
        read: what became of an answer that was to be JSON; None for any other.
        cap: what limited its tokens, where its cost is bounded.
        saved: what of it is in files, and need not be given here.
    """

    stream_id: str
    is_running: bool
    model: str
    settlement: Settlement
    result_path: str | None = None
    read: Read | None = None
    cap: str = ""
    saved: SavedAnswer = field(default_factory=SavedAnswer)


def output_of(
    answer: Answer,
    facts: AnswerFacts,
    *,
    include_reasoning: bool = False,
    offset: int = 0,
    max_text_bytes: int = MAX_TEXT_BYTES,
) -> ToolOutput:
    """The result for an answer, whole or so far, with so much of its text and thoughts."""
    status = _status(answer, facts)
    whole = _cleaned(answer.to_result(), status)
    most_thoughts = min(_MAX_REASONING_BYTES, max_text_bytes // 3)
    reasoning = _cut(whole["reasoning"] or "", most_thoughts) if include_reasoning and offset == 0 else ""
    text = whole["content"] or whole["refusal"] or ""
    room = max_text_bytes if facts.saved.text is None else _MAX_PREVIEW_BYTES
    part, end = cut_text(text, offset, room - len(reasoning.encode()))
    goes_on = facts.saved.text is None and (end < len(text) or (status == "running" and end > 0))
    pictures, images = _images(whole["images"], facts)
    data: dict[str, Any] = {
        "status": status,
        "stream_id": facts.stream_id,
        "text": part,
        "model": whole["model"] or facts.model,
        "provider": whole["provider"],
        "finish_reason": whole["finish_reason"],
        "usage": _usage(whole["usage"] or facts.settlement.usage),
        "cost_usd": _cost(answer, facts),
        "reasoning": reasoning or None,
        "citations": _citations(whole["annotations"]),
        "tool_calls": [_bounded_call(call) for call in whole["tool_calls"][:_MAX_ITEMS]],
        "images": images,
        "saved": [file.told() for file in facts.saved.files],
        "next_offset": end if goes_on else None,
        "note": _note(status, whole, facts, _Part(offset, end, len(text))),
    }
    data = {name: value for name, value in data.items() if value not in (None, [], {})}
    if facts.read is not None and facts.read.problem is None:
        data["parsed"] = facts.read.value  # whatever it is
    return ToolOutput(texts=_texts(data), data=data, pictures=pictures)


def cut_text(text: str, offset: int, max_bytes: int = MAX_TEXT_BYTES) -> tuple[str, int]:
    """The text from a character on, as much as fits, and the character where it ends."""
    part = _cut(text[offset : offset + max_bytes], max_bytes)
    return part, min(offset, len(text)) + len(part)


def _cleaned(result: dict[str, Any], status: Status) -> dict[str, Any]:
    """What can be sent; characters are counted after this, and a poll must not count what may still change."""
    if status == "running":
        result["content"] = without_open_half(result["content"])
    cleaned: dict[str, Any] = clean_json(result)
    return cleaned


def _cut(text: str, max_bytes: int) -> str:
    """The beginning, without a broken character at its end."""
    return text.encode()[:max_bytes].decode("utf-8", "ignore")


def _status(answer: Answer, facts: AnswerFacts) -> Status:
    if facts.is_running or answer.done is None:
        return "running"
    if answer.error is not None:
        return "failed"
    return "completed" if answer.done["completed"] else "stopped"


def _usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: count_of(usage.get(name)) for name in names}
    details = usage.get("completion_tokens_details")
    if isinstance(details, dict):
        counts["reasoning_tokens"] = count_of(details.get("reasoning_tokens")) or None
    return {name: count for name, count in counts.items() if count is not None}


def _cost(answer: Answer, facts: AnswerFacts) -> float | None:
    stated = cost_of((answer.usage or {}).get("total_cost"))
    return stated if stated is not None else cost_of(facts.settlement.total_cost)


def _citations(annotations: list[Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    room = _MAX_CITED_CHARS
    for annotation in annotations:
        cited = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if not isinstance(cited, dict) or not isinstance(cited.get("url"), str):
            continue
        url = cited["url"]
        title = (text_of(cited.get("title")) or url)[:_MAX_TITLE]
        room -= len(url) + len(title)
        if room < 0 or len(found) == _MAX_ITEMS:
            break
        found.append({"url": url, "title": title})
    return found


def _bounded_call(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call; arguments that are cut say so."""
    function = call["function"]
    if len(function["arguments"]) <= _MAX_ARGUMENTS:
        return call
    return {
        **call,
        "function": {**function, "arguments": function["arguments"][:_MAX_ARGUMENTS]},
        "complete": False,
    }


def _images(images: list[Any], facts: AnswerFacts) -> tuple[list[Picture], list[dict[str, Any]]]:
    """Those that can be given as pictures, and a description of every one."""
    pictures: list[Picture] = []
    described: list[dict[str, Any]] = []
    room = _MAX_IMAGE_CHARS
    elsewhere = {} if facts.result_path is None else {"read_it_at": facts.result_path}
    for number, image in enumerate(images[:_MAX_ITEMS]):
        if (saved := facts.saved.pictures.get(number)) is not None:
            described.append(saved.told() | {"where": _IN_FILE})
            continue
        picture = read_picture(image)
        if isinstance(picture, Link):
            described.append({"url": picture.url})
        elif isinstance(picture, Encoded) and picture.mime_type is not None and len(picture.data) <= room:
            room -= len(picture.data)
            pictures.append(Picture(picture.data, picture.mime_type))
            facts_of_image = {"mime_type": picture.mime_type, "bytes": picture.bytes, "where": _IN_CONTENT}
            described.append(facts_of_image | elsewhere)
        elif isinstance(picture, Encoded):
            why = "too large" if picture.mime_type is not None else "not a kind that hosts show"
            facts_of_image = {"mime_type": picture.mime_type or picture.label, "bytes": picture.bytes, "why": why}
            described.append(facts_of_image | elsewhere)
        else:
            described.append({"mime_type": picture.label, "why": "not a kind that hosts show"} | elsewhere)
    return pictures, described


@dataclass(frozen=True, slots=True)
class _Part:
    """Which characters of a text are in a result."""

    begin: int
    end: int
    total: int


def _note(status: Status, whole: dict[str, Any], facts: AnswerFacts, part: _Part) -> str | None:
    """What to do next, where the answer does not speak for itself."""
    notes: list[str] = []
    rest = f'Call llm_chat_result with stream_id "{facts.stream_id}"'
    rest += f" and offset {part.end}" if part.end else ""
    if status == "running":
        which = "the text so far" if part.begin == 0 else f"what follows character {part.begin}"
        notes.append(f"Still running; this is {which}. {rest} to wait for the rest, or llm_chat_stop to end it.")
    elif status == "stopped":
        notes.append(f"Stopped before its end ({whole['finish_reason']}).")
        if facts.settlement.is_sought and not facts.settlement.is_settled:
            notes.append("What it cost is being looked up; llm_chat_result tells in some seconds.")
    elif status == "completed":
        notes += _completion_notes(whole, facts)
    notes += [_saved_text(file) for file in facts.saved.files]
    notes += [facts.saved.problem] if facts.saved.problem else []
    if part.begin > part.total:
        notes.append(f"The offset {part.begin} is past the end: there are {part.total} characters.")
    elif facts.saved.text is not None and part.end < part.total:
        notes.append(f"This is its beginning, of {part.total:,} characters.")
    elif status != "running" and part.end < part.total:
        notes.append(f"Too long for one result: this is a part. {rest} for the next one.")
    elif status == "completed" and 0 < part.begin == part.total:
        notes.append(f"The answer is whole: nothing follows character {part.begin}.")
    return " ".join(notes) or None


def _saved_text(file: SavedFile) -> str:
    return f"Saved as {file.path} ({file.mime_type}, {file.bytes:,} bytes)."


def _completion_notes(whole: dict[str, Any], facts: AnswerFacts) -> list[str]:
    is_empty = not (whole["content"] or whole["refusal"] or whole["images"] or whole["tool_calls"])
    if whole["refusal"] and not whole["content"]:
        return ["The model refused. Rephrase the prompt, or use another model."]
    if whole["finish_reason"] == "content_filter":
        return ["The provider's filter cut the answer. Rephrase the prompt, or use another model."]
    if whole["finish_reason"] == "length" and facts.cap:
        return [f"Cut off by {facts.cap}. Call again with more, or with a cheaper model."]
    if whole["finish_reason"] == "length":
        return [_SPENT_ON_THINKING if is_empty else "Cut off by max_tokens. Call again with a larger one."]
    if is_empty:
        return [
            _ONLY_THOUGHT if whole["reasoning"] else "The model returned nothing. Call again, or use another model."
        ]
    return [facts.read.problem] if facts.read is not None and facts.read.problem else []


def _texts(data: dict[str, Any]) -> list[str]:
    """Blocks of text. Some hosts take the first alone, so the note stands before the text; some join them without a
    break, so each further one begins with one."""
    noted = "\n\n".join(text for text in (data.get("note"), data["text"]) if text)
    texts = [noted] if noted else []
    if data.get("reasoning"):
        texts.append(f"Reasoning:\n{data['reasoning']}")
    if data.get("citations"):
        texts.append("Sources:\n" + "\n".join(f"- {cited['title']}: {cited['url']}" for cited in data["citations"]))
    texts += [_image_text(image) for image in data.get("images", []) if "where" not in image]
    texts += [f"Tool call: {call['function']['name']} {call['function']['arguments']}" for call in _calls(data)]
    texts.append(_footer(data))
    return [text if number == 0 else f"\n{text}" for number, text in enumerate(texts)]


def _calls(data: dict[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = data.get("tool_calls", [])
    return calls


def _image_text(image: dict[str, Any]) -> str:
    if "url" in image:
        return f"Image: {image['url']}"
    size = f", {image['bytes'] / 1_000_000:.1f} MB" if "bytes" in image else ""
    where = f"; read it with GET {image['read_it_at']} on this server" if "read_it_at" in image else ""
    return f"Image ({image['mime_type']}{size}) that is not shown here: {image['why']}{where}."


def _footer(data: dict[str, Any]) -> str:
    """The facts of the answer, for hosts that show nothing but text."""
    via = f" via {data['provider']}" if data.get("provider") else ""
    usage, cost = data.get("usage"), data.get("cost_usd")
    pieces = (
        f"{data['model']}{via}",
        f"finish_reason {data['finish_reason']}" if data.get("finish_reason") else None,
        _tokens_text(usage) if usage else None,
        None if cost is None else f"cost {cost:.6f} USD",
        f"stream_id {data['stream_id']}",
    )
    return f"[{', '.join(piece for piece in pieces if piece)}]"


def _tokens_text(usage: dict[str, Any]) -> str:
    thinking = f" ({usage['reasoning_tokens']} of them thinking)" if usage.get("reasoning_tokens") else ""
    total = f", {usage['total_tokens']} total" if "total_tokens" in usage else ""
    asked, answered = usage.get("prompt_tokens", "?"), usage.get("completion_tokens", "?")
    return f"tokens: {asked} prompt + {answered} completion{thinking}{total}"
