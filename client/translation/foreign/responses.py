"""OpenAI's Responses, streamed or whole, as chunks of chat completions.

What OpenRouter adds to it (the cost in `usage`, `error_type` beside a failure) is read too. Items of tools that
upstream runs have no chunks: readers of the protocol itself see them. Pure module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from client.border.fit import count_of
from client.border.json_codec import encode_json
from client.translation.chunks.shape import Path
from client.translation.foreign.front import END, LIFE, Chunk

FORMAT = "openai-responses-v1"
"""What OpenRouter calls the entries of `reasoning_details` that hold thinking of these."""

_GENERATION = "gen-"
"""How ids begin under which OpenRouter tells what an answer cost."""
_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}
_SAME_IN_USAGE = ("cost", "is_byok", "server_tool_use_details")
_COSTS = {
    "upstream_inference_input_cost": "upstream_inference_prompt_cost",
    "upstream_inference_output_cost": "upstream_inference_completions_cost",
}
_NO_WORD_OF_THE_MODEL = ("response.in_progress", "response.queued", "keepalive", "ping")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


class ResponsesFront:
    """One answer of `/responses` (`client.translation.foreign.front.Front`)."""

    text_path: Path | None = None  # every event has a number
    has_done_marker = False

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._calls: dict[str, int] = {}  # number of the call, by its item
        self._said: set[tuple[str, str]] = set()  # items of which pieces came, and of what kind

    def chunks_of(self, event: dict[str, Any]) -> Iterable[Chunk | None]:
        """See `Front`."""
        kind = event.get("type")
        match kind:
            case "response.output_text.delta":
                return self._text(event, "content", event.get("delta"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._think(event, kind.removeprefix("response.").partition("_text")[0])
            case "response.function_call_arguments.delta":
                return self._arguments(event, event.get("delta"))
            case "response.refusal.delta":
                return self._text(event, "refusal", event.get("delta"))
            case "response.created":
                return self._start(_object(event.get("response")))
            case "response.output_item.added":
                return self._open(_object(event.get("item")), event)
            case "response.reasoning_summary_part.added":
                return self._delta(reasoning="\n\n") if event.get("summary_index") else [LIFE]
            case "response.function_call_arguments.done":
                return self._rest_of_arguments(event, event.get("arguments"))
            case "response.output_text.annotation.added":
                return self._cite(_object(event.get("annotation")))
            case "response.output_item.done":
                return self._whole_item(_object(event.get("item")), event)
            case "response.completed" | "response.incomplete":
                return self._finish(_object(event.get("response")))
            case "response.failed" | "response.cancelled":
                return self._fail(event, _object(event.get("response")))
            case "error":
                return [{"error": _error_of(event.get("error", event), event)}, END]
            case str() if kind in _NO_WORD_OF_THE_MODEL:
                return []
            case str() if "error" not in event:
                return [LIFE]
        return [event]

    def events_of_whole(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Front`."""
        output = found.get("output")
        if found.get("object") != "response" or not isinstance(output, list):
            return []
        begun = {**found, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        events = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
        ]
        for index, item in enumerate(output):
            events += _events_of_item(index, item)
        status = found.get("status")
        kind = f"response.{status}" if f"response.{status}" in _ENDS else "response.completed"
        if found.get("error"):
            kind = "response.failed"
        return [*events, {"type": kind, "response": found}]

    def _start(self, response: dict[str, Any]) -> list[Chunk]:
        names = {name: response[name] for name in ("model", "provider", "service_tier") if response.get(name)}
        id_ = response.get("id")
        if isinstance(id_, str) and id_.startswith(_GENERATION):
            names["id"] = id_
        self._head = names
        return [{**names, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]

    def _delta(self, logprobs: Any = None, **delta: Any) -> list[Chunk]:
        choice: dict[str, Any] = {"index": 0, "delta": delta}
        if logprobs:
            choice["logprobs"] = {"content": logprobs}
        return [{**self._head, "choices": [choice]}]

    def _text(self, event: dict[str, Any], name: str, text: Any) -> list[Chunk]:
        self._said.add((_item_of(event), name))
        return self._delta(event.get("logprobs"), **{name: text}) if text else [LIFE]

    def _think(self, event: dict[str, Any], kind: str) -> list[Chunk]:
        """Some models tell their thinking and a summary of it: the first of them stands."""
        item_id, text = _item_of(event), event.get("delta")
        other = "reasoning" if kind == "reasoning_summary" else "reasoning_summary"
        if not text or (item_id, other) in self._said:
            return [LIFE]
        self._said.add((item_id, kind))
        field = "summary" if kind == "reasoning_summary" else "text"
        entry = {"type": f"reasoning.{field}", field: text, "format": FORMAT, "index": event.get("output_index")}
        return self._delta(reasoning=text, reasoning_details=[entry])

    def _open(self, item: dict[str, Any], event: dict[str, Any]) -> list[Chunk]:
        if item.get("type") != "function_call":
            return [LIFE]
        return self._begin_call(_item_of(event, item), item.get("call_id"), item.get("name"), "")

    def _begin_call(self, item_id: str, call_id: Any, name: Any, arguments: str) -> list[Chunk]:
        number = self._calls[item_id] = len(self._calls)
        function = {"name": name, "arguments": arguments}
        return self._delta(tool_calls=[{"index": number, "id": call_id, "type": "function", "function": function}])

    def _arguments(self, event: dict[str, Any], piece: Any) -> list[Chunk]:
        item_id = _item_of(event)
        if not piece or item_id not in self._calls:
            return [LIFE]
        self._said.add((item_id, "arguments"))
        return self._delta(tool_calls=[{"index": self._calls[item_id], "function": {"arguments": piece}}])

    def _rest_of_arguments(self, event: dict[str, Any], arguments: Any) -> list[Chunk]:
        """They may come whole alone."""
        return [LIFE] if (_item_of(event), "arguments") in self._said else self._arguments(event, arguments)

    def _cite(self, annotation: dict[str, Any]) -> list[Chunk]:
        if annotation.get("type") != "url_citation" or not annotation.get("url"):
            return [LIFE]
        page = {name: value for name, value in annotation.items() if name != "type"}
        return self._delta(annotations=[{"type": "url_citation", "url_citation": page}])

    def _whole_item(self, item: dict[str, Any], event: dict[str, Any]) -> list[Chunk]:
        """What an item says at its end and no piece has said."""
        item_id = _item_of(event, item)
        match item.get("type"):
            case "function_call":
                return self._whole_call(item_id, item)
            case "custom_tool_call":
                arguments = encode_json({"input": item.get("input")}).decode()
                return self._begin_call(item_id, item.get("call_id"), item.get("name"), arguments)
            case "reasoning":
                return self._whole_reasoning(item_id, item, event)
            case "message":
                return self._whole_message(item_id, item)
            case "image_generation_call" if isinstance(result := item.get("result"), str) and result:
                url = (
                    result
                    if ":" in result[:10]
                    else f"data:image/{item.get('output_format') or 'png'};base64,{result}"
                )
                return self._delta(images=[{"type": "image_url", "image_url": {"url": url}}])
        return [LIFE]

    def _whole_call(self, item_id: str, item: dict[str, Any]) -> list[Chunk]:
        arguments = item.get("arguments")
        if item_id not in self._calls:
            return self._begin_call(item_id, item.get("call_id"), item.get("name"), arguments or "")
        return self._rest_of_arguments({"item_id": item_id}, arguments)

    def _whole_reasoning(self, item_id: str, item: dict[str, Any], event: dict[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for kind, parts in (("reasoning", item.get("content")), ("reasoning_summary", item.get("summary"))):
            texts = [_object(part).get("text") for part in parts] if isinstance(parts, list) else []
            if not {(item_id, "reasoning"), (item_id, "reasoning_summary")} & self._said:
                for text in texts:
                    chunks += self._think({**event, "item_id": item_id, "delta": text}, kind)
        entry = {"format": item.get("format") or FORMAT, "index": event.get("output_index"), "id": item.get("id")}
        entries = []
        if item.get("signature"):
            entries.append({"type": "reasoning.text", "signature": item["signature"], **entry})
        if item.get("encrypted_content"):
            entries.append({"type": "reasoning.encrypted", "data": item["encrypted_content"], **entry})
        return [*chunks, *(self._delta(reasoning_details=entries) if entries else [LIFE])]

    def _whole_message(self, item_id: str, item: dict[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            part = _object(part)
            for name, text in (("content", part.get("text")), ("refusal", part.get("refusal"))):
                if isinstance(text, str) and text and (item_id, name) not in self._said:
                    chunks += self._delta(**{name: text})
        return chunks or [LIFE]

    def _finish(self, response: dict[str, Any]) -> list[Chunk | None]:
        reason = _object(response.get("incomplete_details")).get("reason")
        finish = "tool_calls" if self._calls else "stop"
        if response.get("status") == "incomplete" or reason:
            finish = _CUT.get(reason, "length") if isinstance(reason, str) else "length"
        choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": finish}
        choice["native_finish_reason"] = reason if isinstance(reason, str) else finish
        return [{**self._head, **_usage_in(response), "choices": [choice]}, END]

    def _fail(self, event: dict[str, Any], response: dict[str, Any]) -> list[Chunk | None]:
        error = _error_of(response.get("error"), event)
        return [{**self._head, **_usage_in(response), "choices": [], "error": error}, END]


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Usage of Responses in the words of chat completions."""
    prompt, completion = count_of(usage.get("input_tokens")) or 0, count_of(usage.get("output_tokens")) or 0
    found: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": count_of(usage.get("total_tokens")) or prompt + completion,
        **{name: usage[name] for name in _SAME_IN_USAGE if name in usage},
    }
    for name, told in (("input", "prompt"), ("output", "completion")):
        details = usage.get(f"{name}_tokens_details")
        if isinstance(details, dict):
            found[f"{told}_tokens_details"] = details
    costs = usage.get("cost_details")
    if isinstance(costs, dict):
        found["cost_details"] = {_COSTS.get(name, name): value for name, value in costs.items()}
    return found


def _usage_in(response: dict[str, Any]) -> dict[str, Any]:
    usage = response.get("usage")
    return {"usage": usage_of(usage)} if isinstance(usage, dict) and usage else {}


def _error_of(error: Any, event: dict[str, Any]) -> Any:
    """An error with OpenRouter's word for it, which stands beside it."""
    if not isinstance(error, dict):
        return error or {"message": "The answer failed without a word.", "code": "server_error"}
    told = {name: value for name, value in error.items() if name not in ("type", "sequence_number")}
    kind = event.get("error_type") or _object(event.get("response")).get("error_type")
    if isinstance(kind, str):
        told["metadata"] = {**_object(error.get("metadata")), "error_type": kind}
    return told


def _item_of(event: dict[str, Any], item: dict[str, Any] | None = None) -> str:
    """Under which name an item is kept: its id, or its place."""
    id_ = event.get("item_id") or (item or {}).get("id")
    return id_ if isinstance(id_, str) else f"at {event.get('output_index')}"


def _events_of_item(index: int, item: Any) -> list[dict[str, Any]]:
    """An item as it would have been streamed: begun empty, and ended whole."""
    found = _object(item)
    at = {"item_id": found.get("id"), "output_index": index}
    begun, pieces = {**found, "status": "in_progress"}, []
    match found.get("type"):
        case "message":
            begun["content"] = []
            for place, part in enumerate(found.get("content") or ()):
                pieces += _events_of_part({**at, "content_index": place}, _object(part))
        case "function_call":
            begun["arguments"], kind = "", "response.function_call_arguments"
            arguments = found.get("arguments")
            pieces = [
                {"type": f"{kind}.delta", **at, "delta": arguments},
                {"type": f"{kind}.done", **at, "name": found.get("name"), "arguments": arguments},
            ]
        case "reasoning":
            begun["summary"] = []
            begun.pop("encrypted_content", None)
            for place, part in enumerate(found.get("summary") or ()):
                pieces += _events_of_summary({**at, "summary_index": place}, _object(part))
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        *pieces,
        {"type": "response.output_item.done", "output_index": index, "item": found},
    ]


def _events_of_part(at: dict[str, Any], part: dict[str, Any]) -> list[dict[str, Any]]:
    is_refusal = part.get("type") == "refusal"
    name, kind = ("refusal", "refusal") if is_refusal else ("text", "output_text")
    beside: dict[str, Any] = {} if is_refusal else {"logprobs": part.get("logprobs") or []}
    begun = {**part, name: "", **({} if is_refusal else {"annotations": [], "logprobs": []})}
    cited = [
        {"type": "response.output_text.annotation.added", **at, "annotation_index": place, "annotation": each}
        for place, each in enumerate(part.get("annotations") or ())
    ]
    return [
        {"type": "response.content_part.added", **at, "part": begun},
        {"type": f"response.{kind}.delta", **at, "delta": part.get(name), **beside},
        *cited,
        {"type": f"response.{kind}.done", **at, name: part.get(name), **beside},
        {"type": "response.content_part.done", **at, "part": part},
    ]


def _events_of_summary(at: dict[str, Any], part: dict[str, Any]) -> list[dict[str, Any]]:
    text = part.get("text")
    return [
        {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **at, "delta": text},
        {"type": "response.reasoning_summary_text.done", **at, "text": text},
        {"type": "response.reasoning_summary_part.done", **at, "part": part},
    ]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
