"""`openrouter-mcp`: MCP over stdio."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from server.commands import add_shared_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="openrouter-mcp", description="Offers OpenRouter as MCP tools over stdio.")
    add_shared_arguments(parser)
    parser.parse_args(sys.argv[1:] if argv is None else argv)
    print("openrouter-mcp serves no tools in this version; only --version is answered.", file=sys.stderr)
    return 69


if __name__ == "__main__":
    sys.exit(main())
