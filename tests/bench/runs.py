"""One run of the load client against one server, with what it cost the server."""

from __future__ import annotations

import dataclasses
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.frames import Answer
from tests.bench.load import TAG, Plan, Result
from tests.bench.processes import Cores, CpuMeter, pin, resident_mb, stop
from tests.bench.servers import ROOT, Launch, NotInstalled, Place, Server, make_certificate, start_upstream
from tests.support.ports import free_port

_SAMPLE_S = 0.2
PATIENCE_S = 15.0
"""How much longer than its plan says a load client may take."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run brought.

    Attributes:
        events: reasoning and content events that reached callers.
        cpu_s: of the server's processes.
        grown_mb: resident memory of the server at its highest, less what it was before.
        harness_share: of a core, used by upstream and load client together.
        late_share: of the paced events, written over 10 ms late by the upstream.
        max_active: streams open at the upstream at the same time.
    """

    result: Result
    events: float
    cpu_s: float
    grown_mb: float
    harness_share: float
    late_share: float
    max_active: int

    @property
    def us_per_event(self) -> float | None:
        """CPU time of the server."""
        return self.cpu_s * 1e6 / self.events if self.events else None

    @property
    def us_per_request(self) -> float | None:
        """CPU time of the server."""
        return self.cpu_s * 1e6 / self.result.whole if self.result.whole else None


@dataclass(frozen=True, slots=True)
class Running:
    """A load client at work."""

    process: subprocess.Popen[str]
    plan: Plan


class Bench:
    """The harness of one invocation: the upstream, the cores, and how long runs are.

    Attributes:
        seconds: length of a run.
        streams: how many callers the largest scenarios have.
    """

    def __init__(self, folder: Path, cores: Cores, seconds: float, streams: int, upstream_port: int | None) -> None:
        self.seconds = seconds
        self.streams = streams
        self.cores = cores
        self._folder = folder
        self._ports = upstream_port or free_port(), free_port()
        self._upstream: subprocess.Popen[bytes] | None = None
        self._certificate: Path | None = None
        self._launches: dict[str, Launch] = {}

    @contextmanager
    def upstream(self) -> Iterator[None]:
        """Runs the stand-in upstream; it serves TLS too where openssl is there."""
        port, tls_port = self._ports
        try:
            self._certificate = make_certificate(self._folder)
        except NotInstalled:
            tls_port = 0
        self._upstream = start_upstream(port, tls_port or None, self._certificate, self.cores.upstream, self._folder)
        try:
            yield
        finally:
            stop(self._upstream)

    @contextmanager
    def server(self, name: str, launch: Launch, *, tls: bool = False) -> Iterator[Server]:
        """Runs a server in an empty folder of its own."""
        if tls and self._certificate is None:
            raise NotInstalled("openssl is missing: install the Debian package openssl")
        self._launches[name] = launch
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder, prefix=f"{name}-")))
            folder.chmod(0o755)
            certificate = self._certificate if tls else None
            server = launch(Place(folder, self._ports[tls], certificate, self.cores.server))
            stack.callback(server.stop)
            yield server

    def tls_twin(self, server: Server) -> AbstractContextManager[Server]:
        """A second instance of the server that asks the upstream over TLS."""
        return self.server(server.name, self._launches[server.name], tls=True)

    # -- runs ----------------------------------------------------------------------------------------------------

    def load(
        self,
        server: Server,
        answer: Answer,
        *,
        streams: int,
        requests: int,
        extra: Mapping[str, object] | None = None,
        paths: list[str] | None = None,
        **plan: Any,
    ) -> Run:
        """Carries out a plan against a server; `paths` are read with GET in place of asking for the answer."""
        self.ask_upstream("POST", "/reset")
        pids = server.pids
        assert self._upstream is not None
        meter, upstream_meter = CpuMeter(pids), CpuMeter([self._upstream.pid])
        before_mb = peak_mb = resident_mb(pids)
        running = self.begin(server, answer, streams=streams, requests=requests, extra=extra, paths=paths, **plan)
        harness_meter = CpuMeter([running.process.pid])
        end_s = time.monotonic() + running.plan.timeout_s + PATIENCE_S
        load_cpu_s = 0.0
        while running.process.poll() is None and time.monotonic() < end_s:
            load_cpu_s = max(load_cpu_s, harness_meter.seconds())
            peak_mb = max(peak_mb, resident_mb(pids))
            time.sleep(_SAMPLE_S)
        result = self.finish(running)
        stats = self.ask_upstream("GET", "/stats")
        harness_cpu_s = load_cpu_s + upstream_meter.seconds()
        return Run(
            result=result,
            events=result.marks * answer.n / max(1, answer.content_events),
            cpu_s=meter.seconds(),
            grown_mb=max(peak_mb, resident_mb(pids)) - before_mb,
            harness_share=harness_cpu_s / max(result.wall_s, 1e-3),
            late_share=stats["late_events"] / max(1, stats["events"]),
            max_active=stats["max_active"],
        )

    def begin(
        self,
        server: Server,
        answer: Answer,
        *,
        streams: int,
        requests: int,
        extra: Mapping[str, object] | None = None,
        paths: list[str] | None = None,
        **plan: Any,
    ) -> Running:
        """Starts a load client and leaves it at work."""
        body = server.body(dataclasses.replace(answer, tag=0), extra or {})
        assert TAG in body
        whole_plan = Plan(
            port=server.port,
            format=server.format,
            paths=paths or [server.path],
            body=None if paths else body,
            headers=server.headers,
            streams=streams,
            requests=requests,
            content_events=answer.content_events,
            **plan,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=pin(self.cores.load),
        )
        assert process.stdin is not None
        json.dump(dataclasses.asdict(whole_plan), process.stdin)
        process.stdin.close()
        return Running(process, whole_plan)

    def finish(self, running: Running) -> Result:
        """What came of a load client; one that does not end is ended."""
        process = running.process
        assert process.stdout is not None
        if process.poll() is None:
            process.kill()
        with process.stdout:
            text = process.stdout.read()
        process.wait()
        return Result(**json.loads(text)) if text else Result(failed=1, first_error="the load client was stopped")

    def ask_upstream(self, method: str, path: str) -> Any:
        """Statistics of the upstream."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=5)
        try:
            connection.request(method, path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()
