"""Generated requests against `/openapi.json`: `python -m tests.support.schema_fuzz [--requests N] [--seed N]`.

Starts a real server in its sandbox, lets schemathesis ask it whatever the document allows and much that it does not,
and holds every answer against the document: no status of 500 and more, nothing that is not described.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import requests.structures
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished
from schemathesis.generation.case import Case
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER, HookContext

from client.sandbox.models.catalogue import MODELS
from tests.support.api_document import ApiDocument
from tests.support.process import running_server

SERVER_SETTINGS = {
    "API_TIMEOUT": "2",  # a model that stalls must not take the run's time
    "MAX_STREAMS": "100000",
    "OPENROUTER_MAX_RETRIES": "0",
    "STREAM_RETAIN": "60",
    "MCP_ENABLED": "false",
}

_MOST_A_ROUND = 250
_FAULTY = {"sandbox/breaks", "sandbox/hangs-up", "sandbox/stalls"}  # they answer 502 and 504, as they should
_SOUND = sorted(model["id"] for model in MODELS if model["id"] not in _FAULTY)
_WITHOUT_CREDIT = "sandbox/no-credits"
_CHECKS: dict[str, Any] = {
    # what two fields mean together is no matter of a schema: `message` beside `messages` is refused
    "positive_data_acceptance": {"enabled": False},
    # where an answer's id may stand, so may the name of another route, which has other methods
    "allow_header_conformance": {"enabled": False},
    # a stream that was stopped can still be read
    "use_after_free": {"enabled": False},
}


class Fuzz:
    """Asks and counts.

    Attributes:
        counts: answers by operation and status.
        faults: what must not be, each with how often it was and a command that does it again.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.faults: dict[str, tuple[int, str]] = {}
        self._url = url
        self._seed = seed
        self._choose = random.Random(seed)
        self._models = cycle(_SOUND)  # each has its turn, however few requests there are
        self._stream_ids: deque[str] = deque(maxlen=50)
        self._document = ApiDocument(requests.get(f"{url}/openapi.json", timeout=10).json())

    @property
    def requests(self) -> int:
        """How many have been answered."""
        return self.counts.total()

    def run(self, max_examples: int, phases: tuple[str, ...], paths: str = "^/") -> None:
        """One round over the paths that match; the seed of each is another."""
        config = self._config(max_examples, phases)
        schema = schemathesis.openapi.from_url(f"{self._url}/openapi.json", config=config).include(path_regex=paths)
        self._seed += 1
        with self._hooked():
            for event in from_schema(schema).execute():
                if isinstance(event, ScenarioFinished):
                    self._take_failures(event)
                elif isinstance(event, NonFatalError):
                    self._add_fault(f"{event.label}: {event.value}", "")

    def _config(self, max_examples: int, phases: tuple[str, ...]) -> SchemathesisConfig:
        enabled = {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")}
        generation = {"max-examples": max_examples, "no-shrink": True, "database": "none"}
        return SchemathesisConfig.from_dict(
            {
                "seed": self._seed,
                "continue-on-failure": True,
                "generation": generation,
                "checks": _CHECKS,
                "phases": enabled,
                "warnings": False,
            }
        )

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """schemathesis takes hooks for calls from the whole process only."""

        def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
            self._steer(case)

        def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
            self._take(case, response)

        hooks = (schemathesis.hook(before_call), schemathesis.hook(after_call))
        try:
            yield
        finally:
            for hook in hooks:
                GLOBAL_HOOK_DISPATCHER.unregister(hook)

    def _steer(self, case: Case[Any]) -> None:
        """Leads some requests to what chance alone would never find: models and streams that there are."""
        if case.path == "/models/{model_id}" and self._now_and_then(0.4):
            case.path_parameters["model_id"] = self._choose.choice(_SOUND)
        if "stream_id" in case.path_parameters and self._stream_ids and self._now_and_then(0.6):
            case.path_parameters["stream_id"] = self._choose.choice(self._stream_ids)
            self._steer_event_id(case)
        if case.path == "/chat" and case.method.upper() == "POST":
            self._steer_chat(case)

    def _steer_chat(self, case: Case[Any]) -> None:
        if self._now_and_then(0.8):
            case.headers.pop("Last-Event-ID", None)
        else:
            self._steer_event_id(case)
        if self._now_and_then(0.7):
            case.query.clear()
        if isinstance(case.body, dict):
            case.body.setdefault("sandbox", {"tokens_per_s": 0, "tokens": 5})
            if self._now_and_then(0.6):
                case.body["model"] = next(self._models)
            if case.body.get("model") == _WITHOUT_CREDIT:  # the one way to its status
                case.headers.pop("Last-Event-ID", None)
                case.query.clear()
                self._untangle(case.body)
            elif self._now_and_then(0.7):
                self._untangle(case.body)

    def _untangle(self, body: dict[str, Any]) -> None:
        """Takes away what contradicts something else: most of what is generated at random does."""
        for name in ("messages",) if "message" in body else ("history", "system"):
            body.pop(name, None)
        body.pop(self._choose.choice(("disable_reasoning", "reasoning_effort")), None)

    def _steer_event_id(self, case: Case[Any]) -> None:
        stream_id = case.path_parameters.get("stream_id")
        if "Last-Event-ID" in case.headers and self._stream_ids and self._now_and_then(0.8):
            stream_id = stream_id or self._choose.choice(self._stream_ids)
            case.headers["Last-Event-ID"] = f"{stream_id}:{self._choose.randint(0, 4)}"

    def _now_and_then(self, probability: float) -> bool:
        return self._choose.random() < probability

    def _take(self, case: Case[Any], response: Response) -> None:
        method = str(response.request.method)
        self.counts[f"{method} {case.path}", response.status_code] += 1
        if "x-stream-id" in response.headers:
            self._stream_ids.append(response.headers["x-stream-id"][0])
        if response.status_code >= 500 and not _is_told_again(case):
            self._add_fault(f"{method} {case.path}: {response.status_code}", case.as_curl_command())
        if (method.lower(), case.path) in self._document.operations:
            self._hold_against_document(case, response)
        elif response.status_code != 405:
            self._add_fault(f"{method} {case.path}: {response.status_code}, not 405", case.as_curl_command())

    def _hold_against_document(self, case: Case[Any], response: Response) -> None:
        method = str(response.request.method)
        sent = {name: ", ".join(values) for name, values in response.headers.items()}
        headers = requests.structures.CaseInsensitiveDict(sent)
        try:
            self._document.check_answer(method, case.path, response.status_code, headers, response.content)
        except Exception as exc:  # whatever it is: the run goes on, and the fault is reported
            self._add_fault(f"{method} {case.path}: {str(exc)[:300]}", case.as_curl_command())

    def _take_failures(self, event: ScenarioFinished) -> None:
        for case_id, checks in event.recorder.checks.items():
            case = event.recorder.cases[case_id].value
            for check in checks:
                if check.failure_info is not None and not _is_unread(check.name, case):
                    failure = check.failure_info.failure
                    what = f"{failure.operation}: {check.name}: {failure.message[:300]}"
                    self._add_fault(what, check.failure_info.code_sample)

    def _add_fault(self, what: str, command: str) -> None:
        times, first = self.faults.get(what, (0, command))
        self.faults[what] = times + 1, first


def _is_told_again(case: Case[Any]) -> bool:
    """Whether this reads an answer again: of one that broke off it is told with the same status every time."""
    return "stream_id" in case.path_parameters


def _is_unread(check: str, case: Case[Any]) -> bool:
    """With an event id, what stands beside it is not read, and so not refused; nor is a header that nobody knows."""
    if check == "not_a_server_error":
        return _is_told_again(case)
    if check != "negative_data_rejection":
        return False
    return "Last-Event-ID" in case.headers or any("schemathesis-unknown" in name.lower() for name in case.headers)


def fuzz(url: str, seed: int, at_least: int) -> Fuzz:
    """Asks at least so often: once everything, then what there is most to ask of."""
    found = Fuzz(url, seed)
    found.run(_MOST_A_ROUND, ("examples", "coverage", "fuzzing", "stateful"))
    while found.requests < at_least:
        found.run(_MOST_A_ROUND, ("fuzzing",), "^/(chat|models/search|models/{)")
    return found


def _print(found: Fuzz, elapsed_s: float) -> None:
    for (operation, status), count in sorted(found.counts.items()):
        print(f"{operation:40} {status} {count:6}")
    for what, (times, command) in found.faults.items():
        print(f"\n{times} times {what}\n  {command}")
    failed = sum(
        count for (path, status), count in found.counts.items() if status >= 500 and "{stream_id}" not in path
    )
    summary = f"{failed} answers of 500 and more, {len(found.faults)} kinds of faults"
    print(f"\n{found.requests} requests in {elapsed_s:.0f} s; {summary}")


async def _main(at_least: int, seed: int) -> int:
    async with running_server("--sandbox", env=SERVER_SETTINGS) as server:
        started_s = time.monotonic()
        found = await asyncio.to_thread(fuzz, server.url, seed, at_least)
        _print(found, time.monotonic() - started_s)
        log = server.output.decode(errors="replace").splitlines()
    traces = [line for line in log if "Traceback" in line]
    for line in traces:
        print(f"\nIn the server's log: {line}")
    return 1 if found.faults or traces else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.schema_fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="at least so many (10000)")
    parser.add_argument("--seed", type=int, default=1, help="1")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(_main(arguments.requests, arguments.seed)))
