"""`openrouter-mcp print-config`: what belongs into a client's configuration, printed or put there."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcp_app.clients.json_edit import NotEditable, read_json, with_entry
from mcp_app.clients.links import install_command, install_link
from mcp_app.clients.places import WHERE, config_file
from mcp_app.clients.snippets import (
    CLIENTS,
    KEY,
    NAME,
    PASTE_KEY,
    PASTE_TOKEN,
    NotPossible,
    Snippet,
    local_snippet,
    remote_snippet,
)
from mcp_app.clients.text_edit import read_toml, with_block, with_table
from server.commands.own_command import own_command

EX_USAGE = 64
EX_CANTCREAT = 73
_MOST_BACKUPS = 1000


def add_print_config(commands: Any) -> None:
    """Adds the command to those of `openrouter-mcp`."""
    printing = commands.add_parser("print-config", help="print what to paste into a client's configuration")
    printing.add_argument("--client", required=True, choices=CLIENTS)
    printing.add_argument(
        "--http", metavar="URL", help="for a server that runs already, such as http://HOST:8000/mcp"
    )
    printing.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="DIR",
        help="let files below it be sent to models, and answers be saved there; may be given several times",
    )
    printing.add_argument("--with-token", action="store_true", help="with --http: the server wants a token")
    printing.add_argument(
        "--write",
        nargs="?",
        const="",
        metavar="FILE",
        help="put it into the client's file, or that one: shows the change first, and keeps a copy beside it",
    )
    printing.add_argument("--yes", action="store_true", help="with --write: do not ask")


def print_config(parsed: argparse.Namespace) -> int:
    """Prints or writes; returns the exit code."""
    try:
        snippet = _remote(parsed) if parsed.http else _local(parsed)
        if parsed.write is not None:
            return _write(snippet, _file_of(snippet, parsed.write), asks=not parsed.yes)
    except NotPossible as exc:
        print(exc, file=sys.stderr)
        return EX_USAGE
    print(snippet.text())
    print(f"Put this into {WHERE[parsed.client]}.", file=sys.stderr)
    if (link := install_link(snippet)) is not None:
        print(f"Or open this link, and put in your key where it belongs:\n{link}", file=sys.stderr)
    if (command := install_command(snippet)) is not None:
        print(f"Or in one line, with your key in its place:\n{command}", file=sys.stderr)
    return 0


def _local(parsed: argparse.Namespace) -> Snippet:
    arguments = ["--config", str(Path(parsed.config).absolute())] if parsed.config else []
    arguments += ["--sandbox"] if parsed.sandbox else []
    (command, *leading), environment = own_command("openrouter-mcp", "server.commands.mcp_command")
    if parsed.folder:
        folders = [str(Path(folder).expanduser().absolute()) for folder in parsed.folder]
        environment = {**environment, "MCP_FOLDERS": ",".join(folders)}
    return local_snippet(parsed.client, command, [*leading, *arguments], environment, needs_key=not parsed.sandbox)


def _remote(parsed: argparse.Namespace) -> Snippet:
    url = urlsplit(parsed.http)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise NotPossible("--http must be the URL of a running server, such as http://127.0.0.1:8000/mcp")
    needs_token = parsed.with_token or url.hostname not in ("127.0.0.1", "localhost", "::1")
    return remote_snippet(parsed.client, parsed.http, needs_token=needs_token)


# -- writing ------------------------------------------------------------------------------------------------------


def _file_of(snippet: Snippet, named: str) -> Path:
    """The file, without links: whoever keeps settings elsewhere keeps them there."""
    if snippet.client == "open-webui":
        raise NotPossible("Open WebUI keeps its settings in its database: paste the text instead of --write.")
    if named:
        return Path(os.path.realpath(Path(named).expanduser()))
    found = config_file(snippet.client, home=Path.home(), cwd=Path.cwd(), environ=os.environ, platform=sys.platform)
    return Path(os.path.realpath(found))


def _write(snippet: Snippet, file: Path, *, asks: bool) -> int:
    try:
        before = file.read_text("utf-8") if file.exists() else ""
        after = changed_text(snippet, before)
    except NotEditable as exc:
        raise NotPossible(f"{file} is left as it is: {exc}. Without --write the text to paste is printed.") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise NotPossible(f"{file} cannot be read: {exc}.") from exc
    if after == before:
        print(f"{file} says so already.", file=sys.stderr)
        return 0
    names = (str(file), str(file))
    print("".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names)), flush=True)
    if asks and sys.stdin.isatty() and input("Write this? [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was written.", file=sys.stderr)
        return 1
    try:
        copy = _keep_copy(file, before) if file.exists() else None
        _replace(file, after)
    except OSError as exc:
        print(f"{file} cannot be written: {exc}.", file=sys.stderr)
        return EX_CANTCREAT
    print(f"Written to {file}." + (f" As it was it is in {copy}." if copy else ""), file=sys.stderr)
    for placeholder, what in ((PASTE_KEY, "OpenRouter key"), (PASTE_TOKEN, "server's token")):
        if placeholder in after:
            print(f"Put your {what} in place of {placeholder} there, and restart the client.", file=sys.stderr)
    return 0


def changed_text(snippet: Snippet, before: str) -> str:
    """The file's text with the entry in it; what the user set in an entry that is there stays.

    Raises:
        NotEditable: the file is not as it should be.
    """
    shape, keys = snippet.shape, (*snippet.shape.keys, NAME)
    match shape.format:
        case "yaml":
            return with_block(before, shape.keys[0], NAME, snippet.entry)
        case "toml":
            return with_table(before, keys, _kept(snippet, read_toml(before)))
        case "json":
            found = read_json(before)
            after = with_entry(before, keys, _kept(snippet, found))
            return after if not snippet.inputs else _with_inputs(after, snippet.inputs)


def _with_inputs(text: str, inputs: list[dict[str, Any]]) -> str:
    """With what VS Code has to ask for, unless it does."""
    found = read_json(text).get("inputs", [])
    if not isinstance(found, list):
        raise NotEditable("'inputs' is no list")
    asked = {each.get("id") for each in found if isinstance(each, dict)}
    missing = [each for each in inputs if each["id"] not in asked]
    return with_entry(text, ("inputs",), [*found, *missing]) if missing else text


def _kept(snippet: Snippet, found: Any) -> dict[str, Any]:
    """The entry with the variables and headers that the user has set already, the key above all."""
    for key in (*snippet.shape.keys, NAME):
        found = found.get(key) if isinstance(found, Mapping) else None
    entry = dict(snippet.entry)
    for part in (snippet.shape.environment, snippet.shape.headers):
        old = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(old, Mapping) and part in entry:
            own = {name: value for name, value in old.items() if name != "PYTHONPATH"}
            if own.get(KEY) == PASTE_KEY:
                del own[KEY]
            said_now = {name: value for name, value in entry[part].items() if name not in (KEY, "Authorization")}
            entry[part] = {**entry[part], **own, **said_now}
    return entry


def _keep_copy(file: Path, text: str) -> Path:
    """A copy beside it under a name that is free, readable by the same people."""
    for number in range(1, _MOST_BACKUPS):
        copy = file.with_name(f"{file.name}.bak" if number == 1 else f"{file.name}.bak{number}")
        try:
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.stat().st_mode & 0o777)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        return copy
    raise OSError("too many copies beside it")


def _replace(file: Path, text: str) -> None:
    """Whole or not at all; a file that is new is the user's alone, since a key goes into it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    beside = file.with_name(f"{file.name}.{os.getpid()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        beside.chmod(mode)
        beside.replace(file)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
