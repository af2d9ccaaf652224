"""A thread's messages, from AG-UI's to OpenRouter's.

What a model says in one turn is several messages there: thinking, text, calls. Those that came from one answer of
this server have its id in theirs and become one turn again; other thinking belongs to the assistant's message behind
it. What has to go back to the provider unaltered, its signed thinking, comes back as `encryptedValue`. Pure module.
"""

from __future__ import annotations

from typing import Any

from client.border.json_codec import decode_json
from server.protocols.ag_ui.parts import Problem, content_of, text_of


def answer_of(message_id: Any) -> str | None:
    """The answer to which a message belongs that this server has sent; None for ids of others."""
    if not isinstance(message_id, str) or not message_id.startswith("msg_"):
        return None
    return message_id.removeprefix("msg_").partition("-")[0] or None


def message_id_of(stream_id: str, number: int) -> str:
    """The id of an answer's message; `answer_of` finds the answer again. Ids of streams may have hyphens."""
    return f"msg_{stream_id.replace('-', '.')}-{number}"


class Turns:
    """Takes messages in order and gives OpenRouter's.

    Attributes:
        messages: what came of them so far.
    """

    def __init__(self, problem: Problem) -> None:
        self.messages: list[dict[str, Any]] = []
        self._problem = problem
        self._thinking: list[dict[str, Any]] = []  # of the assistant's message that is to come
        self._answer: str | None = None  # of the turn that stands last

    def add(self, message: Any, where: str) -> None:
        """The next message."""
        role = message.get("role") if isinstance(message, dict) else None
        match role:
            case "user":
                content = content_of(message.get("content"), f"{where}.content", self._problem)
                self._add_other({"role": "user", **_named(message), "content": content})
            case "system" | "developer":
                self._add_other({"role": "system", **_named(message), "content": text_of(message.get("content"))})
            case "tool":
                self._add_result(message, where)
            case "reasoning":
                self._think(message)
            case "assistant":
                self._add_turn(message, where)
            case "activity":
                pass
            case _:
                roles = "user, assistant, reasoning, tool, system, developer or activity"
                self._problem(f"{where}.role", f"must be {roles}")

    def _add_other(self, message: dict[str, Any]) -> None:
        self._thinking, self._answer = [], None
        self.messages.append(message)

    def _add_result(self, message: dict[str, Any], where: str) -> None:
        call_id = message.get("toolCallId")
        if not isinstance(call_id, str):
            self._problem(f"{where}.toolCallId", "must name the call, as text")
        content = content_of(message.get("content"), f"{where}.content", self._problem) or message.get("error") or ""
        self._add_other({"role": "tool", "tool_call_id": call_id, "content": content})

    def _think(self, message: dict[str, Any]) -> None:
        answer = answer_of(message.get("id"))
        if answer is not None and answer == self._answer:
            _add_thinking(self.messages[-1], [message])
        else:
            self._thinking.append(message)

    def _add_turn(self, message: dict[str, Any], where: str) -> None:
        answer = answer_of(message.get("id"))
        said = text_of(message.get("content"))
        calls = self._calls_of(message.get("toolCalls"), f"{where}.toolCalls")
        thinking = [*self._thinking, message, *(message.get("toolCalls") or ())]
        self._thinking = []
        if answer is None or answer != self._answer:
            self._answer = answer
            self.messages.append({"role": "assistant", "content": None})
        turn = self.messages[-1]
        turn["content"] = (turn["content"] or "") + said or None
        if calls:
            turn["tool_calls"] = [*turn.get("tool_calls", ()), *calls]
        if turn["content"] is None and "tool_calls" not in turn:
            turn["content"] = ""
        _add_thinking(turn, thinking)

    def _calls_of(self, found: Any, where: str) -> list[dict[str, Any]]:
        calls = []
        for index, call in enumerate(found if isinstance(found, list) else ()):
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict) or not isinstance(call.get("id"), str):
                self._problem(f"{where}.{index}", "must be a call: {id, type, function: {name, arguments}}")
                continue
            named = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
            calls.append({"id": call["id"], "type": "function", "function": named})
        return calls


def without_open_calls(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls that nobody has answered are left out, such as those that were cut off: providers refuse them."""
    answered = {message["tool_call_id"] for message in messages if message["role"] == "tool"}
    kept = []
    for message in messages:
        calls = message.pop("tool_calls", None)
        closed = [call for call in calls or () if call["id"] in answered]
        if closed:
            message["tool_calls"] = closed
        if calls is None or closed or message["content"]:
            kept.append(message)
    return kept


def _named(message: dict[str, Any]) -> dict[str, str]:
    name = message.get("name")
    return {"name": name} if isinstance(name, str) and name else {}


def _add_thinking(turn: dict[str, Any], holders: list[Any]) -> None:
    """What was thought before and in a turn: text of thinking, and what has to go back as it came."""
    thoughts = [holder for holder in holders if isinstance(holder, dict)]
    text = "".join(text_of(each.get("content")) for each in thoughts if each.get("role") == "reasoning")
    details = [entry for each in thoughts for entry in _details_of(each.get("encryptedValue"))]
    if text:
        turn["reasoning"] = turn.get("reasoning", "") + text
    if details:
        turn["reasoning_details"] = [*turn.get("reasoning_details", ()), *details]


def _details_of(value: Any) -> list[Any]:
    """Values that others have made mean nothing to OpenRouter."""
    found = decode_json(value.encode("utf-8", "replace")) if isinstance(value, str) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
