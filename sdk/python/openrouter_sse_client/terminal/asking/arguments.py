"""The command line. Pure, but for what argparse prints."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

COMMANDS = ("models", "usage", "ps", "attach", "stop")
_GUARD = "\0"
_ID = re.compile(r"-[A-Za-z0-9_-]{21,63}")
_ABOUT = """\
Asks a model through an openrouter-sse-backend. Without a question: a conversation.

  openrouter-chat "Why is the sky blue?"      cat FILE | openrouter-chat "explain"      openrouter-chat

commands:
  models [WORDS]   models with price (USD per million tokens, in and out) and context
  usage            what was spent
  ps               running answers; --all: recent ones too
  attach [ID]      reads a running or recent answer again, the newest without ID
  stop ID          ends an answer
"""
_EXITS = """\
Ctrl-C ends the answer at the server, and with it the bill; twice, or Ctrl-D, leaves.
Exit codes: 0 whole answer, 1 error, 2 wrong usage, 130 stopped.
A question that is a command's name: openrouter-chat -- usage
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        command: one of `COMMANDS`; "" for a question or a conversation.
        words: what follows it, or the question.
    """

    command: str
    words: tuple[str, ...]
    url: str
    token: str | None
    model: str | None = None
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    continues: bool = False
    hides_thinking: bool = False
    extracts: bool = False
    shows_usage: bool = False
    is_json: bool = False
    streams: bool = True
    is_sandbox: bool = False
    shows_all: bool = False

    @property
    def question(self) -> str:
        """The words as one text."""
        return " ".join(self.words)


class UsageError(Exception):
    """The command line makes no sense; its text says why."""


def parse_arguments(arguments: Sequence[str], environ: Mapping[str, str]) -> Order:
    """The order.

    Raises:
        UsageError: it makes none.
        SystemExit: after `--help` and `--version`.
    """
    found = create_parser().parse_intermixed_args(_guarded(arguments))
    words = tuple(word.removeprefix(_GUARD) for word in found.words)
    command = words[0] if words and words[0] in COMMANDS and "--" not in arguments else ""
    if found.system is not None and command:
        raise UsageError(f"--system does not go with {command}")
    return Order(
        command=command,
        words=words[1:] if command else words,
        url=_with_scheme(found.url or environ.get("OPENROUTER_SERVER_URL") or "http://localhost:8000"),
        token=environ.get("OPENROUTER_SERVER_TOKEN") or None,
        model=found.model,
        system=found.system,
        options={key: option_value(value) for key, value in found.option},
        files=tuple(found.attach),
        continues=found.go_on,
        hides_thinking=found.hide_thinking,
        extracts=found.extract,
        shows_usage=found.usage,
        is_json=found.json,
        streams=not found.no_stream,
        is_sandbox=found.sandbox,
        shows_all=found.all,
    )


def option_value(text: str) -> Any:
    """JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _guarded(arguments: Sequence[str]) -> list[str]:
    """With a guard before ids, of which some begin as options do."""
    before = ("", *arguments)
    return [
        _GUARD + word if last in ("attach", "stop") and _ID.fullmatch(word) else word
        for last, word in zip(before, arguments, strict=False)
    ]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def create_parser() -> argparse.ArgumentParser:
    """Of all options; the words are told apart afterwards, so that options may stand among them."""
    parser = _Parser(
        prog="openrouter-chat",
        usage="openrouter-chat [options] [QUESTION | models | usage | ps | attach | stop]",
        description=_ABOUT,
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("words", nargs="*", help=argparse.SUPPRESS)
    add("-m", "--model", metavar="ID", help="the model; the server's default without")
    add("-s", "--system", metavar="TEXT", help="the system prompt")
    add(
        "-o",
        "--option",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="any field of the request, such as temperature 0.2; VALUE is JSON or text",
    )
    add(
        "-a",
        "--attach",
        action="append",
        default=[],
        metavar="FILE",
        help="a picture, PDF, sound or text; again for more",
    )
    add("-c", "--continue", dest="go_on", action="store_true", help="go on with the last conversation")
    add("-R", "--hide-thinking", action="store_true", help="show no thinking")
    add("-x", "--extract", action="store_true", help="print the first block of code only")
    add("-u", "--usage", action="store_true", help="tell the cost, on standard error")
    add("--json", action="store_true", help="print events, or a command's data, as JSON lines")
    add("--no-stream", action="store_true", help="print the answer when it is whole")
    add("--all", action="store_true", help="ps: finished answers too")
    add("--url", metavar="URL", help="of the server; OPENROUTER_SERVER_URL, else http://localhost:8000")
    add("--sandbox", action="store_true", help="start a server with the sandbox for this call: no key, no cost")
    add("--version", action="version", version=f"openrouter-chat {_version()}")
    return parser


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _version() -> str:
    try:
        return version("openrouter-sse-client")
    except PackageNotFoundError:
        return "unknown"
