"""The command lines of `openrouter-server` and `openrouter-mcp`, and what they print about the settings."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from server.access.callers import Caller
from server.access.tokens import caller_toml, hash_token, is_name_of_token, new_token
from server.commands.command_parser import CommandParser
from server.config import (
    EX_CONFIG,
    Config,
    ConfigError,
    ConfigProblem,
    Flags,
    check_name,
    load_config,
    setting_fields,
)
from server.config.proxy import shown_proxy
from server.config.redis.url import holds_password, shown_url
from server.telemetry.logs import say
from server.version import program_version

_MOST_INSTANCES = 64
EX_USAGE = 64
"""Exit code for a command line that makes no sense (sysexits.h)."""


@dataclass(frozen=True, slots=True)
class InstallArgs:
    """What `install-service` is to install.

    Attributes:
        user: for the caller's own service manager.
        folder: where to write; None: where systemd looks. Given one, nothing about this machine is checked.
        force: replace unit files that differ.
        instances: how many processes serve as one; None: a single one.
    """

    user: bool = False
    folder: Path | None = None
    force: bool = False
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class RestartArgs:
    """What `rolling-restart` is to restart.

    Attributes:
        user: the caller's own service manager has them.
    """

    user: bool = False


@dataclass(frozen=True, slots=True)
class ServerArgs:
    """The command line of `openrouter-server`."""

    flags: Flags
    check_config: bool = False
    """Print the settings and exit."""
    quiet: bool = False
    """With that: print problems only."""
    new_token: str | None = None
    """Print a token for a caller of this name and exit."""
    install: InstallArgs | None = None
    """Write the unit files for systemd and exit."""
    backup: Path | None = None
    """Copy the usage ledger to this file and exit."""
    restart: RestartArgs | None = None
    """Restart one instance after the other and exit."""
    open: bool = False
    """Show the page in a browser once it is served."""

    @property
    def serves(self) -> bool:
        """Whether nothing else is to be done."""
        others = (self.new_token, self.install, self.backup, self.restart)
        return not self.check_config and all(other is None for other in others)


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
    parser = CommandParser(
        prog="openrouter-server",
        description="Serves OpenRouter chat completions as typed server-sent events.",
        hint="Without a command it serves: openrouter-server",
    )
    add_shared_arguments(parser)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on; 0 takes any free one")
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.add_argument(
        "--check-config",
        action="store_true",
        help=f"print every setting and where it came from; exit with 0, or {EX_CONFIG} and every problem",
    )
    parser.add_argument("--quiet", action="store_true", help="with --check-config: print problems only")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="instead of serving")
    making = commands.add_parser("new-token", help="print a token for a caller, and what belongs into config.toml")
    making.add_argument("name", metavar="NAME", help="what the caller is called in logs and in what was spent")
    _add_install_service(commands)
    _add_backup(commands)
    _add_rolling_restart(commands)
    parsed = parser.parse_args(argv)
    flags = Flags(config=parsed.config, host=parsed.host, port=parsed.port, sandbox=parsed.sandbox)
    return ServerArgs(
        flags,
        parsed.check_config,
        parsed.quiet,
        new_token=parsed.name if parsed.command == "new-token" else None,
        install=_install_args(parsed) if parsed.command == "install-service" else None,
        backup=parsed.file if parsed.command == "backup" else None,
        restart=RestartArgs(parsed.user) if parsed.command == "rolling-restart" else None,
        open=parsed.open,
    )


def _install_args(parsed: argparse.Namespace) -> InstallArgs:
    return InstallArgs(user=parsed.user, folder=parsed.dir, force=parsed.force, instances=parsed.instances)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_INSTANCES):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST_INSTANCES}, not {text[:40]!r}")
    return int(text)


def _add_install_service(commands: argparse._SubParsersAction[CommandParser]) -> None:
    parser = commands.add_parser(
        "install-service",
        help="write the unit files for systemd and say what to do next",
        argument_default=argparse.SUPPRESS,  # flags before the command count too
    )
    parser.add_argument("--user", action="store_true", default=False, help="as a service of your own account")
    parser.add_argument("--dir", type=Path, metavar="FOLDER", default=None, help="write the files there")
    parser.add_argument(
        "--instances", type=_count, metavar="N", default=None, help="so many processes that serve as one (1 to 64)"
    )
    parser.add_argument("--force", action="store_true", default=False, help="replace unit files that differ")
    parser.add_argument("--config", metavar="FILE", help="settings of the service")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on")
    parser.add_argument("--sandbox", action="store_true", help="serve from the stand-in OpenRouter")


def _add_backup(commands: argparse._SubParsersAction[CommandParser]) -> None:
    parser = commands.add_parser(
        "backup",
        help="copy the usage ledger, while the server runs or not",
        argument_default=argparse.SUPPRESS,  # flags before the command count too
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="where to; an older copy is replaced")
    parser.add_argument("--config", metavar="FILE", help="settings of the server")
    parser.add_argument("--sandbox", action="store_true", help="the ledger of the stand-in OpenRouter")


def _add_rolling_restart(commands: argparse._SubParsersAction[CommandParser]) -> None:
    parser = commands.add_parser(
        "rolling-restart", help="restart the instances of install-service --instances, one after the other"
    )
    parser.add_argument("--user", action="store_true", default=False, help="those of your own account")


def check_config(flags: Flags, environ: Mapping[str, str], cwd: Path, *, quiet: bool = False) -> int:
    """Does what --check-config promises; returns the exit code.

    A missing key is a problem too: 0 means that the server starts.
    """
    try:
        config, problems = load_config(flags, environ, cwd), list[ConfigProblem]()
    except ConfigError as exc:
        config, problems = exc.config, exc.problems
    if not quiet:
        invalid = {(problem.key or "").partition("[")[0] for problem in problems}
        print_config(config, invalid, proxy=shown_proxy(config, environ))
    print_problems(problems)
    message = missing_key_message(config, cwd)
    # With these in doubt nobody knows whether a key is missing.
    if message and {"upstream.api_key", "upstream.base_url"}.isdisjoint(problem.key for problem in problems):
        say(message, logging.ERROR)
        return EX_CONFIG
    return EX_CONFIG if problems else 0


def print_new_token(name: str) -> int:
    """Prints a token, for the only time, and the `[[callers]]` that lets it in; returns the exit code."""
    try:
        name = check_name(name.strip())
        if is_name_of_token(name):
            raise ValueError("is made like the name of another token; choose another one")
    except ValueError as exc:
        print(f"NAME {exc}.", file=sys.stderr)
        return EX_USAGE
    token = new_token()
    print(f"The token, shown only now; the caller sends it as Authorization: Bearer <token>:\n\n{token}\n")
    print("For config.toml, which keeps its SHA-256 only (SIGHUP makes a running server read it):\n")
    print(caller_toml(name, hash_token(token)))
    return 0


def print_config(config: Config, invalid: Collection[str] = (), *, proxy: str = "none") -> None:
    """Prints every effective setting with its source, as a `config.toml` would hold it.

    What that may not hold, or what is not shown whole, is a comment: secrets, callers, the sandbox, and the settings
    that are `invalid`.
    """
    print(f"# config file: {config.file or 'none'}")
    print(f"# state folder: {config.state_folder or 'none'}")
    print(f"# proxy: {proxy}")
    for key, value in _effective(config).items():
        if key in invalid:
            print(f"# {key}: invalid, see the problems")
        else:
            text = _shown(value) if key != "redis.url" else _shown(shown_url(_bare(value)))
            is_hidden = isinstance(value, SecretStr) and (key != "redis.url" or holds_password(_bare(value)))
            mark = "# " if is_hidden or key.partition("[")[0] in _NOT_IN_FILE else ""
            print(f"{mark}{key} = {text}  # {config.sources.get(key, 'default')}")
    sys.stdout.flush()  # the problems may go to the same place


_NOT_IN_FILE = ("callers", "sandbox", "upstream.api_key", "redis.text_key")


def _bare(secret: object) -> str:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else ""


def print_problems(problems: Sequence[ConfigProblem]) -> None:
    """Prints one line per problem to stderr."""
    for problem in problems:
        say(str(problem), logging.ERROR)


def _effective(config: Config) -> dict[str, object]:
    settings = {f"{section}.{key}": getattr(getattr(config, section), key) for section, key in setting_fields()}
    callers = {f"callers[{number}]": caller for number, caller in enumerate(config.callers)}
    return {**settings, **(callers or {"callers": ()}), "sandbox": config.sandbox}


def _shown(value: object) -> str:
    """A value as TOML would spell it."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, Caller):
        return _shown_caller(value)
    if isinstance(value, bool | int | float | Decimal):
        return str(value).lower()
    return json.dumps("" if value is None else value, ensure_ascii=False)


