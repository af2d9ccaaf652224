"""A proxy whose connections die after so many bytes of answers, one life after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class CuttingProxy:
    """Passes bytes.

    Attributes:
        url: where it listens.
        lives_bytes: of the connections to come; when they are used up, connections live on.
    """

    def __init__(self, target_port: int, lives_bytes: list[int]) -> None:
        self.url = ""
        self.lives_bytes = lives_bytes
        self._target_port = target_port
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        life_bytes = self.lives_bytes.pop(0) if self.lives_bytes else None
        from_target, to_target = await asyncio.open_connection("127.0.0.1", self._target_port)
        up = asyncio.create_task(_copy(reader, to_target))
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                while data := await from_target.read(65_536):
                    writer.write(data if life_bytes is None else data[:life_bytes])
                    await writer.drain()
                    if life_bytes is not None and (life_bytes := life_bytes - len(data)) <= 0:
                        break
        finally:
            up.cancel()
            to_target.close()
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        """Ends what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cutting_proxy(target_port: int, *lives_bytes: int) -> AsyncIterator[CuttingProxy]:
    """Listens while the context is open."""
    proxy = CuttingProxy(target_port, list(lives_bytes))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        await proxy.stop()
