"""Puts the deltas of an answer together into the message of a reply that is not streamed.

Pure: no I/O. Knows only what the sandbox's own models send, not what OpenRouter's might.
"""

from __future__ import annotations

from typing import Any


class WholeMessage:
    """A `message` in the making."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._lists: dict[str, list[dict[str, Any]]] = {}
        self._call: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._thinking: dict[str, Any] = {}

    def add(self, delta: dict[str, Any]) -> None:
        """Takes in one delta."""
        for key, value in delta.items():
            if key == "tool_calls":
                self._add_call(value[0])
            elif key == "reasoning_details":
                self._thinking.update(value[0])
            elif isinstance(value, str):
                self._texts.setdefault(key, []).append(value)
            elif isinstance(value, list):
                self._lists.setdefault(key, []).extend(value)

    def _add_call(self, fragment: dict[str, Any]) -> None:
        function = fragment["function"]
        self._arguments.append(function["arguments"])
        if "id" in fragment:
            self._call = {key: fragment[key] for key in ("index", "id", "type")}
            self._call["function"] = {"name": function["name"]}

    def build(self) -> dict[str, Any]:
        """The message so far; keys with nothing to say are absent, as in OpenRouter's."""
        texts = {key: "".join(parts) for key, parts in self._texts.items()}
        message: dict[str, Any] = {"role": "assistant", "content": None if self._call else ""}
        message |= {"refusal": None, "reasoning": None} | texts | self._lists
        if self._thinking:
            message["reasoning_details"] = [{**self._thinking, "text": message["reasoning"] or ""}]
        if self._call:
            function = {**self._call["function"], "arguments": "".join(self._arguments)}
            message["tool_calls"] = [{**self._call, "function": function}]
        return message
