"""Says once that no more files can be opened: new connections are reset then, and nobody hears of it otherwise."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.process.meanwhile import meanwhile

logger = logging.getLogger(__name__)

_INTERVAL_S = 1.0


@asynccontextmanager
async def watching_files(interval_s: float = _INTERVAL_S) -> AsyncIterator[None]:
    """Looks now and again whether a file can be opened, while the context is open."""
    async with meanwhile(_watch(interval_s), name="files"):
        logging.getLogger("asyncio").addFilter(_is_news)
        try:
            yield
        finally:
            logging.getLogger("asyncio").removeFilter(_is_news)


async def _watch(interval_s: float) -> None:
    lacked = False
    while True:
        await asyncio.sleep(interval_s)
        lacks = _lacks_files()
        if lacks and not lacked:
            logger.error(
                "no more files can be opened: new connections are reset, and upstream is not reached; "
                "raise the limit (ulimit -n, LimitNOFILE=), or lower streams.max_active"
            )
        elif lacked and not lacks:
            logger.info("files can be opened again")
        lacked = lacks


def _is_news(record: logging.LogRecord) -> bool:
    """A filter: asyncio's loop says it every second, with a trace."""
    return not record.getMessage().startswith("socket.accept() out of system resource")


def _lacks_files() -> bool:
    try:
        os.close(os.dup(2))
    except OSError as exc:
        return exc.errno in (errno.EMFILE, errno.ENFILE)
    return False
