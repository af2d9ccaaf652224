"""`openrouter-mcp`: MCP over stdio, and what to tell clients of it.

A host waits for its first answer. So whoever only serves is greeted before anything slow is imported: settings, the
SDK, and the rest of what is in `server.commands.mcp_stdio`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from server.process.early_signals import end_at_signals, ignore_signals
from server.process.standard_streams import forget_output, open_missing_descriptors

if TYPE_CHECKING:
    from mcp.server import MCPServer


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    open_missing_descriptors()
    end_at_signals()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not _only_serves(words):
            from server.commands.mcp_stdio import run

            if (code := run(words)) is not None:
                return code
        _serve(words)
        return 0
    finally:
        ignore_signals()
        forget_output()


def _only_serves(words: list[str]) -> bool:
    """Whether the line is one that hosts write; every other one is read with care, and told what is wrong."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--config" and left and not left[0].startswith("-"):
            left.pop(0)
        elif word != "--sandbox":
            return False
    return True


def _serve(words: list[str]) -> None:
    """Serves the host that has started this; returns when it is gone."""
    import asyncio

    from mcp_app.stdio.serve import serve_stdio
    from server.version import program_version

    if sys.stdin.isatty():
        print(
            "This is the MCP server for desktop clients; openrouter-server serves HTTP. It waits for a client on "
            "standard input (Ctrl-D ends it); openrouter-mcp print-config --client NAME prints what to paste into "
            "one.",
            file=sys.stderr,
        )
    try:
        asyncio.run(serve_stdio(lambda: _load(words), version=program_version()))
    finally:
        if (logs := sys.modules.get("server.telemetry.logs")) is not None:
            logs.close_logging()


def _load(words: list[str]) -> MCPServer[Any]:
    """Runs on a thread."""
    import gc

    gc.disable()  # while the SDK is loaded there is nothing to collect, and a host waits for its tools
    try:
        from server.commands.mcp_stdio import build

        return build(words)
    finally:
        gc.enable()
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
