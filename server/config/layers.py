"""The levels of settings, each a flat layer of path → value with the place it came from."""

from __future__ import annotations

import io
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv.parser import Binding, parse_stream
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from client.config import is_unset, unquoted
from server.config.files import home_of, path_of, read_text, reason_of
from server.config.problems import ConfigProblem, dotted
from server.config.redis.url import holds_password
from server.config.sections import environment_name, is_secret, sections, setting_fields

FOLDER = "openrouter-sse-backend"
"""Name of this program's folder inside the user's configuration folder."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says about the settings; text as typed, judged with everything else."""

    config: str | None = None
    host: str | None = None
    port: str | None = None
    sandbox: bool = False


KeyPath = tuple[str, ...]
"""Section and key, or one of them alone."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value and the place it came from."""

    value: object
    source: str


Layer = dict[KeyPath, Found]


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment, or a `.env` file, with the words to name a variable of it."""

    values: Mapping[str, str]
    place: str

    def get(self, name: str) -> Found | None:
        """The variable, unless it is missing or stands for "not set"; without quotes around it."""
        text = unquoted(self.values.get(name, ""))
        return None if is_unset(text) else Found(text, f"{self.place} {name}")


def _candidates(named: Found | None, environment: Variables, cwd: Path) -> Iterator[tuple[Path, str | None]]:
    """Places for `config.toml`, best first, with who named the file when it has to be there.

    Raises:
        ValueError: what was named is no path.
    """
    if named:
        yield path_of(str(named.value), environment.values, cwd), named.source
        return
    yield cwd / "config.toml", None
    # systemd.exec(5): several folders are separated by colons
    for folder in filter(None, environment.values.get("CONFIGURATION_DIRECTORY", "").split(":")):
        yield Path(folder) / "config.toml", None
    if user_folder := _user_folder(environment.values):
        yield user_folder / FOLDER / "config.toml", None


def _user_folder(environ: Mapping[str, str]) -> Path | None:
    if folder := environ.get("XDG_CONFIG_HOME"):
        return Path(folder)
    home = home_of(environ)
    return Path(home) / ".config" if home else None


def find_state_folder(state_dir: str | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The setting, else systemd's folder, else the user's; None where nobody says who the user is."""
    if state_dir:
        return path_of(state_dir, environ, cwd)
    # systemd.exec(5), as above
    if folders := environ.get("STATE_DIRECTORY"):
        return Path(folders.split(":")[0])
    if folder := environ.get("XDG_STATE_HOME"):
        return Path(folder) / FOLDER
    home = home_of(environ)
    return Path(home) / ".local" / "state" / FOLDER if home else None


def find_file(
    flags: Flags, environment: Variables, dotenv: Variables, cwd: Path, problems: list[ConfigProblem]
) -> tuple[Path | None, str]:
    """The first `config.toml` there is, and its text."""
    flag = Found(flags.config, "flag --config") if flags.config else None
    named = flag or environment.get("OPENROUTER_CONFIG") or dotenv.get("OPENROUTER_CONFIG")
    try:
        candidates = list(_candidates(named, environment, cwd))
    except ValueError as exc:
        problems.append(ConfigProblem(named.source if named else "config.toml", str(exc)))
        return None, ""
    for path, named_by in candidates:
        # False too for a folder that may not be entered, such as a home folder hidden from a service
        if named_by is None and not os.path.lexists(path):
            continue
        try:
            return path, read_text(path)
        except OSError as exc:
            naming = f" (named by {named_by})" if named_by else ""
            problems.append(ConfigProblem(str(path), f"cannot be read{naming}: {reason_of(exc)}"))
            return path, ""
    return None, ""


def file_layer(path: Path | None, text: str, problems: list[ConfigProblem]) -> Layer:
    """What a `config.toml` holds, known or not."""
    where = str(path)
    layer: Layer = {}
    for name, value in _parse_toml(where, text, problems).items():
        if name not in sections():
            layer[name,] = Found(value, where)
        elif isinstance(value, dict):
            layer |= {(name, key): Found(item, where) for key, item in value.items()}
        else:
            problems.append(ConfigProblem(where, f"must be a table, written as [{name}]", name))
    return {path_: found for path_, found in layer.items() if _counts(path_, found, problems)}


