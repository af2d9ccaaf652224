"""Turns of Messages as messages of chat completions. Pure module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from client.border.json_codec import encode_json
from client.errors import Detail
from server.protocols.messages.thinking import entries_of, text_of

Part = dict[str, Any]
_OF_SERVER_TOOLS = ("server_tool_use", "mcp_tool_use", "mcp_tool_result", "container_upload", "compaction")
_BELOW, _DEEPEST = ".content", 4
"""What stands in a path once a level, and how many levels are followed: blocks in blocks make sense down to two."""
_SEE_BELOW = "The result follows in the next message."


class Turns:
    """Translates turns, and notes what has no translation.

    Attributes:
        referenced: names of tools that the turns have made known; others may be deferred until then.

    Args:
        problems: takes what is found wrong.
    """

    def __init__(self, problems: list[Detail]) -> None:
        self._problems = problems
        self.referenced: set[str] = set()

    def system(self, system: Any) -> Iterator[dict[str, Any]]:
        """The instructions ahead of all turns."""
        content = self._parts(system, "system")
        if content:
            yield {"role": "system", "content": _plain(content)}

    def messages(self, turns: list[Any]) -> Iterator[dict[str, Any]]:
        """All turns."""
        for place, turn in enumerate(turns):
            where = f"messages.{place}"
            if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
                self._problems.append(Detail(where, "must be an object with role and content"))
            elif turn["role"] == "assistant":
                yield self._answer(turn.get("content"), f"{where}.content")
            else:
                yield from self._question(turn["role"], turn.get("content"), f"{where}.content")

    def _question(self, role: str, content: Any, where: str) -> Iterator[dict[str, Any]]:
        """Results of tools stand ahead of what the user adds, each in a message of its own."""
        blocks = self._blocks(content, where)
        shown: list[Part] = []
        for place, block in blocks:
            if block.get("type") == "tool_result":
                text, media = self._result(block, place)
                yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}
                shown += media
        parts = shown + [part for place, block in blocks for part in self._part(block, place)]
        if parts:
            yield {"role": role, "content": _plain(parts)}

    def _result(self, block: dict[str, Any], where: str) -> tuple[str, list[Part]]:
        """The text of a tool's result, and what else is in it, which a message of a tool cannot hold."""
        parts = self._parts(block.get("content") or "", f"{where}.content")
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        media = [part for part in parts if part["type"] != "text"]
        if media:
            named = {"type": "text", "text": f"From the result of the tool call {text_of(block.get('tool_use_id'))}:"}
            return text or _SEE_BELOW, [named, *media]
        return (f"Error: {text}" if block.get("is_error") is True else text), []

    def _answer(self, content: Any, where: str) -> dict[str, Any]:
        blocks = self._blocks(content, where)
        texts = [
            part["text"] for place, block in blocks for part in self._part(block, place) if part["type"] == "text"
        ]
        calls = [_call(block) for _, block in blocks if block.get("type") == "tool_use"]
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
        thought = [block for _, block in blocks if block.get("type") in ("thinking", "redacted_thinking")]
        entries, unsigned = entries_of(thought)
        if unsigned:
            message["reasoning"] = unsigned
        if entries:
            message["reasoning_details"] = entries
        if calls:
            message["tool_calls"] = calls
        return message

    def _blocks(self, content: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
        """The blocks of a turn, each with its place."""
        if isinstance(content, str):
            return [(where, {"type": "text", "text": content})] if content else []
        if isinstance(content, list) and all(isinstance(block, dict) for block in content):
            return [(f"{where}.{place}", block) for place, block in enumerate(content)]
        self._problems.append(Detail(where, "must be text, or a list of blocks"))
        return []

    def _parts(self, content: Any, where: str) -> list[Part]:
        if where.count(_BELOW) > _DEEPEST:
            self._problems.append(Detail(where, "is nested too deeply"))
            return []
        return (
            []
            if content is None
            else [part for place, block in self._blocks(content, where) for part in self._part(block, place)]
        )

    def _part(self, block: dict[str, Any], where: str) -> list[Part]:
        """A block as parts; none for what stands elsewhere, or is of tools that another upstream has run."""
        kind = block.get("type")
        match kind:
            case "text":
                return (
                    [_kept(block, {"type": "text", "text": text_of(block.get("text"))})] if block.get("text") else []
                )
            case "image" | "document":
                return self._medium(block, kind, where)
            case "search_result":
                told = [block.get("title"), block.get("source")]
                parts = self._parts(block.get("content"), f"{where}.content")
                texts = [each for each in map(text_of, told) if each] + [
                    part["text"] for part in parts if "text" in part
                ]
                return [{"type": "text", "text": "\n".join(texts)}]
            case "tool_reference":
                self.referenced.add(text_of(block.get("tool_name")))
                return [{"type": "text", "text": f"The tool {text_of(block.get('tool_name'))} can be called now."}]
            case "tool_use" | "tool_result" | "thinking" | "redacted_thinking":
                return []
            case str() if kind in _OF_SERVER_TOOLS or kind.endswith("_tool_result"):
                return []
        self._problems.append(Detail(where, f"has a type that cannot be translated: {text_of(kind)[:50]}"))
        return []

    def _medium(self, block: dict[str, Any], kind: str, where: str) -> list[Part]:
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        match source.get("type"):
            case "base64":
                url = f"data:{text_of(source.get('media_type'))};base64,{text_of(source.get('data'))}"
            case "url":
                url = text_of(source.get("url"))
            case "text":
                texts = [block.get("title"), block.get("context"), source.get("data")]
                return [_kept(block, {"type": "text", "text": "\n".join(filter(None, map(text_of, texts)))})]
            case "content":
                return self._parts(source.get("content"), f"{where}.source.content")
            case other:
                said = f"has a source that cannot be translated: {text_of(other)[:50]}; send it as base64 or url"
                self._problems.append(Detail(f"{where}.source", said))
                return []
        if kind == "image":
            return [_kept(block, {"type": "image_url", "image_url": {"url": url}})]
        name = text_of(block.get("title")) or "document.pdf"
        return [_kept(block, {"type": "file", "file": {"filename": name, "file_data": url}})]


def _kept(block: dict[str, Any], part: Part) -> Part:
    """The part with the mark up to which upstream shall keep the prompt."""
    mark = block.get("cache_control")
    return part if mark is None else {**part, "cache_control": mark}


def _plain(parts: list[Part]) -> Any:
    """Text alone as text: not every server takes a list."""
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = encode_json(block.get("input") or {}).decode()
    return {
        "id": block.get("id"),
        "type": "function",
        "function": {"name": block.get("name"), "arguments": arguments},
    }
