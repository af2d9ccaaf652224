"""`openrouter-mcp`: MCP over stdio; what it does is in `server.commands.mcp_stdio`, which takes a while to import."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from server.process.early_signals import end_at_signals, ignore_signals
from server.process.standard_streams import forget_output, open_missing_descriptors


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    open_missing_descriptors()
    end_at_signals()
    from server.commands.mcp_stdio import run

    try:
        return run(sys.argv[1:] if argv is None else argv)
    finally:
        ignore_signals()
        forget_output()


if __name__ == "__main__":
    sys.exit(main())
