"""What each model of the sandbox says: a request in, an `Answer` out.

Pure: no I/O, no clock, no chance; the same request gets the same answer. Pace, limits and bytes are the business
of `client.sandbox.answering`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from client.sandbox.models.order import BadRequest, Order, text_of
from client.sandbox.models.picture import data_url
from client.sandbox.models.prose import MARKDOWN
from client.sandbox.models.schema import sample_arguments

IMAGE_TOKENS = 64
_PIECES = re.compile(r"\s*\S{1,12}|\s+")
_ARGUMENT_PIECE = 9  # characters; cuts inside keys, strings and escapes
_FORMAT = "anthropic-claude-v1"
_THOUGHTS = {"minimal": 1, "low": 2, "medium": 3, "high": 5, "xhigh": 7, "max": 9}


@dataclass(frozen=True, slots=True)
class Piece:
    """One delta of the answer.

    Attributes:
        delta: None for tokens that are made and billed, but not shown.
        tokens: completion tokens it costs; also what the pace goes by.
    """

    delta: dict[str, Any] | None
    tokens: int = 1
    kind: Literal["content", "reasoning", "image"] = "content"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and how it ends.

    Attributes:
        pieces: made as they are taken; can be taken once.
        fault: what happens after the last piece in place of an end.
        server_tool_use: `usage.server_tool_use_details`, for answers that searched.
    """

    pieces: Iterable[Piece]
    finish_reason: str = "stop"
    fault: Literal["error", "hang_up", "silence"] | None = None
    server_tool_use: dict[str, int] | None = None


def compose(model_id: str, order: Order) -> Answer:
    """The answer of a model that the catalogue has and that answers at all (`sandbox/no-credits` never does).

    Raises:
        BadRequest: this model refuses the request.
    """
    return _COMPOSERS[model_id](order)


def split_text(text: str) -> Iterator[str]:
    """Cuts a text into pieces about the size of a token; joined they are the text."""
    return (match.group() for match in _PIECES.finditer(text))


def _say(text: str, key: str = "content") -> Iterator[Piece]:
    return (Piece({key: piece}) for piece in split_text(text))


def _echo(order: Order) -> Answer:
    return Answer(_say(json.dumps(order.asked, indent=2, ensure_ascii=False)))


def _reason(order: Order) -> Answer:
    _check_replayed_thinking(order)
    answer = _say(f"You asked: {order.prompt or 'nothing'}. Having thought about it, I agree.")
    count = _thought_count(order)
    if not count:
        return Answer(answer)
    thoughts = "".join(f"Thought {n}: weigh the question once more. " for n in range(1, count + 1))
    return Answer(chain(_think(thoughts, order), answer))


def _reasoning_options(order: Order) -> dict[str, Any]:
    options = order.body.get("reasoning")
    return options if isinstance(options, dict) else {}


def _thought_count(order: Order) -> int:
    options = _reasoning_options(order)
    effort, short = options.get("effort"), order.body.get("reasoning_effort")
    if effort and short and effort != short:
        raise BadRequest('Only one of "reasoning_effort" and "reasoning.effort" can be set, or both the same')
    wanted = effort or short or "medium"
    if wanted == "none" or options.get("enabled") is False:
        return 0
    if wanted not in _THOUGHTS:
        raise BadRequest(f"reasoning.effort: expected one of {', '.join(_THOUGHTS)}, none")
    return _THOUGHTS[wanted]


def _think(text: str, order: Order) -> Iterator[Piece]:
    """Text fragments that share one index, then the signature alone."""
    options = _reasoning_options(order)
    budget = options.get("max_tokens")
    pieces = list(split_text(text))[: budget if type(budget) is int and budget > 0 else None]  # of any size
    if options.get("exclude") is True or order.body.get("include_reasoning") is False:
        yield from (Piece(None, kind="reasoning") for _ in pieces)
        return
    for piece in pieces:
        yield Piece({"reasoning": piece, "reasoning_details": [_detail(text=piece)]}, kind="reasoning")
    signature = sign_thinking("".join(pieces))
    yield Piece({"reasoning_details": [_detail(signature=signature)]}, tokens=0, kind="reasoning")


def _detail(**fields: str) -> dict[str, Any]:
    return {"type": "reasoning.text", **fields, "format": _FORMAT, "index": 0}


