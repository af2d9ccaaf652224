"""Reads command lines, and says of a mistake what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

_EPILOG = """\
where settings are looked for, each going before the next:
  flags, the environment, .env in the working directory, and config.toml: the one that --config or OPENROUTER_CONFIG
  names, else ./config.toml, $CONFIGURATION_DIRECTORY/config.toml, ~/.config/openrouter-sse-backend/config.toml

where the key for OpenRouter is looked for:
  OPENROUTER_API_KEY in the environment or in .env, OPENROUTER_API_KEY_FILE (the path of a file that holds it), the
  systemd credential openrouter_api_key; never in config.toml

`openrouter-server --check-config` shows what was found, and where.
"""


class CommandParser(argparse.ArgumentParser):
    """A parser of one of the commands."""

    def __init__(self, *, hint: str = "", epilog: str | None = _EPILOG, **more: Any) -> None:
        """Like the one of argparse.

        Args:
            hint: for whoever gives words that are no command; a sub-command has none.
            epilog: stands at the end of the help.
            more: for argparse.
        """
        super().__init__(
            allow_abbrev=False,
            epilog=epilog if hint else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        self._hint = hint

    def parse_args(self, args: Sequence[str], namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """The command line, given without the program's name.

        Raises:
            SystemExit: on --help, --version and mistakes.
        """
        known = sorted(set(self._known_options()))
        for word in args:
            if word == "--":
                break
            option = word.partition("=")[0]
            if re.match(r"-\D", word) and option not in known:  # argparse would take what follows for a command
                self.error(f"there is no option {option}{self._meant(option, known)}")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends with the usage, the mistake, and the hint where it was about the command."""
        if self._hint and "invalid choice" in message:
            message = f"{message}. {self._hint}"
        super().error(message)

    def _meant(self, option: str, known: list[str]) -> str:
        name = f"--{option.lstrip('-')}"
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        near = near or [each for each in known if each.startswith(name)][:1]
        return f"; did you mean {near[0]}?" if near else f". {self._hint}"

    def _known_options(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._known_options()
