"""A hostile upstream as a table: every odd value, in every place of everything that upstream says.

A case is a path into one of the templates and a value that stands there instead of the usual one, or a key beside the
usual ones, or one of these twice. Values and keys are raw JSON, since some of them no encoder writes.

Not every case is tried every time: `pytest --every-hostile-case` tries them all, each in every way.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from client.sandbox import DONE, Reply
from tests.support.chunks import HEAD, STOP, USAGE, event, text

Path = tuple[str | int, ...]

_MARK = "@odd@"
_QUOTED_MARK = b'"@odd@"'

ODD_VALUES: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "empty": b'""',
    "word-null": b'"null"',
    "blank": b'" \\n"',
    "zero": b"0",
    "negative": b"-1",
    "fraction": b"0.5",
    "whole-float": b"3.0",
    "huge": b"1e308",
    "overflow": b"1e400",
    "nan": b"NaN",
    "minus-infinity": b"-Infinity",
    "beyond-64-bits": b"-18446744073709551617",
    "400-digits": b"9" * 400,
    "5000-digits": b"9" * 5000,
    "number-as-text": b'"12"',
    "400-digits-as-text": b'"' + b"9" * 400 + b'"',
    "text": b'"text"',
    "list": b"[1, [2], {}]",
    "empty-list": b"[]",
    "object": b'{"a": {"b": 1}}',
    "empty-object": b"{}",
    "deep-list": b"[" * 10_000 + b"]" * 10_000,
    "deepest-list": b"[" * 100_000 + b"]" * 100_000,
    "deep-object": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "lone-surrogate": b'"a\\ud83d\\u2028"',
    "control": b'"\\u0000\\u001b[2J\\r\\nevent: done\\r\\n\\r\\nX-Evil: 1"',
    "line-ends": '"\u0085\u2028\u2029"'.encode(),
    "megabyte": b'"' + b"x" * 1_000_000 + b'"',
    "megabyte-list": b"[" + b'"x",' * 100_000 + b'"x"]',
}
"""By the name that a failing case shows."""

_HEAVY = frozenset({"5000-digits", "deep-list", "deep-object", "megabyte", "megabyte-list"})
"""Values that take as long as ten others."""
_HEAVIEST = frozenset({"deepest-list"})
"""Those that take as long as a hundred."""
_UPPER_LEVELS = 2
"""Here what is read is decided, and every place is a rule of its own; below much the same is done with all."""
_ONE_IN = {
    "upper": 4,
    "heavy upper": 16,
    "heaviest upper": 24,
    "lower": 16,
    "heavy lower": 120,
    "heaviest lower": 480,
}
"""How many of the cases are tried by default: chosen by their names, so that it is the same ones every time."""

ODD_KEYS: dict[str, bytes] = {
    "empty": b'""',
    "blank": b'" \\n"',
    "control": ODD_VALUES["control"],
    "lone-surrogate": ODD_VALUES["lone-surrogate"],
    "line-ends": ODD_VALUES["line-ends"],
    "number": b'"0"',
    "dunder": b'"__proto__"',
    "exception": b'"oddException"',
    "own": b'"stream_id"',
    "extra": b'"extra"',
    "megabyte": ODD_VALUES["megabyte"],
}

_CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_DETAIL = {"type": "reasoning.text", "text": "hm", "index": 0, "id": "r1", "format": "x", "signature": "s"}
_CITED = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0}}
_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_SAID = {
    "role": "assistant",
    "content": "Hi",
    "reasoning": "hm",
    "reasoning_details": [_DETAIL],
    "tool_calls": [_CALL],
    "annotations": [_CITED],
    "images": [_PICTURE],
    "audio": {"id": "a", "data": "AAAA", "transcript": "t"},
    "refusal": "no",
}
_FINISH = {"finish_reason": "stop", "native_finish_reason": "stop", "logprobs": {"content": []}}
_MONEY = {
    **USAGE,
    "is_byok": True,
    "cost_details": {"upstream_inference_cost": 0.002},
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
_ERROR = {
    "code": 502,
    "message": "boom",
    "type": "server",
    "metadata": {
        "provider_name": "Acme",
        "raw": '{"error":{"message":"inner"}}',
        "error_type": "x",
        "retry_after_seconds": 1,
        "headers": {"X-RateLimit-Reset": "1"},
        "limit_source": "x",
    },
    "availability": {"code": "x", "retryable": False, "retry_after": 1},
}

TEMPLATES: dict[str, Any] = {
    "chunk": {**HEAD, "service_tier": "x", "created": 1, "choices": [{"index": 0, "delta": _SAID, **_FINISH}]},
    "usage": {**HEAD, "choices": [], "usage": _MONEY},
    "completion": {**HEAD, "choices": [{"index": 0, "message": _SAID, **_FINISH}], "usage": _MONEY},
    "error": {"error": _ERROR},
    "error-frame": {**HEAD, "choices": [{"index": 0, "delta": {"content": "x"}, "error": _ERROR}], "error": _ERROR},
    "generation": {
        "data": {
            "id": "gen-1",
            "total_cost": 0.001,
            "tokens_prompt": 1,
            "tokens_completion": 1,
            "native_tokens_prompt": 1,
            "native_tokens_completion": 1,
            "is_byok": True,
            "upstream_inference_cost": 0.001,
            "model": "acme/m",
            "provider_name": "Acme",
        }
    },
    "catalogue": {
        "data": [
            {
                "id": "acme/odd",
                "name": "Odd",
                "created": 1,
                "description": "d",
                "context_length": 1000,
                "canonical_slug": "acme/odd",
                "architecture": {"input_modalities": ["text"], "output_modalities": ["text"], "tokenizer": "x"},
                "pricing": {"prompt": "0.000001", "completion": "0.000002", "request": "0", "web_search": "0"},
                "top_provider": {"max_completion_tokens": 100, "context_length": 1000},
                "supported_parameters": ["tools"],
                "reasoning": {"mandatory": False},
            },
            {"id": "acme/m", "name": "M", "pricing": {"prompt": "0.000001", "completion": "0.000002"}},
        ],
        "total_count": 2,
        "links": {"next": None},
    },
    "model": {"data": {"id": "acme/other", "name": "O", "description": "d", "expiration_date": None, "pricing": {}}},
    "endpoints": {
        "data": {
            "id": "acme/m",
            "endpoints": [
                {
                    "provider_name": "Acme",
                    "tag": "acme",
                    "quantization": "fp8",
                    "context_length": 1000,
                    "max_completion_tokens": 100,
                    "pricing": {"prompt": "0.000001", "completion": "0.000002"},
                    "uptime_last_30m": 99.5,
                }
            ],
        }
    },
    "key": {
        "data": {
            "label": "sk-or-v1-abc...def",
            "limit": 10,
            "limit_remaining": 9.5,
            "limit_reset": "daily",
            "usage": 0.5,
            "usage_daily": 0.1,
            "is_free_tier": False,
        }
    },
    "credits": {"data": {"total_credits": 10, "total_usage": 0.5}},
}


@dataclass(frozen=True, slots=True)
class Case:
    """One odd value in one place.

    Attributes:
        name: template, path and value.
        body: the JSON text that holds it.
        kind: by which it is decided how often it is tried.
    """

    name: str
    body: bytes
    kind: str

    @property
    def number(self) -> int:
        """The same in every run."""
        return zlib.crc32(self.name.encode())


def cases(template: str, *, every: bool = False) -> Iterator[Case]:
    """Every odd value in every place of a template, the whole of it included, and odd keys in every object of it.

    Args:
        every: all of them, and not a sample.
    """
    return (case for case in _all_cases(template) if every or case.number % _ONE_IN[case.kind] == 0)


def _all_cases(template: str) -> Iterator[Case]:
    for path in _paths(TEMPLATES[template]):
        where = f"{template}.{'.'.join(map(str, path))}"
        marked = _encoded(_with(TEMPLATES[template], path, _MARK))
        for name, raw in ODD_VALUES.items():
            yield Case(f"{where}={name}", marked.replace(_QUOTED_MARK, raw), _kind(path, name))
        usual = _at(TEMPLATES[template], path)
        if isinstance(usual, dict):
            yield from _odd_keys(where, template, path, usual)


def _odd_keys(where: str, template: str, path: Path, usual: dict[str, Any]) -> Iterator[Case]:
    marked = _encoded(_with(TEMPLATES[template], path, {**usual, _MARK: {"a": "b"}}))
    for name, raw in ODD_KEYS.items():
        yield Case(f"{where}+{name}", marked.replace(_QUOTED_MARK, raw), _kind(path, name))
    for key in usual:
        for raw in (b'"twice"', b"null", b"[[]]"):
            pair = json.dumps(key).encode() + b": " + raw
            body = marked.replace(_QUOTED_MARK + b': {"a": "b"}', pair)
            yield Case(f"{where}+{key}={raw.decode()}", body, _kind(path, "twice"))


def _kind(path: Path, name: str) -> str:
    weight = "heaviest " if name in _HEAVIEST else "heavy " if name in _HEAVY else ""
    return weight + ("upper" if len(path) <= _UPPER_LEVELS else "lower")


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(template: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(template)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def reply_of(template: str, body: bytes) -> Reply:
    """What upstream answers a chat with."""
    match template:
        case "chunk" | "error-frame":
            return Reply.stream(text("Hello"), b"data: " + body + b"\n\n", STOP, event({"usage": USAGE}), DONE)
        case "usage":
            return Reply.stream(text("Hello"), STOP, b"data: " + body + b"\n\n", DONE)
        case "error":
            return Reply.raw(body, 429, content_type="application/json")
        case "completion":
            return Reply.raw(body, content_type="application/json")
    return Reply.stream(text("Hello"))  # cut: its cost is looked up