def sign_thinking(text: str) -> str:
    """The signature that `sandbox/reasoner` puts under its thinking, and wants to see again under the same text."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8", "replace")).digest()).decode()


def _check_replayed_thinking(order: Order) -> None:
    for number, message in enumerate(order.messages):
        for detail in message.get("reasoning_details") or []:
            ours = isinstance(detail, dict) and detail.get("format") == _FORMAT
            if ours and detail.get("signature") != sign_thinking(detail.get("text") or ""):
                raise BadRequest(f"messages.{number}.content.0: Invalid `signature` in `thinking` block")


def _use_tools(order: Order) -> Answer:
    if results := _tell_results(order):
        return Answer(_say(results))
    function = _first_function(order)
    if function is None:
        return Answer(_say("No function was offered to me, so here is a plain answer."))
    try:
        arguments = json.dumps(sample_arguments(function.get("parameters"), order.prompt))
    except ValueError as exc:
        raise BadRequest(f"tools: the parameters of the function are {exc}") from exc
    return Answer(_call(str(function.get("name", "")), arguments), finish_reason="tool_calls")


def _first_function(order: Order) -> dict[str, Any] | None:
    """The function to call; the one that `tool_choice` names, if it names one."""
    choice = order.body.get("tool_choice")
    offered: list[dict[str, Any]] = [
        tool["function"]
        for tool in order.body.get("tools") or []
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    ]
    if choice == "none" or not offered:
        return None
    named = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    return next((function for function in offered if function.get("name") == named), offered[0])


def _call(name: str, arguments: str) -> Iterator[Piece]:
    call_id = "call_" + hashlib.sha256(f"{name}{arguments}".encode("utf-8", "replace")).hexdigest()[:24]
    opening = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    yield Piece(_tool_call(opening))
    for start in range(0, len(arguments), _ARGUMENT_PIECE):
        yield Piece(_tool_call({"function": {"arguments": arguments[start : start + _ARGUMENT_PIECE]}}))


def _tool_call(fragment: dict[str, Any]) -> dict[str, Any]:
    return {"content": None, "tool_calls": [{"index": 0, **fragment}]}


def _tell_results(order: Order) -> str:
    """One sentence per tool message since the model spoke last; users may have added something to the results."""
    names = {
        call.get("id"): call.get("function", {}).get("name")
        for message in order.messages
        for call in message.get("tool_calls") or []
        if isinstance(call, dict)
    }
    results = []
    for message in reversed(order.messages):
        if message["role"] == "assistant":
            break
        if message["role"] != "tool":
            continue
        name = names.get(message.get("tool_call_id")) or "The tool"
        results.append(f"{name} answered: {text_of(message.get('content'))}")
    return "\n".join(reversed(results))


def _search(order: Order) -> Answer:
    topic = order.prompt or "nothing"
    cited = (Piece({"annotations": [_citation(number, topic)]}, tokens=0) for number in (1, 2))
    text = f"Two pages speak of {topic} [1][2]. Both are made up."
    use = {"web_search_requests": 1, "tool_calls_requested": 1, "tool_calls_executed": 1}
    return Answer(chain(cited, _say(text)), server_tool_use=use)


def _citation(number: int, topic: str) -> dict[str, Any]:
    citation = {
        "url": f"https://example.com/page-{number}",
        "title": f"Page {number}",
        "content": f"A page about {topic[:200]}",
        "start_index": 0,
        "end_index": 0,
    }
    return {"type": "url_citation", "url_citation": citation}


def _paint(order: Order) -> Answer:
    image = {"type": "image_url", "image_url": {"url": data_url(order.prompt)}, "index": 0}
    picture = Piece({"images": [image]}, tokens=IMAGE_TOKENS, kind="image")
    return Answer(chain(_say("Here is a small picture. "), [picture]))


def _refuse(order: Order) -> Answer:
    return Answer(_say("I'm sorry, but I can't help with that.", "refusal"))


def _count(tokens: int) -> Iterator[Piece]:
    return (Piece({"content": f"{number} "}) for number in range(1, tokens + 1))


def _go_on(order: Order) -> Answer:
    return Answer(_count(order.knobs.tokens))


def _arrive(order: Order) -> Answer:
    return Answer(_say("Third time lucky: you waited, and here is the answer."))


def _format(order: Order) -> Answer:
    return Answer(_say(MARKDOWN))


def _fault(kind: Literal["error", "hang_up", "silence"]) -> Callable[[Order], Answer]:
    return lambda order: Answer(_count(order.knobs.after_tokens), fault=kind)


_COMPOSERS: dict[str, Callable[[Order], Answer]] = {
    "sandbox/echo": _echo,
    "sandbox/reasoner": _reason,
    "sandbox/tools": _use_tools,
    "sandbox/search": _search,
    "sandbox/painter": _paint,
    "sandbox/refuser": _refuse,
    "sandbox/long": _go_on,
    "sandbox/markdown": _format,
    "sandbox/rate-limited": _arrive,
    "sandbox/breaks": _fault("error"),
    "sandbox/hangs-up": _fault("hang_up"),
    "sandbox/stalls": _fault("silence"),
}
