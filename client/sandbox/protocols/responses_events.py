"""An answer as the events of OpenAI's Responses. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from client.sandbox.generations import Generation

Event = dict[str, Any]
_CODES = {"rate_limit_exceeded": "rate_limit_exceeded", "invalid_prompt": "invalid_prompt"}


class ResponseEvents:
    """Makes the events of one answer: one item at a time, each with its number."""

    def __init__(self, generation: Generation, asked: dict[str, Any]) -> None:
        self._generation = generation
        self._asked = asked
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: str | None = None  # type of the item under way, which is the last

    def start(self) -> Iterator[Event]:
        """Ahead of all items."""
        for kind in ("created", "in_progress"):
            yield self._event(f"response.{kind}", response=self.response("in_progress"))

    def show(self, delta: dict[str, Any]) -> Iterator[Event]:
        """A piece of the answer."""
        for call in delta.get("tool_calls") or []:
            function = call["function"]
            if "id" in call:
                yield from self._begin("function_call", call_id=call["id"], name=function["name"], arguments="")
            if function["arguments"]:
                self._output[-1]["arguments"] += function["arguments"]
                yield self._piece("function_call_arguments.delta", delta=function["arguments"])
        if delta.get("reasoning"):
            if self._open != "reasoning":
                yield from self._begin("reasoning", summary=[])
                self._output[-1]["summary"].append({"type": "summary_text", "text": ""})
                part = {"type": "summary_text", "text": ""}
                yield self._piece("reasoning_summary_part.added", summary_index=0, part=part)
            self._output[-1]["summary"][0]["text"] += delta["reasoning"]
            yield self._piece("reasoning_summary_text.delta", summary_index=0, delta=delta["reasoning"])
        for detail in delta.get("reasoning_details") or []:
            if "signature" in detail:
                if self._open != "reasoning":
                    yield from self._begin("reasoning", summary=[])
                self._output[-1]["encrypted_content"] = detail["signature"]
        for image in delta.get("images") or []:
            yield from self._begin("image_generation_call", result=None)
            self._output[-1]["result"] = image["image_url"]["url"].partition(",")[2]
        for annotation in delta.get("annotations") or []:
            yield from self._be_saying("output_text")
            cited = {"type": "url_citation", **annotation["url_citation"]}
            known = self._output[-1]["content"][-1]["annotations"]
            known.append(cited)
            at = {"content_index": 0, "annotation_index": len(known) - 1}
            yield self._piece("output_text.annotation.added", **at, annotation=cited)
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            if delta.get(name):
                yield from self._be_saying(kind)
                field = "text" if kind == "output_text" else "refusal"
                self._output[-1]["content"][-1][field] += delta[name]
                beside: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
                yield self._piece(f"{kind}.delta", content_index=0, delta=delta[name], **beside)

    def finish(self, finish_reason: str) -> Iterator[Event]:
        """Behind all items."""
        is_cut = finish_reason == "length"
        yield from self._close("incomplete" if is_cut else "completed")
        response = self.response("incomplete" if is_cut else "completed")
        if is_cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        yield self._event(f"response.{response['status']}", response=response)

    def fail(self, message: str, error_type: str) -> Iterator[Event]:
        """In the place of the end."""
        if self._open is not None:
            self._output[-1]["status"] = "incomplete"
        error = {"code": _CODES.get(error_type, "server_error"), "message": message}
        response = {**self.response("failed"), "error": error}
        yield {**self._event("response.failed", response=response), "error_type": error_type}

    def response(self, status: str) -> dict[str, Any]:
        """The object so far."""
        has_ended = status not in ("in_progress", "failed")
        return {
            "id": self._generation.id,
            "object": "response",
            "created_at": self._generation.created,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "frequency_penalty": None,
            "incomplete_details": None,
            "instructions": self._asked.get("instructions"),
            "max_output_tokens": self._asked.get("max_output_tokens"),
            "metadata": self._asked.get("metadata"),
            "model": self._generation.model["canonical_slug"],
            "output": [{**item} for item in self._output],
            "parallel_tool_calls": True,
            "presence_penalty": None,
            "previous_response_id": None,
            "service_tier": None,
            "store": False,
            "temperature": self._asked.get("temperature"),
            "tool_choice": self._asked.get("tool_choice") or "auto",
            "tools": self._asked.get("tools") or [],
            "top_p": self._asked.get("top_p"),
            "usage": self._usage() if has_ended else None,
        }

    def _be_saying(self, kind: str) -> Iterator[Event]:
        if self._open == kind:
            return
        yield from self._begin("message", role="assistant", content=[])
        self._open = kind
        is_text = kind == "output_text"
        part: dict[str, Any] = {"type": kind, "text": ""} if is_text else {"type": kind, "refusal": ""}
        if is_text:
            part |= {"annotations": [], "logprobs": []}
        self._output[-1]["content"].append(part)
        yield self._piece("content_part.added", content_index=0, part=_empty(part))

    def _begin(self, kind: str, **item: Any) -> Iterator[Event]:
        yield from self._close("completed")
        self._open = kind
        id_ = f"{kind}_{self._generation.id}_{len(self._output)}"
        self._output.append({"id": id_, "type": kind, "status": "in_progress", **item})
        added = {**self._output[-1], **({"summary": []} if kind == "reasoning" else {})}
        added |= {"content": []} if kind == "message" else {}
        yield self._event("response.output_item.added", output_index=len(self._output) - 1, item=added)

    def _close(self, status: str) -> Iterator[Event]:
        if self._open is None:
            return
        item = self._output[-1]
        match item["type"]:
            case "message":
                part = item["content"][-1]
                field = "text" if self._open == "output_text" else "refusal"
                beside: dict[str, Any] = {"logprobs": []} if field == "text" else {}
                yield self._piece(f"{self._open}.done", content_index=0, **{field: part[field]}, **beside)
                yield self._piece("content_part.done", content_index=0, part=part)
            case "reasoning" if item["summary"]:
                part = item["summary"][0]
                yield self._piece("reasoning_summary_text.done", summary_index=0, text=part["text"])
                yield self._piece("reasoning_summary_part.done", summary_index=0, part=part)
            case "function_call" if status == "completed":
                done = {"name": item["name"], "arguments": item["arguments"]}
                yield self._piece("function_call_arguments.done", **done)
        self._open = None
        item["status"] = status
        yield self._event("response.output_item.done", output_index=len(self._output) - 1, item={**item})

    def _piece(self, kind: str, **fields: Any) -> Event:
        place = {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}
        return self._event(f"response.{kind}", **place, **fields)

    def _event(self, kind: str, **fields: Any) -> Event:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **fields}

    def _usage(self) -> dict[str, Any]:
        usage = self._generation.usage()
        costs = usage["cost_details"]
        told = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"]},
            "total_tokens": usage["total_tokens"],
            "cost": usage["cost"],
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": costs["upstream_inference_cost"],
                "upstream_inference_input_cost": costs["upstream_inference_prompt_cost"],
                "upstream_inference_output_cost": costs["upstream_inference_completions_cost"],
            },
        }
        searched = usage.get("server_tool_use_details")
        return told if searched is None else {**told, "server_tool_use_details": searched}


def _empty(part: dict[str, Any]) -> dict[str, Any]:
    return {name: [] if isinstance(value, list) else value for name, value in part.items()}
