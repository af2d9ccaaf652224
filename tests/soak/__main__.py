"""The command line of the soak."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from tests.soak.run import RETAIN_S, ROUNDS, Soak, soak


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 1 when anything was not as promised."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Many short streams with random faults on both sides; nothing may be left over.",
    )
    parser.add_argument("--streams", type=int, default=2000, help="how many (%(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="between which the server comes to rest (%(default)s)"
    )
    parser.add_argument("--retain", type=float, default=RETAIN_S, help="seconds of streams.retain_s (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (%(default)s)")
    args = parser.parse_args(argv)
    result = asyncio.run(soak(args.streams, args.seed, _say, args.rounds, args.retain))
    print(table(result))
    for problem in result.problems:
        print(f"FAILED: {problem}")
    return 1 if result.problems else 0


def _say(line: str) -> None:
    print(f"# {line}", file=sys.stderr, flush=True)


def table(result: Soak) -> str:
    """Who ended how, and the server at rest after each round."""
    lines = ["| callers | ended | times |", "|---|---|---|"]
    lines += [f"| {name} | {ending} | {count} |" for (name, ending), count in sorted(result.endings.items())]
    lines += ["", "| streams | seconds | open files | memory, MB |", "|---|---|---|---|"]
    lines += [
        f"| {each.streams} | {each.seconds:.1f} | {each.open_files} | {each.resident_mb:.1f} |"
        for each in result.samples
    ]
    lines += ["", f"memory in the second half: {result.growth_mb:+.1f} MB"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
