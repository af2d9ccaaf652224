"""What the sandbox charges, and what it tells about it afterwards at `/generation` and `/key`."""

from __future__ import annotations

import secrets
import string
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from client.sandbox.models.answers import Piece
from client.sandbox.models.catalogue import PROVIDER, Model

KEPT = 1000
_ALPHABET = string.ascii_letters + string.digits


def new_generation_id() -> str:
    """`gen-<epoch seconds>-<20 letters and digits>`."""
    return f"gen-{int(time.time())}-" + "".join(secrets.choice(_ALPHABET) for _ in range(20))


@dataclass(slots=True)
class Generation:
    """One answer while it is made: its identity and its meter.

    Attributes:
        finish_reason: None while it runs, and when it was cut.
        created: epoch seconds.
        started_s, first_token_s, ended_s: `time.monotonic()`.
    """

    model: Model
    prompt_tokens: int
    streamed: bool
    id: str = field(default_factory=new_generation_id)
    created: int = field(default_factory=lambda: int(time.time()))
    tokens: dict[str, int] = field(default_factory=lambda: {"content": 0, "reasoning": 0, "image": 0})
    server_tool_use: dict[str, int] | None = None
    finish_reason: str | None = None
    cancelled: bool = False
    started_s: float = field(default_factory=time.monotonic)
    first_token_s: float | None = None
    ended_s: float | None = None

    def count(self, piece: Piece) -> None:
        """Meters a piece that was made."""
        self.first_token_s = self.first_token_s or time.monotonic()
        self.tokens[piece.kind] += piece.tokens

    @property
    def completion_tokens(self) -> int:
        return sum(self.tokens.values())

    @property
    def prompt_cost(self) -> Decimal:
        return self.prompt_tokens * Decimal(self.model["pricing"]["prompt"])

    @property
    def completion_cost(self) -> Decimal:
        """Images have a price of their own where the model has one."""
        pricing = self.model["pricing"]
        image_price = Decimal(pricing.get("image_output", pricing["completion"]))
        text_tokens = self.completion_tokens - self.tokens["image"]
        return text_tokens * Decimal(pricing["completion"]) + self.tokens["image"] * image_price

    @property
    def search_cost(self) -> Decimal:
        searches = (self.server_tool_use or {}).get("web_search_requests", 0)
        return searches * Decimal(self.model["pricing"].get("web_search", "0"))

    @property
    def total_cost(self) -> Decimal:
        return self.prompt_cost + self.completion_cost + self.search_cost

    def usage(self) -> dict[str, Any]:
        """The `usage` object of the last chunk."""
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "cost": float(self.total_cost),
            "is_byok": False,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "audio_tokens": 0,
                "video_tokens": 0,
            },
            "cost_details": {
                "upstream_inference_cost": float(self.prompt_cost + self.completion_cost),
                "upstream_inference_prompt_cost": float(self.prompt_cost),
                "upstream_inference_completions_cost": float(self.completion_cost),
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.tokens["reasoning"],
                "image_tokens": self.tokens["image"],
                "audio_tokens": 0,
            },
        }
        return usage if self.server_tool_use is None else {**usage, "server_tool_use_details": self.server_tool_use}

    def record(self) -> dict[str, Any]:
        """The `data` of `GET /generation`."""
        cost = float(self.total_cost)
        native = {
            "native_tokens_prompt": self.prompt_tokens,
            "native_tokens_completion": self.completion_tokens,
            "native_tokens_completion_images": self.tokens["image"],
            "native_tokens_reasoning": self.tokens["reasoning"],
            "native_tokens_cached": 0,
        }
        return {
            "id": self.id,
            "model": self.model["canonical_slug"],
            "provider_name": PROVIDER,
            "created_at": datetime.fromtimestamp(self.created, UTC).isoformat(),
            "total_cost": cost,
            "usage": cost,
            "upstream_inference_cost": 0,
            "cache_discount": None,
            "is_byok": False,
            "tokens_prompt": self.prompt_tokens,
            "tokens_completion": self.completion_tokens,
            **native,
            "num_media_prompt": None,
            "num_media_completion": None,
            "num_input_audio_prompt": None,
            "num_search_results": 2 if self.server_tool_use else None,
            "num_fetches": None,
            "streamed": self.streamed,
            "cancelled": self.cancelled,
            "finish_reason": self.finish_reason,
            "native_finish_reason": self.finish_reason,
            "latency": _span_ms(self.started_s, self.first_token_s),
            "generation_time": _span_ms(self.started_s, self.ended_s),
            "moderation_latency": None,
            "provider_responses": [{"provider_name": PROVIDER, "status": 200, "is_byok": False}],
            **dict.fromkeys(_UNSET),
            "api_type": "completions",
            "data_region": "global",
            "origin": "",
        }


_UNSET = (
    "app_id",
    "external_user",
    "http_referer",
    "preset_id",
    "request_id",
    "router",
    "service_tier",
    "session_id",
    "upstream_id",
    "user_agent",
    "web_search_engine",
    "workspace_id",
)


def _span_ms(start_s: float, end_s: float | None) -> int | None:
    return None if end_s is None else round((end_s - start_s) * 1000)


class Generations:
    """The last answers that ended, bounded.

    Args:
        settle_s: how long after its end an answer is still unknown, as at OpenRouter.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._ended: OrderedDict[str, Generation] = OrderedDict()
        self.spent = Decimal(0)

    def settle(self, generation: Generation) -> None:
        """Takes in an answer that ended, however it did."""
        generation.ended_s = time.monotonic()
        self.spent += generation.total_cost
        self._ended[generation.id] = generation
        if len(self._ended) > KEPT:
            self._ended.popitem(last=False)

    def find(self, generation_id: str) -> Generation | None:
        """The answer of this id, once it has settled."""
        found = self._ended.get(generation_id)
        if found is None or found.ended_s is None:
            return None
        return found if time.monotonic() - found.ended_s >= self._settle_s else None