def _counts(path: KeyPath, found: Found, problems: list[ConfigProblem]) -> bool:
    """Whether an entry of the file is handed on: not when it is a secret, nor a known key left blank."""
    field = setting_fields().get((path[0], path[-1])) if len(path) == 2 else None
    if field is not None and is_secret(field) and not _may_be_in_file(path, found.value):
        problems.append(misplaced_secret(dotted(path), found))
        return False
    return field is None or not is_unset(found.value)


def _may_be_in_file(path: KeyPath, value: object) -> bool:
    """Addresses of a store are secrets only with a password in them."""
    return path == ("redis", "url") and isinstance(value, str) and not holds_password(value)


def _parse_toml(where: str, text: str, problems: list[ConfigProblem]) -> dict[str, Any]:
    try:
        if any(
            re.sub(r"\"[^\"]*\"|'[^']*'", "", line).partition("=")[0].count(".") > 100 for line in text.split("\n")
        ):
            raise RecursionError  # a key of many parts takes the parser the square of their number, also of memory
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # The position is an attribute only from Python 3.14 on.
        what, _, position = str(exc).partition(" (at ")
        if match := re.match(r"line (\d+), column (\d+)", position):
            line, column = int(match[1]), int(match[2])
        else:  # "end of document"
            lines = text.split("\n")
            line, column = len(lines), len(lines[-1]) + 1
        problems.append(ConfigProblem(where, f"line {line}, column {column}: not valid TOML: {what}"))
    except ValueError as exc:  # a number of thousands of digits
        problems.append(ConfigProblem(where, f"not valid TOML: {exc}"))
    except RecursionError:
        problems.append(ConfigProblem(where, "is nested too deeply"))
    return {}


def read_dotenv(path: Path, problems: list[ConfigProblem]) -> dict[str, str]:
    """The variables of a `.env` file, as written: nothing is interpolated."""
    try:
        if path.is_dir():  # some name their virtual environment so
            return {}
        bindings = list(parse_stream(io.StringIO(read_text(path))))
    except FileNotFoundError:
        return {}
    except OSError as exc:
        problems.append(ConfigProblem(str(path), f"cannot be read: {reason_of(exc)}"))
        return {}
    problems += [
        ConfigProblem(str(path), f"line {_line(binding)}: must be NAME=value")
        for binding in bindings
        if binding.error
    ]
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


def _line(binding: Binding) -> int:
    """Line at which a statement's text begins; dotenv counts the blank lines before it as part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def variables_layer(variables: Variables) -> Layer:
    """What the environment, or `.env`, says about settings."""
    layer: Layer = {}
    for path, field in setting_fields().items():
        name = environment_name(field)
        if name and (found := variables.get(name)):
            layer[path] = Found(_from_text(field, str(found.value)), found.source)
    return layer


def flags_layer(flags: Flags) -> Layer:
    """What the command line says about settings."""
    fields = setting_fields()
    return {
        path: Found(_from_text(fields[path], text), f"flag --{path[1]}")
        for path, text in {("server", "host"): flags.host, ("server", "port"): flags.port}.items()
        if text is not None and not is_unset(text)
    }


def _from_text(field: FieldInfo, text: str) -> object:
    """The text as the field's type; the text itself where that fails, so that validation can show it."""
    adapter: TypeAdapter[object] = TypeAdapter(field.annotation or str)
    try:
        return adapter.validate_strings(text)
    except ValidationError:
        return text


_SECRETS_OF_STORE = {"redis.url": "REDIS_URL", "redis.text_key": "REDIS_TEXT_KEY"}


def misplaced_secret(key: str, found: Found) -> ConfigProblem:
    """For a secret that stands in `config.toml`."""
    name = _SECRETS_OF_STORE.get(key) or ("SERVER_TOKENS" if "token" in key.lower() else "OPENROUTER_API_KEY")
    what = (
        f"secrets are not read from this file; set {name} in the environment or in .env, "
        f"or {name}_FILE to the path of a file that holds it, or the systemd credential {name.lower()}"
    )
    return ConfigProblem(found.source, what, key)
