"""The proxy that dies on purpose leaves no connection open that it does not serve."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.proxies.mortal import mortal_proxy


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_while_it_dies_is_served_or_reset(turns: int) -> None:
    """A death at each turn of the event loop between the connection and its first byte."""
    async with mortal_proxy(9, "the page", []) as proxy, asyncio.timeout(10):
        with socket.create_connection(("127.0.0.1", proxy.port)) as caller:
            caller.sendall(b"GET /page.html HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(turns):
                await asyncio.sleep(0)
            await proxy.kill()
            proxy.start()
            try:
                found = await asyncio.to_thread(caller.recv, 1000)
            except ConnectionResetError:
                return
            assert found.startswith(b"HTTP/1.1 200 OK")