def _shown_caller(caller: Caller) -> str:
    """An inline table of the name and the limits there are; what is known of the token stays out."""
    defaults = {field.name: field.default for field in fields(caller) if field.name != "token_sha256"}
    told = {name: value for name, default in defaults.items() if (value := getattr(caller, name)) != default}
    return "{" + ", ".join(f"{name} = {_shown(value)}" for name, value in told.items()) + "}"


def missing_key_message(config: Config, cwd: Path | None = None) -> str | None:
    """What to tell a person who has no key; None when none is needed or there is one.

    Args:
        cwd: the working directory; None: that of the process.
    """
    if not config.lacks_key:
        return None
    dotenv = (cwd or Path.cwd()) / ".env"
    state = "has none" if dotenv.is_file() else "is not there"
    return (
        f"There is no key for {config.upstream.base_url}. Three ways on:\n"
        "  1. Set OPENROUTER_API_KEY in the environment or in .env, or OPENROUTER_API_KEY_FILE to the path\n"
        "     of a file that holds it, or the systemd credential openrouter_api_key.\n"
        f"     ({dotenv} {state}; a placeholder such as <your key> counts as none.)\n"
        "  2. Start with --sandbox: a stand-in inside this process, no key, no network, no cost.\n"
        "  3. Set upstream.base_url (OPENROUTER_BASE_URL) to a server that needs no key."
    )
