"""`openrouter-server`: reads the command line and the settings, then serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from server.hangup import Hangup


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    hangup = Hangup()  # before the imports, which take a while
    from server.commands import (
        EX_CONFIG,
        check_config,
        missing_key_message,
        parse_server_args,
        print_new_token,
        print_problems,
    )
    from server.config import ConfigError, load_config

    args = parse_server_args(sys.argv[1:] if argv is None else argv)
    if args.new_token is not None:
        return print_new_token(args.new_token)
    if args.install is not None:
        from server.install_service import install_service

        return install_service(args.install, args.flags, os.environ)
    if args.check_config:
        return check_config(args.flags, os.environ, Path.cwd())
    load = partial(load_config, args.flags, dict(os.environ), Path.cwd())
    try:
        config = load()
    except ConfigError as exc:
        print_problems(exc.problems)
        return EX_CONFIG
    message = missing_key_message(config)
    if message is not None:
        print(message, file=sys.stderr)
        return EX_CONFIG
    from server.logs import configure_logging
    from server.process import run_server

    configure_logging(level=config.server.log_level.upper())
    return run_server(config, load, hangup)


if __name__ == "__main__":
    sys.exit(main())
