"""`python -m client.sandbox`: the stand-in alone, for any client or gateway to be pointed at."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence

from client.sandbox.server import open_sandbox


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m client.sandbox", description="A stand-in for OpenRouter that needs no key."
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(argv)
    try:
        asyncio.run(serve(options.host, options.port))
    except OSError as exc:
        raise SystemExit(f"cannot listen on {options.host}:{options.port}: {exc.strerror}") from None


async def serve(host: str, port: int) -> None:
    """Prints the base URL once it listens, and returns when a signal says so."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(signum, stopped.set)
        except NotImplementedError:  # Windows: Ctrl-C ends the run by KeyboardInterrupt
            break
    async with open_sandbox(port, host=host, record=0) as sandbox:
        print(sandbox.base_url, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    main()
