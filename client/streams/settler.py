"""The true cost of an answer that ended before upstream told it.

It is not guessed: OpenRouter's `/generation` knows it some seconds after the end. It is looked up in the background,
a bounded number at a time, and never holds up a reply.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from client.border.fit import count_of, fit_name, header_value
from client.errors import OpenRouterError
from client.streams.figures import StreamFigures
from client.streams.settlement import Settled
from client.streams.steps import take_each
from client.translation.usage import total_cost_of
from client.upstream.openrouter import OpenRouterClient

logger = logging.getLogger(__name__)

_DELAYS_S = (1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_AT_ONCE = 8
_OPENROUTER_IDS = "gen-"
_MOST_PENDING = 1000


class Settler:
    """Looks up what was not told."""

    def __init__(
        self,
        openrouter: OpenRouterClient,
        delays_s: tuple[float, ...] | None = None,
        *,
        figures: StreamFigures | None = None,
    ) -> None:
        self._openrouter = openrouter
        self._figures = StreamFigures() if figures is None else figures
        self._delays_s = _DELAYS_S if delays_s is None else delays_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    @property
    def pending(self) -> int:
        """Look-ups under way."""
        return len(self._tasks)

    def settle(self, stream: Settled) -> None:
        """Begins the look-up for an answer whose cost upstream did not tell."""
        generation_id = stream.generation_id
        if stream.settlement.is_settled or generation_id is None:
            return
        if not generation_id.startswith(_OPENROUTER_IDS) or header_value(generation_id) is None:
            return  # other servers have no /generation, and OpenRouter gives no such ids
        if len(self._tasks) >= _MOST_PENDING:
            logger.warning("stream %s: cost not looked up, %d look-ups are pending", stream.id, _MOST_PENDING)
            return
        stream.settlement.is_sought = True
        task = asyncio.create_task(self._look_up(stream, generation_id), name=f"settle {stream.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Gives up what is pending."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self, stream: Settled, generation_id: str) -> None:
        try:
            await self._ask_until_told(stream, generation_id)
        except Exception:  # what nobody can tell counts as it was reserved
            logger.exception("stream %s: the look-up of its cost failed", stream.id)
        take_each(f"stream {stream.id}", partial(self._figures.note_settled, stream.settlement), stream.note_settled)

    async def _ask_until_told(self, stream: Settled, generation_id: str) -> None:
        for delay_s in self._delays_s:
            await asyncio.sleep(delay_s)
            try:
                async with self._at_once:
                    found = await self._openrouter.get_json("/generation", {"id": generation_id})
            except OpenRouterError as error:
                if error.upstream_status not in (None, 404, 408, 429) and (error.upstream_status or 0) < 500:
                    break
                continue
            data = found.get("data") if isinstance(found, dict) else None
            if not isinstance(data, dict) or data.get("total_cost") is None:
                continue
            usage = usage_of_generation(data)
            if usage["total_cost"] is None:  # it will make no more sense later
                break
            stream.settlement.state(usage)
            logger.info("stream %s settled: generation %s cost %s USD", stream.id, generation_id, usage["total_cost"])
            return
        logger.warning("stream %s: upstream did not tell the cost of generation %s", stream.id, generation_id)


def usage_of_generation(data: dict[str, Any]) -> dict[str, Any]:
    """OpenRouter's generation record in the words of its usage object."""
    prompt = _first_number(data, "native_tokens_prompt", "tokens_prompt")
    completion = _first_number(data, "native_tokens_completion", "tokens_completion")
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": None if prompt is None or completion is None else prompt + completion,
        "cost": data.get("total_cost"),
        "is_byok": data.get("is_byok"),
        "cost_details": {"upstream_inference_cost": data.get("upstream_inference_cost")},
    }
    usage["total_cost"] = total_cost_of(usage)
    for field, name in (("generation_id", "id"), ("model", "model"), ("provider", "provider_name")):
        usage[field] = fit_name(data.get(name))
    return usage


def _first_number(data: dict[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := count_of(data.get(name))) is not None), None)
