"""A load client that is cheap enough not to be what is measured (`python -m tests.bench.load < plan.json`).

One process, one `epoll` loop, any number of streams. It counts the marks of `frames`, checks that each answer came
whole and ended as its format says, and takes the delay of every event that carries its time. Parsing nothing else, it
costs about as much as its system calls. The result is one JSON object on standard output.
"""

from __future__ import annotations

import dataclasses
import gc
import heapq
import json
import re
import select
import socket
import sys
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic_ns

from tests.bench.frames import LAST_CHUNK, MARK, STAMP

TAG = "00000000"
"""Stands for the number of the request in the body of a plan."""

_ENDS = {
    "typed": re.compile(rb'event: done\r?\n.*"completed": ?true', re.DOTALL),
    "openai": re.compile(rb"data: \[DONE\]"),
}
"""What the last bytes of a whole answer hold."""
_TAIL_BYTES = 512
_BUFFER_BYTES = 262_144
_STREAM_IDS = 64
_STALLED_BUFFER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask, how often, and when to stop.

    Attributes:
        format: `typed` or `openai`; tells how an answer ends.
        paths: taken in turn, one a request.
        body: of a POST, with `TAG` where the number of the request goes; None: GET.
        streams: open at the same time.
        requests: at most, in all.
        content_events: of each whole answer.
        seconds: for so long new requests are started; 0: until there were `requests`.
        ramp_s: time over which the first request of each stream is spread.
        warm_s: delays and gaps before this are not counted.
        leave_after_events, leave_after_s: the caller closes the connection then.
        pause_s: time between two small reads of a reader that hardly reads; 0: as it comes.
        timeout_s: what runs then is given up and counts as failed.
    """

    port: int
    format: str
    paths: list[str]
    body: str | None
    headers: dict[str, str]
    streams: int
    requests: int
    content_events: int
    seconds: float = 0.0
    ramp_s: float = 0.0
    warm_s: float = 0.0
    leave_after_events: int = 0
    leave_after_s: float = 0.0
    pause_s: float = 0.0
    timeout_s: float = 60.0


@dataclass(slots=True)
class Result:
    """What came of a plan; times in microseconds.

    Attributes:
        whole: answers that came complete.
        failed: answers that did not; `first_error` says why the first one.
        marks: content events received.
        reads: system calls that brought data.
        wall_s: from the first request to the last end.
        left_ns: number of a request → when the caller closed its connection.
        stream_ids: the first ones, where the server names them.
    """

    whole: int = 0
    failed: int = 0
    first_error: str = ""
    marks: int = 0
    reads: int = 0
    wall_s: float = 0.0
    first_event_p50_us: float | None = None
    first_event_p99_us: float | None = None
    delay_p50_us: float | None = None
    delay_p99_us: float | None = None
    gap_p99_us: float | None = None
    left_ns: dict[str, int] = field(default_factory=dict)
    stream_ids: list[str] = field(default_factory=list)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which this share of the values lies."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Stream:
    """One caller: a connection and the answer it reads."""

    __slots__ = ("awaits_first", "begun_ns", "head", "last_ns", "marks", "running", "sock", "tag", "tail")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.running = False
        self.awaits_first = False
        self.tag = 0
        self.begun_ns = 0
        self.last_ns = 0
        self.marks = 0
        self.head: bytes | None = b""
        self.tail = b""


class Load:
    """Carries out a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._result = Result()
        self._epoll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)[: 4096 if plan.pause_s else _BUFFER_BYTES]
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._asked = self._running = self._timer_number = 0
        self._start_ns = monotonic_ns()
        self._firsts, self._delays, self._gaps = array("q"), array("q"), array("q")
        before, _, after = (plan.body or "").partition(TAG)
        self._body = before.encode(), after.encode()
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in plan.headers.items())

    def run(self) -> Result:
        """Returns when every answer has ended or the time is over."""
        plan = self._plan
        for number in range(plan.streams):
            self._later(plan.ramp_s * number / plan.streams, partial(self._ask, Stream()))
        end_ns = self._start_ns + int(plan.timeout_s * 1e9)
        while (self._running or self._timers) and monotonic_ns() < end_ns:
            for fd, _ in self._epoll.poll(self._timeout_s()):
                self._on_readable(fd)
            self._run_timers()
        self._result.failed += self._running
        if self._running and not self._result.first_error:
            self._result.first_error = f"{self._running} answers had not ended after {plan.timeout_s:g} s"
        return self._finished_result()

    def _on_readable(self, fd: int) -> None:
        stream = self._streams.get(fd)
        if stream is None:
            return
        if self._plan.pause_s:
            self._pause(stream)
        self._read(stream)

    def _finished_result(self) -> Result:
        result = self._result
        result.wall_s = (monotonic_ns() - self._start_ns) / 1e9
        result.first_event_p50_us, result.first_event_p99_us = (percentile(self._firsts, q) for q in (0.5, 0.99))
        result.delay_p50_us, result.delay_p99_us = (percentile(self._delays, q) for q in (0.5, 0.99))
        result.gap_p99_us = percentile(self._gaps, 0.99)
        return result

    # -- timers --------------------------------------------------------------------------------------------------

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timer_number += 1
        heapq.heappush(self._timers, (monotonic_ns() + int(delay_s * 1e9), self._timer_number, call))

    def _timeout_s(self) -> float:
        if not self._timers:
            return 0.5
        return min(0.5, max(0.0, (self._timers[0][0] - monotonic_ns()) / 1e9))

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= monotonic_ns():
            heapq.heappop(self._timers)[2]()

    # -- requests ------------------------------------------------------------------------------------------------

    def _wants_more(self) -> bool:
        plan = self._plan
        in_time = not plan.seconds or monotonic_ns() - self._start_ns < plan.seconds * 1e9
        return in_time and self._asked < plan.requests

    def _ask(self, stream: Stream) -> None:
        if not self._wants_more():
            return
        stream.tag = self._asked
        self._asked += 1
        self._running += 1
        stream.awaits_first = True
        stream.running, stream.marks, stream.last_ns, stream.head, stream.tail = True, 0, 0, b"", b""
        stream.begun_ns = monotonic_ns()
        try:
            sock = stream.sock or self._connect(stream)
            sock.sendall(self._request(stream.tag))
        except OSError as exc:
            self._end(stream, f"connecting or sending: {exc}")
            return
        if self._plan.leave_after_s:
            self._later(self._plan.leave_after_s, partial(self._leave_if, stream, stream.tag))

    def _connect(self, stream: Stream) -> socket.socket:
        sock = socket.socket()
        if self._plan.pause_s:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLED_BUFFER_BYTES)
        sock.settimeout(5.0)
        sock.connect(("127.0.0.1", self._plan.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._epoll.register(sock, select.EPOLLIN)
        self._streams[sock.fileno()] = stream
        stream.sock = sock
        return sock

    def _request(self, tag: int) -> bytes:
        path = self._plan.paths[tag % len(self._plan.paths)]
        host = f"Host: 127.0.0.1:{self._plan.port}\r\n{self._headers}"
        if self._plan.body is None:
            return f"GET {path} HTTP/1.1\r\n{host}\r\n".encode()
        before, after = self._body
        body = b"%b%08d%b" % (before, tag, after)
        types = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"POST {path} HTTP/1.1\r\n{host}{types}\r\n".encode() + body

    def _pause(self, stream: Stream) -> None:
        """Takes no more from a connection for a while."""
        sock = stream.sock
        assert sock is not None
        self._epoll.modify(sock, 0)

        def go_on() -> None:
            if stream.sock is sock:
                self._epoll.modify(sock, select.EPOLLIN)

        self._later(self._plan.pause_s, go_on)

    # -- answers -------------------------------------------------------------------------------------------------

    def _read(self, stream: Stream) -> None:
        assert stream.sock is not None
        try:
            size = stream.sock.recv_into(self._view)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(stream, f"reading: {exc}")
            return
        now_ns = monotonic_ns()
        if not stream.running:  # it was closed, or says something unasked for, between two requests
            self._disconnect(stream)
            return
        if not size:
            self._end(stream, None if self._ends_well(stream) else "the connection was closed early", close=True)
            return
        self._result.reads += 1
        if stream.head is not None and not self._read_head(stream, size):
            return
        if stream.awaits_first and self._buffer.find(b"data:", 0, size) >= 0:
            stream.awaits_first = False
            self._firsts.append((now_ns - stream.begun_ns) // 1000)
        marks = self._buffer.count(MARK, 0, size)
        if marks:
            self._note_marks(stream, marks, size, now_ns)
        self._keep_tail(stream, size)
        if stream.tail.endswith(LAST_CHUNK):
            self._end(stream, None if self._ends_well(stream) else self._complaint(stream))
        elif 0 < self._plan.leave_after_events <= stream.marks:
            self._leave(stream)

    def _keep_tail(self, stream: Stream, size: int) -> None:
        if size >= _TAIL_BYTES:
            stream.tail = bytes(self._view[size - _TAIL_BYTES : size])
        else:
            stream.tail = (stream.tail + self._view[:size])[-_TAIL_BYTES:]

    def _read_head(self, stream: Stream, size: int) -> bool:
        """Whether the head is complete and one of a stream."""
        head = (stream.head or b"") + self._view[:size]
        end = head.find(b"\r\n\r\n")
        if end < 0:
            stream.head = head
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            self._end(stream, head[:300].decode(errors="replace"), close=True)
            return False
        stream.head = None
        match = re.search(rb"\r\nx-stream-id: *([^\r]+)", head[:end], re.IGNORECASE)
        if match is not None and len(self._result.stream_ids) < _STREAM_IDS:
            self._result.stream_ids.append(match[1].decode())
        return True

    def _note_marks(self, stream: Stream, marks: int, size: int, now_ns: int) -> None:
        stream.marks += marks
        self._result.marks += marks
        is_warm = now_ns - self._start_ns >= self._plan.warm_s * 1e9
        if stream.last_ns and is_warm:
            self._gaps.append((now_ns - stream.last_ns) // 1000)
        stream.last_ns = now_ns
        if is_warm and marks < 32:  # what is sent without pace carries no times
            now_us = now_ns // 1000
            for stamp in STAMP.findall(self._buffer, 0, size):
                self._delays.append(now_us - int(stamp, 16))

    def _ends_well(self, stream: Stream) -> bool:
        whole = stream.marks == self._plan.content_events
        return whole and _ENDS[self._plan.format].search(stream.tail) is not None

    def _complaint(self, stream: Stream) -> str:
        end = stream.tail[-200:].decode(errors="replace")
        return f"{stream.marks} of {self._plan.content_events} content events; it ends with {end!r}"

    def _leave_if(self, stream: Stream, tag: int) -> None:
        if stream.running and stream.tag == tag:
            self._leave(stream)

    def _leave(self, stream: Stream) -> None:
        self._result.left_ns[str(stream.tag)] = monotonic_ns()
        self._end(stream, None, close=True)

    def _end(self, stream: Stream, error: str | None, *, close: bool = False) -> None:
        stream.running = False
        self._running -= 1
        if error is None:
            self._result.whole += 1
        else:
            self._result.failed += 1
            self._result.first_error = self._result.first_error or error
        if close or error is not None:
            self._disconnect(stream)
        if self._wants_more():
            self._later(0.05 if error is not None else 0, partial(self._ask, stream))

    def _disconnect(self, stream: Stream) -> None:
        if stream.sock is None:
            return
        self._streams.pop(stream.sock.fileno(), None)
        with suppress(OSError):
            stream.sock.close()
        stream.sock = None


def main() -> int:
    """Reads a plan from standard input and prints what came of it."""
    plan = Plan(**json.load(sys.stdin))
    gc.freeze()
    gc.disable()
    json.dump(dataclasses.asdict(Load(plan).run()), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
