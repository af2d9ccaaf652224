"""The command lines of `openrouter-server` and `openrouter-mcp`, and what they print about the settings."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import SecretStr

from server.config import Config, ConfigError, ConfigProblem, Flags, load_config, setting_fields

DISTRIBUTION = "openrouter-sse-backend"
EX_CONFIG = 78
"""Exit code for unusable settings (sysexits.h); `os.EX_CONFIG` is missing on Windows."""


@dataclass(frozen=True, slots=True)
class ServerArgs:
    """The command line of `openrouter-server`."""

    flags: Flags
    check_config: bool = False
    """Print the settings and exit."""


def program_version() -> str:
    """The installed version; "unknown" when run from a folder that was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what both commands have: --config, --sandbox, --version."""
    parser.add_argument("--config", metavar="FILE", help="read this config.toml")
    parser.add_argument(
        "--sandbox",
        action="store_true",
        help="use a stand-in OpenRouter inside this process: no key, no network, no cost",
    )
    parser.add_argument("--version", action="version", version=f"{parser.prog} {program_version()}")


def shared_flags(namespace: argparse.Namespace) -> Flags:
    """The flags that `add_shared_arguments` parsed."""
    return Flags(config=namespace.config, sandbox=namespace.sandbox)


def parse_server_args(argv: Sequence[str]) -> ServerArgs:
    """Reads the command line, given without the program's name.

    Raises:
        SystemExit: on --help, --version and mistakes, as argparse does.
    """
    parser = argparse.ArgumentParser(
        prog="openrouter-server",
        description="Serves OpenRouter chat completions as typed server-sent events.",
        allow_abbrev=False,
    )
    add_shared_arguments(parser)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on; 0 takes any free one")
    parser.add_argument(
        "--check-config",
        action="store_true",
        help=f"print every setting and where it came from; exit with 0, or {EX_CONFIG} and every problem",
    )
    parsed = parser.parse_args(argv)
    flags = Flags(config=parsed.config, host=parsed.host, port=parsed.port, sandbox=parsed.sandbox)
    return ServerArgs(flags, parsed.check_config)


def check_config(flags: Flags, environ: Mapping[str, str], cwd: Path) -> int:
    """Does what --check-config promises; returns the exit code.

    A missing key is a problem too: 0 means that the server starts.
    """
    try:
        config, problems = load_config(flags, environ, cwd), list[ConfigProblem]()
    except ConfigError as exc:
        config, problems = exc.config, exc.problems
    print_config(config, problems)
    message = missing_key_message(config)
    # With these in doubt nobody knows whether a key is missing.
    if message and {"upstream.api_key", "upstream.base_url"}.isdisjoint(problem.key for problem in problems):
        print(message, file=sys.stderr)
        return EX_CONFIG
    return EX_CONFIG if problems else 0


def print_config(config: Config, problems: Sequence[ConfigProblem] = ()) -> None:
    """Prints every effective setting with its source to stdout, secrets masked; the problems to stderr."""
    invalid = {(problem.key or "").partition("[")[0] for problem in problems}
    print(f"# config file: {config.file or 'none'}")
    for key, value in _effective(config).items():
        if key in invalid:
            print(f"# {key}: invalid, see the problems")
        else:
            print(f"{key} = {_shown(value)}  # {config.sources.get(key, 'default')}")
    sys.stdout.flush()
    print_problems(problems)


def print_problems(problems: Sequence[ConfigProblem]) -> None:
    """Prints one line per problem to stderr."""
    for problem in problems:
        print(problem, file=sys.stderr)


def _effective(config: Config) -> dict[str, object]:
    settings = {f"{section}.{key}": getattr(getattr(config, section), key) for section, key in setting_fields()}
    return {**settings, "tokens": config.tokens, "sandbox": config.sandbox}


def _shown(value: object) -> str:
    """A value as TOML would spell it."""
    if isinstance(value, SecretStr) or (isinstance(value, tuple) and any(isinstance(v, SecretStr) for v in value)):
        return "********"
    return json.dumps("" if value is None else value, ensure_ascii=False)


def missing_key_message(config: Config) -> str | None:
    """What to tell a person who has no key; None when none is needed or there is one."""
    if not config.lacks_key:
        return None
    return (
        f"There is no key for {config.upstream.base_url}. Three ways on:\n"
        "  1. Set OPENROUTER_API_KEY in the environment or in .env, or OPENROUTER_API_KEY_FILE to the path\n"
        "     of a file that holds it, or the systemd credential openrouter_api_key.\n"
        "  2. Start with --sandbox: a stand-in inside this process, no key, no network, no cost.\n"
        "  3. Set upstream.base_url (OPENROUTER_BASE_URL) to a server that needs no key."
    )
