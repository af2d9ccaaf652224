"""Examples of the document: what the sandbox really answers, shortened nowhere but in the number of pieces."""

from __future__ import annotations

from typing import Any

STREAM_ID = "ABrSsdCkOzbMifEIbhnwag"

CHAT_REQUESTS: dict[str, Any] = {
    "question": {
        "summary": "One question",
        "value": {"message": "Why is the sky blue?", "model": "sandbox/search"},
    },
    "conversation": {
        "summary": "A conversation, thinking a little, with a way out",
        "value": {
            "messages": [
                {"role": "system", "content": "Answer in one sentence."},
                {"role": "user", "content": "Why is the sky blue?"},
            ],
            "model": "sandbox/reasoner",
            "fallbacks": ["sandbox/echo"],
            "reasoning_effort": "low",
            "grace_s": 60,
        },
    },
    "tools": {
        "summary": "A function the model may call",
        "value": {
            "message": "What is the weather in Oslo?",
            "model": "sandbox/tools",
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "get_weather",
                        "parameters": {
                            "type": "object",
                            "properties": {"city": {"type": "string"}},
                            "required": ["city"],
                        },
                    },
                }
            ],
        },
    },
    "whole": {
        "summary": "One JSON reply instead of events",
        "value": {"message": "Why is the sky blue?", "model": "sandbox/search", "stream": False},
    },
}

_USAGE: dict[str, Any] = {
    "prompt_tokens": 25,
    "completion_tokens": 14,
    "total_tokens": 39,
    "cost": 0.005039,
    "is_byok": False,
    "server_tool_use_details": {"web_search_requests": 1, "tool_calls_requested": 1, "tool_calls_executed": 1},
    "generation_id": "gen-1795539172-UYyGPIR8yRPOEKybg7iD",
    "model": "sandbox/search-20260101",
    "provider": "Sandbox",
    "total_cost": 0.005039,
    "duration_ms": 284,
    "time_to_first_token_ms": 3,
    "tokens_per_second": 49.82,
}
_CITATION: dict[str, Any] = {
    "type": "url_citation",
    "url_citation": {
        "url": "https://example.com/page-1",
        "title": "Page 1",
        "content": "A page about Why is the sky blue?",
        "start_index": 0,
        "end_index": 0,
    },
}
_NO_CREDITS: dict[str, Any] = {
    "error": "OpenRouter refused for lack of credit; set max_tokens to at most 6553, or add credits. OpenRouter "
    "says: This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only "
    "afford 6553.",
    "type": "insufficient_credits",
    "status": 402,
    "retryable": False,
    "upstream": {
        "code": 402,
        "message": "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but "
        "can only afford 6553.",
        "metadata": {"limit_source": "openrouter_credits"},
    },
}

EVENTS: dict[str, Any] = {
    "start": {
        "stream_id": STREAM_ID,
        "generation_id": "gen-1795539172-UYyGPIR8yRPOEKybg7iD",
        "model": "sandbox/search-20260101",
        "provider": "Sandbox",
    },
    "reasoning": {"text": "Thought"},
    "content": {"text": "Two"},
    "refusal": {"text": "I'm sorry,"},
    "tool_call_delta": {
        "index": 0,
        "id": "call_2423fbb3e5d27baba5e11545",
        "name": "get_weather",
        "arguments": "",
    },
    "tool_call": {
        "index": 0,
        "id": "call_2423fbb3e5d27baba5e11545",
        "name": "get_weather",
        "arguments": '{"city": "Oslo"}',
        "complete": True,
    },
    "annotation": _CITATION,
    "image": {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": 0},
    "audio": {"id": "audio_1", "data": "UklGRg==", "transcript": "Hello"},
    "reasoning_details": {
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Thought 1: weigh the question once more. ",
                "format": "anthropic-claude-v1",
                "index": 0,
                "signature": "Bnu8bextrr4QoEhqBdH96RSAMUnvkjsyjIekiHkP6WM=",
            }
        ]
    },
    "usage": _USAGE,
    "error": _NO_CREDITS,
    "done": {"completed": True, "finish_reason": "stop", "native_finish_reason": "stop"},
}

STREAM = """\
event: start
id: ABrSsdCkOzbMifEIbhnwag:1
data: {"stream_id":"ABrSsdCkOzbMifEIbhnwag","generation_id":"gen-1795539172-UYyGPIR8yRPOEKybg7iD",\
"model":"sandbox/search-20260101","provider":"Sandbox"}

event: annotation
id: ABrSsdCkOzbMifEIbhnwag:2
data: {"type":"url_citation","url_citation":{"url":"https://example.com/page-1","title":"Page 1",\
"content":"A page about Why is the sky blue?","start_index":0,"end_index":0}}

event: content
id: ABrSsdCkOzbMifEIbhnwag:3
data: {"text":"Two"}

event: content
id: ABrSsdCkOzbMifEIbhnwag:4
data: {"text":" pages"}

event: usage
id: ABrSsdCkOzbMifEIbhnwag:5
data: {"prompt_tokens":25,"completion_tokens":14,"total_tokens":39,"cost":0.005039,"is_byok":false,\
"generation_id":"gen-1795539172-UYyGPIR8yRPOEKybg7iD","model":"sandbox/search-20260101","provider":"Sandbox",\
"total_cost":0.005039,"duration_ms":284,"time_to_first_token_ms":3,"tokens_per_second":49.82}

event: done
id: ABrSsdCkOzbMifEIbhnwag:6
data: {"completed":true,"finish_reason":"stop","native_finish_reason":"stop"}

"""

