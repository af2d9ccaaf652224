"""The items of a Responses request as messages of Chat Completions. Pure module.

What a model said in one turn is several items there and one message here: its thinking, its text and its calls belong
together, and thinking has to go back with the message that it led to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.border.json_codec import encode_json
from client.errors import Detail
from client.translation.reasoning import ReasoningMerger
from server.protocols.responses.reasoning import Replayed, replayed

_ROLES = ("user", "system", "developer", "assistant")
_AS_THEY_ARE = ("text", "image_url", "file", "video_url")
_ONLY_TOLD = ("web_search_call", "file_search_call", "mcp_list_tools")
"""Items that say what happened on the other side; the text that came of it is in other items."""


def messages_of(instructions: Any, given: Any, problems: list[Detail]) -> list[dict[str, Any]]:
    """The conversation; what cannot be said in it is a problem that names its item."""
    turns = _Turns(problems)
    if isinstance(instructions, str):
        turns.messages.append({"role": "system", "content": instructions})
    elif isinstance(instructions, list):
        turns.take_all(instructions, "instructions")
    elif instructions is not None:
        problems.append(Detail("instructions", "must be text"))
    if isinstance(given, str):
        turns.messages.append({"role": "user", "content": given})
    elif isinstance(given, list) and given:
        turns.take_all(given, "input")
    else:
        problems.append(Detail("input", "is missing; give text, or a list of at least one item"))
    turns.close()
    return turns.messages


class _Turns:
    """Takes items in order.

    Attributes:
        messages: so far; the last one of the assistant may still grow.
    """

    def __init__(self, problems: list[Detail]) -> None:
        self.messages: list[dict[str, Any]] = []
        self._problems = problems
        self._assistant: dict[str, Any] | None = None
        self._thoughts: list[Replayed] = []  # of the open message
        self._pending: list[Replayed] = []  # of the one that follows

    def take_all(self, items: list[Any], where: str) -> None:
        """Adds items."""
        for place, item in enumerate(items):
            if isinstance(item, dict):
                self._take(item, f"{where}.{place}")
            else:
                self._problem(f"{where}.{place}", "must be an object")

    def close(self) -> None:
        """The assistant's message is whole; thinking that nothing followed belongs to what it had said before."""
        if self._assistant is not None:
            self._assistant.update(_told_of([*self._thoughts, *self._pending]))
        self._assistant, self._thoughts, self._pending = None, [], []

    def _problem(self, where: str, what: str) -> None:
        self._problems.append(Detail(where, what))

    def _take(self, item: dict[str, Any], where: str) -> None:
        kind = item.get("type") or "message"
        match kind:
            case "message":
                self._message(item, where)
            case "reasoning":
                self._pending.append(replayed(item))
            case "function_call":
                self._call(item, where)
            case "function_call_output":
                self._output(item, where)
            case "image_generation_call":
                self._image(item)
            case _ if kind in _ONLY_TOLD:
                return
            case "item_reference":
                self._problem(where, f"there is no item {str(item.get('id'))[:80]} here any more; send it whole")
            case _:
                self._problem(where, f"an item of type {str(kind)[:60]} is not supported here")

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            self._problem(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
            return
        content = _content(item.get("content"), f"{where}.content", self._problems)
        if role != "assistant":
            self.close()
            self.messages.append({"role": role, "content": content})
            return
        message = self._assistant
        if message is not None and message["content"] is not None and "tool_calls" not in message:
            self.close()
        message = self._open()
        message["content"] = _joined(message["content"], content)

    def _open(self) -> dict[str, Any]:
        """The assistant's message that is spoken now, with the thinking before it."""
        if self._assistant is None:
            self._assistant = {"role": "assistant", "content": None}
            self.messages.append(self._assistant)
        self._thoughts += self._pending
        self._pending = []
        return self._assistant

    def _call(self, item: Mapping[str, Any], where: str) -> None:
        arguments = item.get("arguments")
        if not isinstance(arguments, str):
            arguments = "{}" if arguments is None else encode_json(arguments).decode()
        function = {"name": item.get("name"), "arguments": arguments}
        call_id = item.get("call_id") or item.get("id")
        if not isinstance(call_id, str) or not isinstance(function["name"], str):
            self._problem(where, "a call has a call_id and a name")
            return
        calls = self._open().setdefault("tool_calls", [])
        calls.append({"id": call_id, "type": "function", "function": function})

    def _output(self, item: Mapping[str, Any], where: str) -> None:
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            self._problem(f"{where}.call_id", "is missing; an output says which call it is of")
            return
        output = item.get("output")
        content = _content(output, f"{where}.output", self._problems) if isinstance(output, list) else output
        if not isinstance(content, str | list):
            content = "" if content is None else encode_json(content).decode()
        self.close()
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def _image(self, item: Mapping[str, Any]) -> None:
        """A picture that the model has made."""
        result = item.get("result")
        if isinstance(result, str) and result:
            url = result if ":" in result[:10] else f"data:image/{item.get('output_format') or 'png'};base64,{result}"
            images = self._open().setdefault("images", [])
            images.append({"type": "image_url", "image_url": {"url": url}})


def _told_of(thoughts: list[Replayed]) -> dict[str, Any]:
    """What the message says of the thinking before it, with what the model gave in pieces put together again.

    Where some of it is as the model gave it, text that stands beside it only repeats it.
    """
    if any(thought.is_exact for thought in thoughts):
        thoughts = [thought for thought in thoughts if thought.is_sealed]
    merger = ReasoningMerger()
    for thought in thoughts:
        merger.add(thought.entries)
    text = "" if any(thought.is_sealed for thought in thoughts) else "".join(thought.text for thought in thoughts)
    said = {"reasoning": text} if text else {}
    return {**said, "reasoning_details": merger.merged()} if merger else said


def _content(content: Any, where: str, problems: list[Detail]) -> str | list[dict[str, Any]]:
    """Text where it is one text; else parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        problems.append(Detail(where, "must be text or a list of parts"))
        return ""
    parts = [_part(part, f"{where}.{place}", problems) for place, part in enumerate(content)]
    found = [part for part in parts if part is not None]
    if len(found) == 1 and found[0].keys() == {"type", "text"}:
        text: str = found[0]["text"]
        return text
    return found


def _part(part: Any, where: str, problems: list[Detail]) -> dict[str, Any] | None:
    if not isinstance(part, dict):
        problems.append(Detail(where, "must be an object"))
        return None
    kind = part.get("type")
    match kind:
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            return _text(part.get("text"), part)
        case "refusal":
            return _text(part.get("refusal"), part)
        case "input_image" if part.get("image_url"):
            return _image_part(part)
        case "input_file" if part.get("file_data") or part.get("file_url"):
            named = {"filename": part["filename"]} if part.get("filename") else {}
            return _with_cache(
                {"type": "file", "file": {**named, "file_data": part.get("file_data") or part["file_url"]}}, part
            )
        case "input_image" | "input_file":
            problems.append(Detail(where, "files by id are not known here; send the data or a URL"))
            return None
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case "input_video":
            url = part.get("video_url")
            return {"type": "video_url", "video_url": url if isinstance(url, dict) else {"url": url}}
        case _ if kind in _AS_THEY_ARE:
            return part
    problems.append(Detail(where, f"a part of type {str(kind)[:60]} is not supported here"))
    return None


def _text(text: Any, part: Mapping[str, Any]) -> dict[str, Any]:
    return _with_cache({"type": "text", "text": text if isinstance(text, str) else ""}, part)


def _image_part(part: Mapping[str, Any]) -> dict[str, Any]:
    url = part["image_url"]
    image = dict(url) if isinstance(url, dict) else {"url": url}
    if part.get("detail") is not None:
        image.setdefault("detail", part["detail"])
    return _with_cache({"type": "image_url", "image_url": image}, part)


def _with_cache(made: dict[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Marks of where a prompt's cache ends stay where they were."""
    for name in ("cache_control", "prompt_cache_breakpoint"):
        if part.get(name) is not None:
            made[name] = part[name]
    return made


def _joined(before: Any, content: str | list[dict[str, Any]]) -> Any:
    """Text before and behind a call is one content of the message."""
    if before is None:
        return content
    if isinstance(before, str) and isinstance(content, str):
        return before + content
    listed = [[{"type": "text", "text": each}] if isinstance(each, str) else each for each in (before, content)]
    return [*listed[0], *listed[1]]
