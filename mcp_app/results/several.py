"""The answers of several models as one result. Pure module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcp_app.results.failures import ToolFailure
from mcp_app.results.output import ToolOutput


@dataclass(frozen=True)
class Told:
    """What one model had to say.

    Attributes:
        time_s: until it had answered, or was waited for no longer.
        output: its answer; None where it failed, and `error` says how.
    """

    model: str
    time_s: float
    output: ToolOutput | None = None
    error: str | None = None
    cost_usd: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether more is to come."""
        return self.output is not None and self.output.data["status"] == "running"


def several_output(told: Sequence[Told]) -> ToolOutput:
    """One result: an answer, a cost, a time or an error of each.

    Raises:
        ToolFailure: all have failed.
    """
    if all(each.output is None for each in told):
        said = "\n\n".join(f"{each.model}: {each.error}" for each in told)
        raise ToolFailure(f"None of the models has answered.\n\n{said}")
    answers = [_data(each) for each in told]
    running = [each.model for each in told if each.is_running]
    data: dict[str, Any] = {
        "status": "running" if running else "completed",
        "answers": answers,
        "cost_usd": _total(answers),
        "note": _note(running),
    }
    head = [data["note"]] if data["note"] else []
    total = [f"[all together: cost {data['cost_usd']:.6f} USD]"] if data["cost_usd"] is not None else []
    text = "\n\n".join([*head, *map(_text, told), *total])
    pictures = [picture for each in told if each.output is not None for picture in each.output.pictures]
    return ToolOutput([text], {name: value for name, value in data.items() if value is not None}, pictures)


def _data(told: Told) -> dict[str, Any]:
    facts: dict[str, Any] = {"model": told.model, "time_s": round(told.time_s, 2)}
    if told.output is None:
        cost = {} if told.cost_usd is None else {"cost_usd": told.cost_usd}
        return {**facts, "status": "failed", "error": told.error, **cost}
    return {**told.output.data, **facts, "answered_by": told.output.data["model"]}


def _text(told: Told) -> str:
    head = f"## {told.model} ({told.time_s:.1f} s)"
    if told.output is None:
        return f"{head}\n\nFailed: {told.error}"
    return "\n\n".join([head, *(text.strip("\n") for text in told.output.texts)])


def _total(answers: Sequence[dict[str, Any]]) -> float | None:
    """What is known to have been spent; None while nothing is."""
    costs = [answer["cost_usd"] for answer in answers if answer.get("cost_usd") is not None]
    return round(sum(costs), 9) if costs else None


def _note(running: Sequence[str]) -> str | None:
    if not running:
        return None
    return f"Still running: {', '.join(running)}. Call llm_chat_result with the stream_id of each for the rest."
