"""What the answers of a process did so far, as plain numbers that somebody may read now and then.

Nothing here is done per event, and per read of upstream there is one look into a short list of bounds; everything
else is noted when an answer ends. Histograms and their bounds follow OpenTelemetry's conventions for GenAI clients
(https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-metrics.md). No I/O, no
clock; how figures are published is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TypeVar

from client.border.fit import count_of, fit_name
from client.streams.histogram import SECONDS, TOKENS, Histogram
from client.streams.settlement import Settlement
from client.streams.stream import Stream

OTHER = "other"
UNKNOWN = "unknown"
_MOST_MODELS = 50
_LONGEST_NAME = 200
_OUR_OWN = frozenset({"shutting_down", "internal"})
"""Failures of answers that are not upstream's."""

Key = TypeVar("Key", bound=Hashable)


class Histograms(dict[Key, Histogram]):
    """Histograms with the same bounds, each made when it is asked for first."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds

    def __missing__(self, key: Key) -> Histogram:
        histogram = self[key] = Histogram(self._bounds)
        return histogram


class BoundedNames:
    """Keeps a label from having ever more values: names after the first `most` are called `other`."""

    def __init__(self, most: int = _MOST_MODELS) -> None:
        self._most = most
        self._names: set[str] = set()

    def bounded(self, name: str | None) -> str:
        """The name to count under; nothing is `unknown`."""
        if name in self._names:  # as most are
            return name
        name = fit_name(name, _LONGEST_NAME + 1)
        if name is None:
            return UNKNOWN
        if name not in self._names:
            if len(self._names) >= self._most or len(name) > _LONGEST_NAME:
                return OTHER
            self._names.add(name)
        return name


class StreamFigures:
    """Sums over all streams of the process. Models are those that answered, never what a caller asked for.

    Attributes:
        ended: answers by outcome: `completed`, `failed`, or the word for which they were stopped.
        errors: failures of upstream by type, those after which it was asked again included.
        retries: attempts after the first.
        stalls: answers that ended because upstream was silent for too long.
        resumes: connections that went on with a stream after an event they had.
        events, event_bytes: of the streams that have ended.
        gaps_s: seconds between the reads that brought events.
        first_chunk_s: seconds from request to first token, by model.
        durations_s: seconds that answers took, by model and error type (empty: none).
        tokens: tokens of an answer, by model and `input` or `output`.
        cost_usd: by model; settled costs included.
        settled, settled_usd: costs that had to be looked up and were found.
        unsettled: costs that were looked up in vain.
    """

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.retries = 0
        self.stalls = 0
        self.resumes = 0
        self.events = 0
        self.event_bytes = 0
        self.gaps_s = Histogram(SECONDS)
        self.first_chunk_s: Histograms[str] = Histograms(SECONDS)
        self.durations_s: Histograms[tuple[str, str]] = Histograms(SECONDS)
        self.tokens: Histograms[tuple[str, str]] = Histograms(TOKENS)
        self.cost_usd: dict[str, float] = {}
        self.settled = 0
        self.settled_usd = 0.0
        self.unsettled = 0
        self._models = BoundedNames()

    def note_end(self, stream: Stream) -> None:
        """An answer has ended."""
        pump = stream.pump
        translator = pump.translator
        failure = translator.failure
        model = self._models.bounded(translator.model)
        self.ended[stream.stop_reason or ("completed" if failure is None else "failed")] += 1
        self.events += stream.log.count
        self.event_bytes += stream.log.written_bytes
        self.retries += pump.retries
        if pump.retried:
            self.errors.update(pump.retried)
        self.stalls += pump.has_stalled
        if failure is not None and failure.type not in _OUR_OWN:
            self.errors[failure.type] += 1
        error = "" if failure is None else failure.type
        self.durations_s[model, error].observe(max(0.0, stream.age_s))
        if translator.first_token_s is not None:
            self.first_chunk_s[model].observe(translator.first_token_s - translator.started_s)
        self._note_usage(model, stream.settlement)

    def note_settled(self, settlement: Settlement) -> None:
        """The look-up of a cost has ended, with a cost or without."""
        usage = settlement.usage
        if usage is None:
            self.unsettled += 1
            return
        self.settled += 1
        self.settled_usd += settlement.total_cost or 0.0
        name = usage.get("model")
        self._note_usage(self._models.bounded(name if isinstance(name, str) else None), settlement)

    def _note_usage(self, model: str, settlement: Settlement) -> None:
        usage = settlement.usage
        if usage is None:
            return
        for direction, field in (("input", "prompt_tokens"), ("output", "completion_tokens")):
            count = count_of(usage.get(field))
            if count is not None:
                self.tokens[model, direction].observe(count)
        cost_usd = settlement.total_cost
        if cost_usd is not None:
            self.cost_usd[model] = self.cost_usd.get(model, 0.0) + cost_usd
