"""A stand-in OpenRouter that is cheap enough not to be what is measured (`python -m tests.bench.upstream --port N`).

One process, one `epoll` loop, one clock for all streams. A paced event costs a formatted time and a `send`; an answer
without pace is sent from memory in large pieces. `GET /stats` tells what happened since the last `POST /reset`.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import re
import select
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic_ns

from tests.bench.frames import OPENING, PACED_REASONING, Answer, ending, flood, parse_answer, stamped

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PIECE_BYTES = 131_072
_LATE_NS = 10_000_000
"""An event this much behind its time counts as late: the harness is full."""


class Connection:
    """A connection of a gateway and the answer that runs on it.

    Attributes:
        answer: None between requests.
        sent: events of the answer that were written.
        due_ns: when the next one is due; 0 in an answer without pace.
        unsent: what the socket did not take yet.
        rest: pieces that follow `unsent`.
    """

    __slots__ = ("answer", "due_ns", "inbox", "rest", "secured", "sent", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.secured = not isinstance(sock, ssl.SSLSocket)
        self.inbox = bytearray()
        self.answer: Answer | None = None
        self.sent = 0
        self.due_ns = 0
        self.unsent: memoryview = memoryview(b"")
        self.rest: Iterator[memoryview] = iter(())


class Upstream:
    """Listens on one port for plain HTTP and, with a certificate, on another one for HTTPS."""

    def __init__(self, port: int, tls_port: int | None, certificate: str | None) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self._connections: dict[int, Connection] = {}
        self._due: list[tuple[int, int, Connection]] = []
        self._listen(port, None)
        if tls_port is not None and certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._listen(tls_port, context)
        self._reset()

    def _reset(self) -> None:
        self._events = self._late_events = self._late_max_ns = 0
        self._active = sum(connection.answer is not None for connection in self._connections.values())
        self._max_active = self._active
        self._left: dict[int, int] = {}

    def _listen(self, port: int, context: ssl.SSLContext | None) -> None:
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener, context
        self._epoll.register(listener, select.EPOLLIN)

    def run(self) -> None:
        """Serves until the process is stopped."""
        while True:
            timeout_s = max(0.0, (self._due[0][0] - monotonic_ns()) / 1e9) if self._due else None
            for fd, mask in self._epoll.poll(timeout_s):
                connection = self._connections.get(fd)
                if connection is None:
                    self._accept(fd)
                elif not connection.secured:
                    self._secure(connection)
                elif mask & select.EPOLLOUT:
                    self._send_on(connection)
                else:
                    self._read(connection)
            self._write_due()

    # -- requests ------------------------------------------------------------------------------------------------

    def _accept(self, fd: int) -> None:
        if fd not in self._listeners:  # closed a moment ago
            return
        listener, context = self._listeners[fd]
        with suppress(OSError):
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._connections[sock.fileno()] = Connection(sock)
            self._epoll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)

    def _secure(self, connection: Connection) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        try:
            connection.sock.do_handshake()
        except WOULD_BLOCK:
            return
        except OSError:
            self._close(connection)
            return
        connection.secured = True
        self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.inbox += data
        self._take_request(connection)

    def _take_request(self, connection: Connection) -> None:
        inbox = connection.inbox
        end = inbox.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(inbox, 0, end + 2)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(inbox) < total:
            return
        answer = parse_answer(inbox) if inbox.startswith(b"POST /v1/") else None
        if answer is None:
            self._reply(connection, bytes(inbox[: inbox.find(b"\r\n")]))
        else:
            self._start(connection, answer)
        del inbox[:total]

    def _reply(self, connection: Connection, request_line: bytes) -> None:
        status, body = "200 OK", b"{}"
        if request_line.startswith(b"GET /stats "):
            body = json.dumps(self._stats()).encode()
        elif request_line.startswith(b"POST /reset "):
            self._reset()
        elif request_line.startswith(b"GET /v1/models "):
            body = b'{"data":[]}'
        else:
            status, body = "404 Not Found", b'{"error":{"code":404,"message":"not found"}}'
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._send(connection, head.encode() + body)

    def _stats(self) -> dict[str, object]:
        return {
            "active": self._active,
            "max_active": self._max_active,
            "events": self._events,
            "late_events": self._late_events,
            "late_max_ms": self._late_max_ns / 1e6,
            "left": self._left,
        }

    # -- answers -------------------------------------------------------------------------------------------------

    def _start(self, connection: Connection, answer: Answer) -> None:
        connection.answer = answer
        connection.sent = 0
        self._active += 1
        self._max_active = max(self._active, self._max_active)
        if answer.rate or answer.wait_ms:
            self._send(connection, OPENING)
            connection.due_ns = monotonic_ns() + answer.wait_ms * 1_000_000
            heapq.heappush(self._due, (connection.due_ns, id(connection), connection))
        else:
            connection.due_ns = 0
            connection.rest = flood(answer)
            self._send_on(connection)

    def _write_due(self) -> None:
        due = self._due
        turn_ns = monotonic_ns()
        while due and due[0][0] <= turn_ns:
            due_ns, number, connection = due[0]
            answer = connection.answer
            if answer is None or connection.due_ns != due_ns:  # it was closed
                heapq.heappop(due)
                continue
            if connection.sent == answer.n:
                heapq.heappop(due)
                self._finish(connection)
                self._send(connection, ending(answer.n))
                continue
            now_ns = monotonic_ns()
            connection.due_ns += 1_000_000_000 // (answer.rate or 1_000_000)
            heapq.heapreplace(due, (connection.due_ns, number, connection))
            self._note_late(now_ns - due_ns)
            connection.sent += 1
            self._send(connection, PACED_REASONING if connection.sent <= answer.r else stamped(now_ns))

    def _note_late(self, late_ns: int) -> None:
        self._events += 1
        if late_ns > _LATE_NS:
            self._late_events += 1
        if late_ns > self._late_max_ns:
            self._late_max_ns = late_ns

    def _finish(self, connection: Connection) -> None:
        connection.answer = None
        self._active -= 1

    def _send(self, connection: Connection, data: bytes) -> None:
        """Sends at once, or behind what is still unsent."""
        if connection.unsent:
            connection.unsent = memoryview(bytes(connection.unsent) + data)
            return
        try:
            count = connection.sock.send(data)
        except WOULD_BLOCK:
            count = 0
        except OSError:
            self._close(connection)
            return
        if count < len(data):
            connection.unsent = memoryview(data)[count:]
            self._watch(connection, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLOUT)

    def _send_on(self, connection: Connection) -> None:
        """Sends what is unsent, one piece a turn so that no stream starves the others."""
        try:
            if not connection.unsent:
                connection.unsent = next(connection.rest)
            count = connection.sock.send(connection.unsent[:_PIECE_BYTES])
        except WOULD_BLOCK:
            count = 0
        except StopIteration:
            return
        except OSError:
            self._close(connection)
            return
        connection.unsent = connection.unsent[count:] or next(connection.rest, memoryview(b""))
        mask = select.EPOLLIN | select.EPOLLRDHUP
        if connection.unsent:
            mask |= select.EPOLLOUT
        elif connection.answer is not None and not connection.due_ns:
            self._finish(connection)
        self._watch(connection, mask)

    def _watch(self, connection: Connection, mask: int) -> None:
        self._epoll.modify(connection.sock, mask)

    def _close(self, connection: Connection) -> None:
        if connection.answer is not None:
            self._left[connection.answer.tag] = monotonic_ns()
            self._finish(connection)
        self._connections.pop(connection.sock.fileno(), None)
        connection.sock.close()


def main() -> int:
    """Serves on the ports given."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.upstream", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--certificate", help="PEM file with certificate and key, for --tls-port")
    args = parser.parse_args()
    upstream = Upstream(args.port, args.tls_port, args.certificate)
    gc.freeze()
    gc.disable()  # nothing here makes cycles
    upstream.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
