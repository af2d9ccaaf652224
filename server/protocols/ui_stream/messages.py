"""The AI SDK's `UIMessage`s to OpenRouter's messages. Pure module.

What a user interface keeps of a conversation is richer than what a model is told: parts that are nothing to a model,
and parts of a kind that nobody here knows, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from client.border.json_codec import encode_json
from client.translation.reasoning import ReasoningMerger
from server.protocols.ui_stream.media import part_of_file

METADATA = "openrouter"
"""Under which name our entries stand in a part's `providerMetadata`."""
ANNOTATION = "data-annotation"
"""A part with an annotation that is no source: it goes back as it came, so that no file is parsed twice."""
DENIED = "The user denied this call."
_TOOL = "tool-"
_METADATA_FIELDS = ("providerMetadata", "callProviderMetadata", "resultProviderMetadata")
_UNTOLD = "The call failed."


def messages_of(ui_messages: Iterable[Any]) -> list[dict[str, Any]]:
    """The conversation. A message without `parts` is taken to be one of OpenRouter's already."""
    messages: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []  # pictures by the model: only a user's message can show it any
    for each in ui_messages:
        if not isinstance(each, Mapping):
            continue
        role, parts = each.get("role"), each.get("parts")
        if not isinstance(parts, list):
            messages.append({name: value for name, value in each.items() if name not in ("id", "metadata")})
            continue
        known = [part for part in parts if isinstance(part, Mapping)]
        if role == "assistant":
            messages += _of_assistant(known, shown)
        elif role == "system":
            messages += _with_content("system", [{"type": "text", "text": "".join(_texts(known))}])
        else:
            messages += _with_content("user", [*shown, *_user_parts(known)])
            shown = []
    return messages


# -- users ---------------------------------------------------------------------------------------------------------


def _user_parts(parts: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)} if text:
                yield {"type": "text", "text": text}
            case {"type": "file", "url": str(url), "mediaType": str(media_type)}:
                name = part.get("filename")
                yield part_of_file(url, media_type, name if isinstance(name, str) and name else None)


def _texts(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    texts = (part.get("text") for part in parts if part.get("type") == "text")
    return [text for text in texts if isinstance(text, str) and text]


def _with_content(role: str, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    content = _content_of(parts)
    return [{"role": role, "content": content}] if content else []


def _content_of(parts: list[dict[str, Any]]) -> Any:
    """One text is sent as text: some providers take nothing else for some roles."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


# -- the model ----------------------------------------------------------------------------------------------------


def _of_assistant(parts: list[Mapping[str, Any]], shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A message for each step, and behind it what its tools gave; words of the user in between where they stood."""
    step: list[Mapping[str, Any]] = []
    for part in parts:
        kind = part.get("type")
        if kind == "step-start":
            yield from _of_step(step, shown)
            step = []
        elif kind == "steering-message":
            yield from _of_step(step, shown)
            step = []
            said = part.get("parts") or [{**part, "type": "text"}]
            yield from _with_content("user", list(_user_parts(each for each in said if isinstance(each, Mapping))))
        else:
            step.append(part)
    yield from _of_step(step, shown)


def _of_step(parts: list[Mapping[str, Any]], shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    content = [{"type": "text", "text": text} for text in _texts(parts)]
    answered = [call for call in map(_answered_call, parts) if call is not None]
    thinking = _thinking_of(parts)
    annotations = [part["data"] for part in parts if part.get("type") == ANNOTATION and "data" in part]
    for part in parts:
        match part:
            case {"type": "file", "url": str(url), "mediaType": str(media_type)} if media_type.startswith("image/"):
                shown.append(part_of_file(url, media_type, None))
    if not (content or answered):  # an answer that was cut in its thinking: providers refuse a turn that says nothing
        return
    message: dict[str, Any] = {"role": "assistant", "content": _content_of(content) if content else None}
    message |= thinking
    if annotations:
        message["annotations"] = annotations
    if answered:
        message["tool_calls"] = [call for call, _ in answered]
    yield message
    for call, output in answered:
        yield {"role": "tool", "tool_call_id": call["id"], "content": output}


def _thinking_of(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries as they came, or where there are none the text: models that sign their thinking refuse what was
    altered, and what they are told twice."""
    lists: list[list[Any]] = []
    for part in parts:
        for entries in _entries_in(part):
            if entries not in lists:
                lists.append(entries)
    if lists:
        return {"reasoning_details": _joined(lists)}
    texts = (part.get("text") for part in parts if part.get("type") == "reasoning")
    text = "".join(text for text in texts if isinstance(text, str))
    return {"reasoning": text} if text else {}


def _entries_in(part: Mapping[str, Any]) -> Iterator[list[Any]]:
    for field in _METADATA_FIELDS:
        match part.get(field):
            case {"openrouter": {"reasoning_details": [_, *_] as entries}}:
                yield entries


def _joined(lists: list[list[Any]]) -> list[Any]:
    """One list stays as it is. Of several, each goes on where the one before ended, as the fragments did."""
    if len(lists) == 1:
        return lists[0]
    merger = ReasoningMerger()
    for entries in lists:
        merger.add(entries)
    return merger.merged()


# -- tools ---------------------------------------------------------------------------------------------------------


def _answered_call(part: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """A call and what came of it; None for other parts, and for calls that nobody has answered: no model goes on
    behind such a one."""
    kind, call_id = part.get("type"), part.get("toolCallId")
    if not isinstance(kind, str) or not isinstance(call_id, str):
        return None
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix(_TOOL)
    output = _output_of(part)
    if output is None or not isinstance(name, str) or not (kind == "dynamic-tool" or kind.startswith(_TOOL)):
        return None
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": _arguments_of(part)}}
    return call, output


def _arguments_of(part: Mapping[str, Any]) -> str:
    """What a call that was cut off has for an input is no object, and no model takes it back."""
    arguments = part.get("input")
    if part.get("state") == "output-error" and not isinstance(arguments, Mapping):
        arguments = None
    return encode_json({} if arguments is None else arguments).decode()


def _output_of(part: Mapping[str, Any]) -> str | None:
    """None while there is none."""
    match part.get("state"):
        case "output-available":
            output = part.get("output")
            return output if isinstance(output, str) else encode_json(output).decode()
        case "output-error":
            told = part.get("errorText")
            return told if isinstance(told, str) and told else _UNTOLD
        case "output-denied":
            return _denial(part)
        case "approval-responded":
            approval = part.get("approval")
            is_denied = isinstance(approval, Mapping) and approval.get("approved") is False
            return _denial(part) if is_denied else None
    return None


def _denial(part: Mapping[str, Any]) -> str:
    match part.get("approval"):
        case {"reason": str(reason)} if reason:
            return f"{DENIED} {reason}"
    return DENIED