CHAT_REPLY: dict[str, Any] = {
    "id": "gen-1795539172-U4tMB0iM3N3IcEC22ecd",
    "model": "sandbox/search-20260101",
    "provider": "Sandbox",
    "content": "Two pages speak of Why is the sky blue? [1][2]. Both are made up.",
    "reasoning": None,
    "reasoning_details": [],
    "refusal": None,
    "tool_calls": [],
    "annotations": [_CITATION],
    "images": [],
    "finish_reason": "stop",
    "native_finish_reason": "stop",
    "usage": {**_USAGE, "settled": True},
}

STREAM_RESULT = {**CHAT_REPLY, "stream_id": STREAM_ID, "running": False}

STREAM_SUMMARY: dict[str, Any] = {
    "stream_id": STREAM_ID,
    "generation_id": "gen-1795539172-UYyGPIR8yRPOEKybg7iD",
    "model": "sandbox/search-20260101",
    "state": "finished",
    "finish_reason": "stop",
    "created_at": "2026-11-24T16:52:52.114+00:00",
    "age_s": 12.402,
    "protocol": "chat",
    "readers": 0,
    "events": 19,
}

MODEL: dict[str, Any] = {
    "id": "sandbox/refuser",
    "canonical_slug": "sandbox/refuser-20260101",
    "name": "Sandbox: Refuser",
    "description": "Refuses every request, politely.",
    "context_length": 131072,
    "pricing": {"prompt": "0.0000002", "completion": "0.0000002"},
}
"""The members that most callers read; there are more."""

HEALTH: dict[str, Any] = {
    "status": "ok",
    "version": "0.1.0",
    "uptime_s": 2.104,
    "sandbox": True,
    "default_model": "sandbox/reasoner",
    "max_body_bytes": 33554432,
    "streams": {"active": 0, "readers": 0, "kept": 0, "log_bytes": 0},
    "catalogue": {"models": 0, "age_s": None},
}

USAGE: dict[str, Any] = {
    "data": [
        {
            "day": "2026-11-24",
            "caller": "phone",
            "model": "sandbox/reasoner-20260101",
            "requests": 3,
            "prompt_tokens": 78,
            "completion_tokens": 105,
            "cost_usd": 0.001809,
            "settled_cost_usd": 0.001809,
            "unsettled": 0,
        }
    ],
    "first_day": "2026-10-26",
    "last_day": "2026-11-24",
    "total_cost_usd": 0.001809,
    "total_settled_cost_usd": 0.001809,
    "stored": True,
    "budget": {
        "limit_usd": 5.0,
        "spent_usd": 0.001809,
        "reserved_usd": 0.0,
        "resets_at": "2026-11-25T00:00:00+00:00",
    },
}

FAILURES: dict[str, Any] = {
    "invalid_json": {
        "error": "The body is not valid JSON: Expecting value at line 1, column 1.",
        "type": "invalid_json",
        "status": 400,
        "retryable": False,
    },
    "unauthorized": {
        "error": "Send a token of this server as Authorization: Bearer <token>.",
        "type": "unauthorized",
        "status": 401,
        "retryable": False,
    },
    "forbidden": {
        "error": "Pages of https://elsewhere.example may not call this server; list it in server.cors_origins.",
        "type": "forbidden",
        "status": 403,
        "retryable": False,
    },
    "no_stream": {
        "error": "There is no such stream; it may have expired (streams.retain_s).",
        "type": "not_found",
        "status": 404,
        "retryable": False,
    },
    "no_model": {
        "error": "There is no model sandbox/eco; did you mean sandbox/echo?",
        "type": "not_found",
        "status": 404,
        "retryable": False,
        "suggestions": ["sandbox/echo"],
    },
    "payload_too_large": {
        "error": "Maximum request body size 33554432 exceeded (server.max_body_bytes).",
        "type": "payload_too_large",
        "status": 413,
        "retryable": False,
    },
    "unsupported_media_type": {
        "error": "The body must be sent as Content-Type: application/json, not text/plain.",
        "type": "unsupported_media_type",
        "status": 415,
        "retryable": False,
    },
    "invalid_request": {
        "error": "message: is missing; give message (text) or messages (a list)",
        "type": "invalid_request",
        "status": 422,
        "retryable": False,
        "details": [{"where": "message", "what": "is missing; give message (text) or messages (a list)"}],
    },
    "overloaded": {
        "error": "The server is at its limit: 1000 answers are running, as many as streams.max_active allows. Try "
        "again later.",
        "type": "overloaded",
        "status": 503,
        "retryable": True,
        "retry_after_s": 5.0,
    },
    "cut_off": {
        "error": "OpenRouter or the provider failed (code 502); try again. OpenRouter says: Network connection lost.",
        "type": "upstream_unavailable",
        "status": 502,
        "retryable": True,
        "upstream": {
            "code": 502,
            "provider": "Sandbox",
            "message": "Network connection lost.",
            "metadata": {"error_type": "provider_unavailable"},
        },
        "partial": {
            **CHAT_REPLY,
            "model": "sandbox/breaks-20260101",
            "content": "1 2 3 4 5 6 7 8 ",
            "annotations": [],
            "finish_reason": "error",
            "native_finish_reason": None,
            "usage": {"settled": False},
        },
    },
}
