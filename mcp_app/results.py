"""An answer as the result of a tool: what a model reads, what a program reads, and the pictures.

Some hosts show only the text, others only the structured part, so the answer stands in both. Hosts limit the size of
a result (1 MB in all, or 25,000 tokens of text), so a long answer is given in parts. Pure module.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from client.answer import Answer
from client.settlement import Settlement
from mcp_app.clean import clean_json
from mcp_app.output import Picture, ToolOutput

MAX_TEXT_BYTES: Final = 60_000
"""Of an answer in one result; the rest is read with `offset`."""
_MAX_REASONING_BYTES: Final = 20_000
_MAX_IMAGE_CHARS: Final = 600_000
"""Base64 of all images in one result."""
_MAX_ITEMS: Final = 50
"""Citations and tool calls in one result."""
_SHOWN_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Hosts pass images on to models, whose APIs refuse a whole conversation for one of another type."""
_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,", re.IGNORECASE)

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
    """

    stream_id: str
    is_running: bool
    model: str
    settlement: Settlement
    result_path: str | None = None


def output_of(answer: Answer, facts: AnswerFacts, *, include_reasoning: bool = False, offset: int = 0) -> ToolOutput:
    """The result for an answer, whole or so far."""
    whole = clean_json(answer.to_result())
    status = _status(answer, facts)
    text = whole["content"] or whole["refusal"] or ""
    part, next_offset = cut_text(text, offset)
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
        "reasoning": _cut(whole["reasoning"] or "", _MAX_REASONING_BYTES) if include_reasoning else None,
        "citations": _citations(whole["annotations"]),
        "tool_calls": whole["tool_calls"][:_MAX_ITEMS],
        "images": images,
        "next_offset": next_offset,
        "note": _note(status, whole, facts, next_offset),
    }
    data = {name: value for name, value in data.items() if value not in (None, [], {})}
    return ToolOutput(texts=_texts(data), data=data, pictures=pictures)


def cut_text(text: str, offset: int) -> tuple[str, int | None]:
    """The text from a character on, as much as fits one result, and where the next part begins."""
    part = _cut(text[offset : offset + MAX_TEXT_BYTES], MAX_TEXT_BYTES)
    end = offset + len(part)
    return part, end if end < len(text) else None


def _cut(text: str, max_bytes: int) -> str:
    """The beginning, without a broken character at its end."""
    return text.encode("utf-8", "surrogatepass")[:max_bytes].decode("utf-8", "ignore")


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
    counts = {name: usage[name] for name in names if usage.get(name) is not None}
    details = usage.get("completion_tokens_details")
    if isinstance(details, dict) and details.get("reasoning_tokens"):
        counts["reasoning_tokens"] = details["reasoning_tokens"]
    return counts


def _cost(answer: Answer, facts: AnswerFacts) -> float | None:
    stated = (answer.usage or {}).get("total_cost")
    return stated if stated is not None else facts.settlement.total_cost


def _citations(annotations: list[Any]) -> list[dict[str, str]]:
    found = []
    for annotation in annotations:
        cited = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if isinstance(cited, dict) and isinstance(cited.get("url"), str):
            found.append({"url": cited["url"], "title": str(cited.get("title") or cited["url"])})
    return found[:_MAX_ITEMS]


def _images(images: list[Any], facts: AnswerFacts) -> tuple[list[Picture], list[dict[str, Any]]]:
    """Those that can be shown, and a description of every one."""
    pictures: list[Picture] = []
    described: list[dict[str, Any]] = []
    room = _MAX_IMAGE_CHARS
    for image in images[:_MAX_ITEMS]:
        url = _image_url(image)
        match = _DATA_URL.match(url)
        if match is None:
            described.append({"url": url[:2000]})
            continue
        data, mime_type = url[match.end() :], match[1].lower()
        facts_of_image: dict[str, Any] = {"mime_type": mime_type, "bytes": len(data) * 3 // 4, "shown": False}
        if len(data) > room:
            facts_of_image["why"] = "too large"
        elif mime_type not in _SHOWN_TYPES or not _is_base64(data):
            facts_of_image["why"] = "not a kind that hosts show"
        else:
            room -= len(data)
            facts_of_image["shown"] = True
            pictures.append(Picture(data, mime_type))
        described.append(facts_of_image | _link(facts_of_image["shown"], facts))
    return pictures, described


def _link(shown: bool, facts: AnswerFacts) -> dict[str, str]:
    return {} if shown or facts.result_path is None else {"read_it_at": facts.result_path}


def _image_url(image: Any) -> str:
    described = image.get("image_url") if isinstance(image, dict) else None
    url = described.get("url") if isinstance(described, dict) else described
    return url if isinstance(url, str) else ""


def _is_base64(data: str) -> bool:
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error:
        return False
    return True


def _note(status: Status, whole: dict[str, Any], facts: AnswerFacts, next_offset: int | None) -> str | None:
    """What to do next, where the answer does not speak for itself."""
    notes: list[str] = []
    if status == "running":
        notes.append(
            f'Still running; this is the text so far. Call llm_chat_result with stream_id "{facts.stream_id}" to '
            "wait for the rest, or llm_chat_stop to end it."
        )
    elif status == "stopped":
        notes.append(f"Stopped before its end ({whole['finish_reason']}).")
        if facts.settlement.is_sought and not facts.settlement.is_settled:
            notes.append("What it cost is being looked up; llm_chat_result tells in some seconds.")
    elif status == "completed":
        notes += _completion_notes(whole)
    if next_offset is not None:
        notes.append(f"Too long for one result: call llm_chat_result with offset {next_offset} for the next part.")
    return " ".join(notes) or None


def _completion_notes(whole: dict[str, Any]) -> list[str]:
    is_empty = not (whole["content"] or whole["refusal"] or whole["images"] or whole["tool_calls"])
    if whole["refusal"] and not whole["content"]:
        return ["The model refused. Rephrase the prompt, or use another model."]
    if whole["finish_reason"] == "content_filter":
        return ["The provider's filter cut the answer. Rephrase the prompt, or use another model."]
    if whole["finish_reason"] == "length":
        return [_SPENT_ON_THINKING if is_empty else "Cut off by max_tokens. Call again with a larger one."]
    if is_empty:
        return [
            _ONLY_THOUGHT if whole["reasoning"] else "The model returned nothing. Call again, or use another model."
        ]
    return []


def _texts(data: dict[str, Any]) -> list[str]:
    texts = [data["text"]] if data["text"] else []
    if data.get("reasoning"):
        texts.append(f"Reasoning:\n{data['reasoning']}")
    if data.get("citations"):
        texts.append("Sources:\n" + "\n".join(f"- {cited['title']}: {cited['url']}" for cited in data["citations"]))
    texts += [_image_text(image) for image in data.get("images", []) if not image.get("shown")]
    texts += [f"Tool call: {call['function']['name']} {call['function']['arguments']}" for call in _calls(data)]
    if data.get("note"):
        texts.append(data["note"])
    texts.append(_footer(data))
    return texts


def _calls(data: dict[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = data.get("tool_calls", [])
    return calls


def _image_text(image: dict[str, Any]) -> str:
    if "url" in image:
        return f"Image: {image['url']}"
    size = f"{image['bytes'] / 1_000_000:.1f} MB"
    where = f"; read it with GET {image['read_it_at']} on this server" if "read_it_at" in image else ""
    return f"Image ({image['mime_type']}, {size}) that is not shown here: {image['why']}{where}."


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
