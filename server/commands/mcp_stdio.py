"""What `openrouter-mcp` does: MCP over stdio, and what to paste into a desktop client to have it started.

stdout belongs to the protocol: everything for people goes to stderr. Without a key, or with settings that cannot be
used, it serves all the same and says so in the tools' results: a client shows a server that has exited only as
"disconnected". Clients also choose the working directory, whose `config.toml` and `.env` may be foreign.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_app.results.failures import ToolFailure
from server.commands.command_lines import add_shared_arguments, print_problems, shared_flags
from server.commands.command_parser import CommandParser
from server.commands.mcp_config import add_print_config, print_config
from server.config import Config, ConfigError, ConfigProblem, load_config
from server.process.standard_streams import exit_code_of, print_tolerantly
from server.telemetry.logs import configure_logging
from server.version import DISTRIBUTION, program_version

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from client.config import StreamsConfig
    from mcp_app.state import McpState
    from server.budgets.process_budget import ProcessBudget


def run(argv: Sequence[str]) -> int | None:
    """Does what is not serving, given the line without the program's name; returns the exit code, or None to serve.

    Raises:
        SystemExit: on --help, --version and mistakes, as argparse does.
    """
    parsed = _parser().parse_args(argv)
    if parsed.command != "print-config":
        return None
    output = print_tolerantly()
    return exit_code_of(print_config(parsed), output)


def build(argv: Sequence[str]) -> MCPServer[Any]:
    """The server that a line asks for. Its state is opened by the first call that needs it."""
    flags = shared_flags(_parser().parse_args(argv))
    configure_logging(level=logging.WARNING)
    from mcp_app.server import build_mcp

    try:
        config = load_config(flags, os.environ, Path.cwd())
    except ConfigError as exc:
        print_problems(exc.problems)
        return build_mcp(partial(_refuse, exc.problems), version=program_version())
    if config.sandbox:
        print("Answers come from the sandbox: no key, no network, no cost.", file=sys.stderr)
    return build_mcp(partial(_open_state, config), version=program_version())


_RETAIN_S = 3600.0
_NO_HTTP = "This is the MCP server for desktop clients; openrouter-server serves HTTP"


def _parser() -> argparse.ArgumentParser:
    called = Path(sys.argv[0]).stem  # uvx starts a package by its own name
    parser = CommandParser(
        prog=called if called == DISTRIBUTION else "openrouter-mcp",
        description="Offers OpenRouter's models as MCP tools over stdio; desktop clients start it.",
        hint=_NO_HTTP,
    )
    add_shared_arguments(parser)
    commands = parser.add_subparsers(dest="command", metavar="print-config")
    add_print_config(commands)
    return parser


# -- the state ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _open_state(config: Config) -> AsyncIterator[McpState]:
    """The command's own session, streams and catalogue; what still runs at the end is stopped.

    It is opened by the first call (see `mcp_app.late_state`) and imports what is slow to load then, on a thread,
    so that the call's first report is sent meanwhile.
    """
    await asyncio.to_thread(importlib.import_module, "mcp_app.chats.chat")
    from client.models.catalogue import Catalogue
    from client.streams.streams import Streams
    from client.upstream.openrouter import OpenRouterClient, create_session
    from mcp_app.results.spending import Spending
    from mcp_app.state import McpState
    from server.process.sandboxed import sandboxed

    async with sandboxed(config) as effective, create_session(effective.upstream) as session:
        openrouter = OpenRouterClient(session, effective.upstream)
        spending = Spending()
        budget = _budget_of(effective)
        admit = None if budget is None else budget.admit
        streams = Streams(openrouter, _streams_config(effective), spending.note_end, admit=admit)
        catalogue = Catalogue(openrouter, ttl_s=effective.models.ttl_s)
        if budget is not None:
            budget.known = catalogue.known
        state = McpState(streams, catalogue, openrouter, spending, budget=budget, folders=effective.mcp.folders)
        try:
            yield state
        finally:
            await state.end_background()
            await streams.aclose()
            await catalogue.aclose()


def _streams_config(config: Config) -> StreamsConfig:
    """A person goes on with a conversation later than a program does; what somebody has set holds."""
    if "streams.retain_s" in config.sources:
        return config.streams
    return config.streams.model_copy(update={"retain_s": _RETAIN_S})


def _budget_of(config: Config) -> ProcessBudget | None:
    """What this process may spend; None: no limit."""
    from client.models.costs import budget_nano_usd
    from server.budgets.process_budget import ProcessBudget

    limit_usd = config.mcp.budget_usd
    limit_nano = budget_nano_usd(None if limit_usd is None else Decimal(str(limit_usd)))
    return None if limit_nano is None else ProcessBudget(limit_nano)


@asynccontextmanager
async def _refuse(problems: Sequence[ConfigProblem]) -> AsyncIterator[McpState]:
    """In place of a state: every call is told what is wrong with the settings."""
    said = "\n".join(map(str, problems))
    raise ToolFailure(
        f"The settings of this MCP server cannot be used. Tell the user to correct this and to restart it:\n{said}"
    )
    yield
