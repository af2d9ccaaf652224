"""Ollama's requests to the body that upstream gets. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.errors import Detail
from client.upstream.request import ChatCall, InvalidRequest, build_chat_call
from server.protocols.ollama.messages import content_of, messages_of

LATEST = ":latest"
"""What clients put behind a name that has no tag."""
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repeat_penalty": "repetition_penalty",
}
"""Theirs and OpenRouter's; the others are about the machine that a model would run on."""
_THEIRS = frozenset(
    {"model", "messages", "stream", "think", "format", "options", "keep_alive", "prompt", "suffix", "system"}
    | {"template", "context", "raw", "images", "truncate", "shift", "message", "history"}
)
"""Fields that go no further as they are; what is not among them is passed on, as everywhere."""


@dataclass(frozen=True, slots=True)
class OllamaRequest:
    """What readers of the answer need of the request.

    Attributes:
        model: as the client calls it: it looks for that in every line.
    """

    model: str


def is_without_question(body: Mapping[str, Any], field: str) -> bool:
    """Whether it only asks to have the model ready, or let go: then nothing is there to be answered."""
    return body.get(field) in (None, "", []) and not body.get("images")


def asked_model(body: Mapping[str, Any], default_model: str) -> str:
    """The model as the client calls it.

    Raises:
        InvalidRequest: it is no text.
    """
    name = body.get("model")
    if name is not None and not isinstance(name, str):
        raise InvalidRequest([Detail("model", "must be the name of a model, as text")])
    return name or default_model


def chat_call_of(body: Mapping[str, Any], *, model: str, max_grace_s: float) -> ChatCall:
    """`/api/chat`; `model` is the one that upstream is asked for.

    Raises:
        InvalidRequest: with every problem found.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise InvalidRequest([Detail("messages", "must be a list")])
    return _call_of(body, messages_of(messages), model, max_grace_s)


def generate_call_of(body: Mapping[str, Any], *, model: str, max_grace_s: float) -> ChatCall:
    """`/api/generate`, as a conversation of one question.

    Raises:
        InvalidRequest: with every problem found.
    """
    if body.get("suffix"):
        raise InvalidRequest([Detail("suffix", "cannot be filled up to here: models are asked in conversations")])
    prompt, system = body.get("prompt"), body.get("system")
    if prompt is not None and not isinstance(prompt, str):
        raise InvalidRequest([Detail("prompt", "must be text")])
    said = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    question = {"role": "user", "content": content_of(prompt, body.get("images"))}
    return _call_of(body, [*said, question], model, max_grace_s)


def _call_of(body: Mapping[str, Any], messages: list[dict[str, Any]], model: str, max_grace_s: float) -> ChatCall:
    problems: list[Detail] = []
    is_streamed = body.get("stream")
    if is_streamed is not None and not isinstance(is_streamed, bool):
        problems.append(Detail("stream", "must be true or false"))
    fields = {name: value for name, value in body.items() if name not in _THEIRS and value is not None}
    fields |= _of_options(body.get("options"), problems) | _of_think(body.get("think"), problems)
    fields |= _of_format(body.get("format"), problems)
    if fields.get("tools") == []:  # clients send that where there are none, and providers refuse it
        del fields["tools"]
    if problems:
        raise InvalidRequest(problems)
    call = build_chat_call({**fields, "messages": messages}, (), default_model=model, max_grace_s=max_grace_s)
    return call._replace(stream=is_streamed is not False, asked=OllamaRequest(str(body.get("model") or model)))


def _of_options(options: Any, problems: list[Detail]) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        problems.append(Detail("options", "must be an object"))
        return {}
    fields = {ours: options[theirs] for theirs, ours in _OPTIONS.items() if options.get(theirs) is not None}
    most_tokens = options.get("num_predict")
    if isinstance(most_tokens, int | float) and most_tokens > 0:  # below that: as many as it takes
        fields["max_tokens"] = int(most_tokens)
    return fields


def _of_think(think: Any, problems: list[Detail]) -> dict[str, Any]:
    if think is None or think == "":
        return {}
    if isinstance(think, bool):
        return {"reasoning": {"enabled": think}}
    if isinstance(think, str):
        return {"reasoning": {"effort": think}}
    problems.append(Detail("think", "must be true, false, or a word such as high"))
    return {}


def _of_format(format_: Any, problems: list[Detail]) -> dict[str, Any]:
    if format_ is None or format_ == "":
        return {}
    if format_ == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(format_, Mapping):
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": format_}}}
    problems.append(Detail("format", 'must be "json" or a JSON schema'))
    return {}
