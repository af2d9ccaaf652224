"""An upstream on threads of its own, that sends as fast as it is read whatever the loop under test is busy with."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"


class Flood:
    """Answers every chat request with `head`, an empty line and `pieces`, then closes; other requests with 404.

    Attributes:
        base_url: for `upstream.base_url`.
    """

    def __init__(self, listener: socket.socket, pieces: Iterable[bytes], head: bytes) -> None:
        self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        self._listener = listener
        self._pieces = pieces
        self._head = head

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                is_chat = _read_request(connection).startswith(b"POST")
                connection.sendall(
                    self._head + b"\r\n" if is_chat else b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"
                )
                for piece in self._pieces if is_chat else ():
                    connection.sendall(piece)
            except OSError:
                pass  # the reader has gone


def _read_request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    rest = (int(length[1]) if length else 0) - len(body)
    while rest > 0:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError
        rest -= len(piece)
    return head


@contextmanager
def open_flood(*pieces: bytes, head: bytes = HEAD) -> Iterator[Flood]:
    """Serves while the context is open."""
    listener = socket.create_server(("127.0.0.1", 0))
    flood = Flood(listener, pieces, head)
    thread = threading.Thread(target=flood.serve, daemon=True)
    thread.start()
    try:
        yield flood
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
