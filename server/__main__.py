"""`openrouter-server`: reads the command line and the settings, then serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server.process.early_signals import end_at_signals, ignore_signals
from server.process.hangup import Hangup
from server.process.standard_streams import exit_code_of, open_missing_descriptors, print_tolerantly

if TYPE_CHECKING:
    from server.commands.command_lines import ServerArgs


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    open_missing_descriptors()
    end_at_signals()
    hangup = Hangup()  # before the imports, which take a while
    output = print_tolerantly()
    from server.commands.command_lines import parse_server_args

    args = parse_server_args(sys.argv[1:] if argv is None else argv)
    code = _serve(args, hangup) if args.serves else _print(args)
    return exit_code_of(code, output)


def _print(args: ServerArgs) -> int:
    """Does what is to be done instead of serving."""
    from server.commands.command_lines import check_config, print_new_token

    if args.new_token is not None:
        return print_new_token(args.new_token)
    if args.install is not None:
        from server.commands.install_service import install_service

        return install_service(args.install, args.flags, os.environ)
    if args.backup is not None:
        from server.commands.backup import backup

        return backup(args.backup, args.flags, os.environ, Path.cwd())
    if args.restart is not None:
        from server.commands.rolling_restart import rolling_restart

        return rolling_restart(args.restart)
    return check_config(args.flags, os.environ, Path.cwd(), quiet=args.quiet)


def _serve(args: ServerArgs, hangup: Hangup) -> int:
    import logging

    from server.commands.command_lines import missing_key_message
    from server.config import EX_CONFIG, ConfigError, load_config
    from server.process.passed_sockets import turn_callers_away
    from server.telemetry.logs import close_logging, configure_logging, say, set_log_level

    configure_logging()
    load = partial(load_config, args.flags, dict(os.environ), Path.cwd())
    try:
        try:
            config = load()
            message = missing_key_message(config)
        except ConfigError as exc:
            message = "\n".join(map(str, exc.problems))
        if message is not None:
            say(message, logging.ERROR)
            turn_callers_away(os.environ, "The settings of this server cannot be used; its log says why.")
            return EX_CONFIG
        set_log_level(config.server.log_level)
        from server.process.serve import run_server

        return run_server(config, load, hangup, opens_page=args.open)
    finally:
        ignore_signals()
        close_logging()


if __name__ == "__main__":
    sys.exit(main())
