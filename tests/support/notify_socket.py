"""The service manager's end of the notification protocol, as far as a test needs it."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class NotifySocket:
    """Receives what a service says.

    Attributes:
        address: for `NOTIFY_SOCKET`.
        messages: all received so far, each as name → value.
    """

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address = address
        self.messages: list[dict[str, str]] = []
        self._sock = sock

    @classmethod
    @contextmanager
    def opened(cls, path: str = "") -> Iterator[Self]:
        """Listens at a path, or under a name in the abstract namespace, which begins with "@"."""
        address = path or f"@openrouter-sse-test-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.bind(address.replace("@", "\0", 1))
            yield cls(sock, address)

    async def receive(self) -> dict[str, str]:
        """The next message."""
        data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
        message = dict(line.split("=", 1) for line in data.decode().splitlines())
        self.messages.append(message)
        return message

    async def receive_until(self, name: str, containing: str = "") -> dict[str, str]:
        """The next message in which that field stands, and holds that text; those before it are in `messages`."""
        async with asyncio.timeout(20):
            while True:
                message = await self.receive()
                if containing in message.get(name, "") and name in message:
                    return message

    def drain(self) -> None:
        """Takes what has arrived so far."""
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return
            self.messages.append(dict(line.split("=", 1) for line in data.decode().splitlines()))
