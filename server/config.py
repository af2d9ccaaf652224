"""The settings of the whole program: `Config`, read once by `load_config`.

Precedence: flag > environment > `.env` in the working directory > `config.toml` > default. Each level becomes
a flat layer of path → value with the place it came from; the layers are laid over each other and pydantic
judges what is on top. A value that something above it overrides is not judged. Every problem is collected;
the first one never hides the next.

Secrets come from the environment, from files named there, or from systemd credentials, never from
`config.toml`.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le
from dotenv.parser import Binding, parse_stream
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from client.config import Env, ModelsConfig, Section, StreamsConfig, UpstreamConfig, is_unset
from mcp_app.config import McpConfig

FOLDER = "openrouter-sse-backend"
"""Name of this program's folder inside the user's configuration folder."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")


def _check_host(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise ValueError("must be an IP address or a host name, without scheme and port") from None
    return host


def _split_commas(value: object) -> object:
    """TOML gives a list, the environment a comma list."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return tuple(value) if isinstance(value, list) else value


def _check_origin(origin: str) -> str:
    """An origin spelled as browsers send it: lower case, no path, no default port (RFC 6454, section 6.2)."""
    origin = origin.lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("must be one exact origin such as https://app.example.org, without path or wildcard")
    parts = urlsplit(origin)
    try:
        port = parts.port
    except ValueError:
        raise ValueError("must have a port from 0 to 65535") from None
    if port is not None and port == _DEFAULT_PORTS.get(parts.scheme):
        return origin.rpartition(":")[0]
    return origin


Origin = Annotated[str, AfterValidator(_check_origin)]


class ServerConfig(Section):
    """Where to listen and what to accept."""

    host: Annotated[str, AfterValidator(_check_host), Env("HOST")] = "0.0.0.0"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535), Env("PORT")] = 8000
    """0 takes any free port."""
    max_body_bytes: Annotated[int, Field(ge=1), Env("MAX_BODY_BYTES")] = 32 * 1024 * 1024
    """Larger requests get 413."""
    ping_interval_s: Annotated[float, Field(gt=0), Env("PING_INTERVAL")] = 15.0
    """A comment line goes to the caller after this much silence."""
    shutdown_timeout_s: Annotated[float, Field(ge=0), Env("SHUTDOWN_TIMEOUT")] = 30.0
    """How long running answers may finish after SIGTERM."""
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_split_commas), Env("CORS_ORIGINS")] = ()
    """Browser origins that may call."""


class Settings(BaseModel):
    """The sections of `config.toml`; a new one is one line here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: UpstreamConfig = Field(default_factory=UpstreamConfig)
    server: ServerConfig = Field(default_factory=ServerConfig)
    models: ModelsConfig = Field(default_factory=ModelsConfig)
    streams: StreamsConfig = Field(default_factory=StreamsConfig)
    mcp: McpConfig = Field(default_factory=McpConfig)


class Config(Settings):
    """Everything the program was told. `Config()` is the defaults and reads nothing."""

    sandbox: bool = False
    """Serve from the stand-in OpenRouter inside this process."""
    tokens: tuple[SecretStr, ...] = ()
    """Callers' tokens; empty: callers on this machine only."""
    file: Path | None = None
    """The `config.toml` in use."""
    sources: Mapping[str, str] = Field(default_factory=dict)
    """Dotted key → where its value came from; a key at its default is missing. Holds no values."""

    @property
    def lacks_key(self) -> bool:
        """Whether upstream cannot be asked anything because there is no key."""
        return not self.sandbox and self.upstream.api_key is None and self.upstream.needs_key


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says about the settings; text as typed, judged with everything else."""

    config: str | None = None
    host: str | None = None
    port: str | None = None
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong with the settings.

    Attributes:
        where: the file, environment variable or flag.
        what: what is wrong and what would be right, for a person.
        key: dotted key, such as `server.port`; None when the place as a whole is wrong.
        value: the offending value as it can be shown; None when there is none or it may be a secret.
        nearest: the known key that was probably meant.
    """

    where: str
    what: str
    key: str | None = None
    value: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        setting = "" if self.key is None else f": {self.key}" + (f" = {self.value}" if self.value else "")
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.where}{setting}: {self.what}{hint}"


class ConfigError(Exception):
    """The settings cannot be used.

    Attributes:
        problems: all of them, never empty.
        config: what stands without the offending values; shown beside the problems, never served from.
    """

    def __init__(self, problems: Sequence[ConfigProblem], config: Config) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)
        self.config = config


_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    value: object
    source: str


_Layer = dict[_Path, _Found]


@dataclass(frozen=True, slots=True)
class _Variables:
    """The environment, or a `.env` file, with the words to name a variable of it."""

    values: Mapping[str, str]
    place: str

    def get(self, name: str) -> _Found | None:
        text = self.values.get(name)
        return None if text is None or is_unset(text) else _Found(text.strip(), f"{self.place} {name}")


def load_config(flags: Flags, environ: Mapping[str, str], cwd: Path) -> Config:
    """Reads every level of settings; called once, at start-up.

    Args:
        flags: from the command line.
        environ: the process environment; nothing else is read from the process.
        cwd: the working directory, where `.env` and `config.toml` are looked for.

    Raises:
        ConfigError: with every problem there is.
    """
    problems: list[ConfigProblem] = []
    environment = _Variables(environ, "environment variable")
    dotenv = _Variables(_read_dotenv(cwd / ".env", problems), str(cwd / ".env"))
    file, text = _find_file(flags, environment, dotenv, cwd, problems)
    found = {
        **_file_layer(file, text, problems),
        **_variables_layer(dotenv),
        **_variables_layer(environment),
        **_flags_layer(flags),
    }
    if key := _find_secret("OPENROUTER_API_KEY", environment, dotenv, cwd, problems):
        found["upstream", "api_key"] = key
    listed = _find_secret("SERVER_TOKENS", environment, dotenv, cwd, problems)
    tokens = () if listed is None else _tokens(listed, problems)
    settings, invalid = _validate(found)
    problems += invalid
    if listed is not None:
        found["tokens",] = listed
    if flags.sandbox:
        found["sandbox",] = _Found(True, "flag --sandbox")
    config = Config(
        **{name: getattr(settings, name) for name in Settings.model_fields},
        sandbox=flags.sandbox,
        tokens=tokens,
        file=file,
        sources={_dotted(path): item.source for path, item in found.items()},
    )
    if problems:
        raise ConfigError(problems, config)
    return config


def setting_fields() -> dict[tuple[str, str], FieldInfo]:
    """Every key that `config.toml` and the environment can set, and the secret ones, by section and name."""
    return {
        (section, key): field for section, type_ in _sections().items() for key, field in type_.model_fields.items()
    }


def environment_name(field: FieldInfo) -> str | None:
    """The environment variable that sets a field."""
    return next((mark.name for mark in field.metadata if isinstance(mark, Env)), None)


def is_secret(field: FieldInfo) -> bool:
    """Whether a field's value must never be shown."""
    return SecretStr in _types(field)


def _sections() -> dict[str, type[Section]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _types(field: FieldInfo) -> set[object]:
    """The types in a field's annotation, through `X | None` and `Annotated[X, …]`."""
    found: set[object] = set()
    todo: list[object] = [field.annotation]
    while todo:
        annotation = todo.pop()
        found.add(annotation)
        todo += [argument for argument in get_args(annotation) if not isinstance(argument, Env)]
    return found


# The levels, lowest first.


def _candidates(
    flags: Flags, environment: _Variables, dotenv: _Variables, cwd: Path
) -> Iterator[tuple[Path, str | None]]:
    """Places for `config.toml`, best first, with who named the file when it has to be there."""
    named = environment.get("OPENROUTER_CONFIG") or dotenv.get("OPENROUTER_CONFIG")
    if flags.config:
        yield cwd / flags.config, "flag --config"
    elif named:
        yield cwd / str(named.value), named.source
    else:
        yield cwd / "config.toml", None
        # systemd.exec(5): several folders are separated by colons
        for folder in filter(None, environment.values.get("CONFIGURATION_DIRECTORY", "").split(":")):
            yield Path(folder) / "config.toml", None
        if user_folder := _user_folder(environment.values):
            yield user_folder / FOLDER / "config.toml", None


def _user_folder(environ: Mapping[str, str]) -> Path | None:
    if folder := environ.get("XDG_CONFIG_HOME"):
        return Path(folder)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) / ".config" if home else None


def _find_file(
    flags: Flags, environment: _Variables, dotenv: _Variables, cwd: Path, problems: list[ConfigProblem]
) -> tuple[Path | None, str]:
    """The first `config.toml` there is, and its text."""
    for path, named_by in _candidates(flags, environment, dotenv, cwd):
        # False too for a folder that may not be entered, such as a home folder hidden from a service
        if named_by is None and not os.path.lexists(path):
            continue
        try:
            return path, _read_text(path)
        except OSError as exc:
            naming = f" (named by {named_by})" if named_by else ""
            problems.append(ConfigProblem(str(path), f"cannot be read{naming}: {_reason(exc)}"))
            return path, ""
    return None, ""


def _read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        OSError: also for a file that is not UTF-8; the message says at which line.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        column = exc.start - (data.rfind(b"\n", 0, exc.start) + 1) + 1
        raise OSError(f"not UTF-8 at line {line}, column {column}") from None


def _reason(exc: OSError) -> str:
    return exc.strerror or str(exc)


def _file_layer(path: Path | None, text: str, problems: list[ConfigProblem]) -> _Layer:
    where = str(path)
    layer: _Layer = {}
    for name, value in _parse_toml(where, text, problems).items():
        if name not in _sections():
            layer[name,] = _Found(value, where)
        elif isinstance(value, dict):
            layer |= {(name, key): _Found(item, where) for key, item in value.items()}
        else:
            problems.append(ConfigProblem(where, f"must be a table, written as [{name}]", name))
    return {path_: found for path_, found in layer.items() if _counts(path_, found, problems)}


def _counts(path: _Path, found: _Found, problems: list[ConfigProblem]) -> bool:
    """Whether an entry of the file is handed on: not when it is a secret, nor a known key left blank."""
    field = setting_fields().get((path[0], path[-1])) if len(path) == 2 else None
    if field is not None and is_secret(field):
        problems.append(_misplaced_secret(_dotted(path), found))
        return False
    return field is None or not is_unset(found.value)


def _parse_toml(where: str, text: str, problems: list[ConfigProblem]) -> dict[str, Any]:
    try:
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
        return {}


def _read_dotenv(path: Path, problems: list[ConfigProblem]) -> dict[str, str]:
    """The variables of a `.env` file, as written: nothing is interpolated."""
    try:
        if path.is_dir():  # some name their virtual environment so
            return {}
        bindings = list(parse_stream(io.StringIO(_read_text(path))))
    except FileNotFoundError:
        return {}
    except OSError as exc:
        problems.append(ConfigProblem(str(path), f"cannot be read: {_reason(exc)}"))
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


def _variables_layer(variables: _Variables) -> _Layer:
    layer: _Layer = {}
    for path, field in setting_fields().items():
        name = environment_name(field)
        if name and (found := variables.get(name)):
            layer[path] = _Found(_from_text(field, str(found.value)), found.source)
    return layer


def _flags_layer(flags: Flags) -> _Layer:
    fields = setting_fields()
    return {
        path: _Found(_from_text(fields[path], text), f"flag --{path[1]}")
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


# Secrets.

_SECRETS = {"OPENROUTER_API_KEY": "upstream.api_key", "SERVER_TOKENS": "tokens"}
"""Environment name → the key under which problems and sources name it."""


def _find_secret(
    name: str, environment: _Variables, dotenv: _Variables, cwd: Path, problems: list[ConfigProblem]
) -> _Found | None:
    return (
        _named_secret(name, environment, cwd, problems)
        or _credential(name, environment, problems)
        or _named_secret(name, dotenv, cwd, problems)
    )


def _named_secret(name: str, variables: _Variables, cwd: Path, problems: list[ConfigProblem]) -> _Found | None:
    """NAME, else the content of the file in NAME_FILE."""
    if found := variables.get(name):
        return found
    named = variables.get(f"{name}_FILE")
    if named is None:
        return None
    path = cwd / str(named.value)
    try:
        text = _read_text(path)
    except OSError as exc:
        problems.append(ConfigProblem(named.source, f"{path} cannot be read: {_reason(exc)}", _SECRETS[name]))
        return None
    if is_unset(text):
        problems.append(ConfigProblem(named.source, f"{path} is empty", _SECRETS[name]))
        return None
    return _Found(text.strip(), f"{named.source} {path}")


def _credential(name: str, environment: _Variables, problems: list[ConfigProblem]) -> _Found | None:
    """What systemd's LoadCredential= left for us (systemd.exec(5), section Credentials)."""
    folder = environment.values.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / name.lower()
    try:
        text = _read_text(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        what = f"{path} cannot be read: {_reason(exc)}"
        problems.append(ConfigProblem(f"credential {path.name}", what, _SECRETS[name]))
        return None
    return None if is_unset(text) else _Found(text.strip(), f"credential {path.name}")


def _tokens(found: _Found, problems: list[ConfigProblem]) -> tuple[SecretStr, ...]:
    """The callers' tokens, one per line or in a comma list."""
    parts = (part.strip() for part in re.split(r"[,\r\n]", str(found.value)))
    tokens = list(dict.fromkeys(filter(None, parts)))
    if not tokens:
        problems.append(ConfigProblem(found.source, "holds no token", "tokens"))
    if not all(re.fullmatch(r"[!-~]+", token) for token in tokens):
        problems.append(ConfigProblem(found.source, "must be printable ASCII without spaces", "tokens"))
    return tuple(map(SecretStr, tokens))


# Judging what was found.


def _validate(found: _Layer) -> tuple[Settings, list[ConfigProblem]]:
    """The settings, built without the offending values, and a problem for each of these."""
    try:
        return _build(found), []
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    problems = [_problem(error, found) for error in errors]
    locations = [error["loc"] for error in errors]
    rest = {path: item for path, item in found.items() if not any(_overlap(path, loc) for loc in locations)}
    return _build(rest), problems


def _build(found: _Layer) -> Settings:
    tree: dict[str, Any] = {}
    for path, item in found.items():
        if len(path) == 1:
            tree[path[0]] = item.value
        else:
            tree.setdefault(path[0], {})[path[1]] = item.value
    return Settings.model_validate(tree)


def _overlap(path: _Path, loc: tuple[int | str, ...]) -> bool:
    shorter = min(len(path), len(loc))
    return path[:shorter] == loc[:shorter]


def _problem(error: ErrorDetails, found: _Layer) -> ConfigProblem:
    loc = error["loc"]
    path, item = next((path, item) for path, item in found.items() if _overlap(path, loc))
    key = _dotted(loc)
    if error["type"] == "extra_forbidden":
        return _unknown_key(key, item, error["input"])
    field = setting_fields().get((path[0], path[-1]))
    if error["type"] == "value_error":
        what = str(error["ctx"]["error"])
    elif field is not None and loc == path:
        what = f"must be {expected(path[-1], field)}"
    else:
        what = error["msg"]
    secret = field is not None and is_secret(field)
    return ConfigProblem(item.source, what, key, None if secret else _shown(error["input"]))


def _unknown_key(key: str, item: _Found, value: object) -> ConfigProblem:
    if isinstance(value, str | list) and _SECRET_NAME.search(key):
        return _misplaced_secret(key, item)
    if isinstance(value, dict):
        return ConfigProblem(item.source, "unknown section", key, None, _nearest(key, list(Settings.model_fields)))
    known = [_dotted(known_path) for known_path, field in setting_fields().items() if not is_secret(field)]
    return ConfigProblem(item.source, "unknown key", key, _shown(value), _nearest(key, known))


_SECRET_NAME = re.compile(r"api[_-]?key|secret|password|token|bearer|credential|^key$|\.key$", re.IGNORECASE)


def _misplaced_secret(key: str, found: _Found) -> ConfigProblem:
    name = "SERVER_TOKENS" if "token" in key.lower() else "OPENROUTER_API_KEY"
    what = (
        f"secrets are not read from this file; set {name} in the environment or in .env, "
        f"or {name}_FILE to the path of a file that holds it, or the systemd credential {name.lower()}"
    )
    return ConfigProblem(found.source, what, key)


def _nearest(key: str, known: Sequence[str]) -> str | None:
    """The known key with the same last word, else the most similar one."""
    leaf = key.rpartition(".")[2]
    by_leaf = {name.rpartition(".")[2]: name for name in known}
    similar = difflib.get_close_matches(key, known, n=1)
    similar_leaf = difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.75)
    return by_leaf.get(leaf) or next(iter([*similar, *map(by_leaf.__getitem__, similar_leaf)]), None)


def expected(key: str, field: FieldInfo) -> str:
    """What a field takes, in words: type, unit and range."""
    unit = next((f" of {unit}" for end, unit in _UNITS.items() if key.endswith(end)), "")
    bounds = [words for mark in field.metadata if (words := _bound(mark))]
    return ", ".join([f"{_noun(field)}{unit}", *bounds])


_UNITS = {"_s": "seconds", "_bytes": "bytes"}


def _noun(field: FieldInfo) -> str:
    if get_origin(field.annotation) is tuple:
        return "a list of texts"
    types = _types(field)
    if int in types:
        return "a whole number"
    return "a number" if float in types else "a text"


def _bound(mark: object) -> str | None:
    match mark:
        case Ge(ge=limit):
            return f"at least {limit}"
        case Gt(gt=limit):
            return f"more than {limit}"
        case Le(le=limit):
            return f"at most {limit}"
        case _:
            return None


def _dotted(path: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _shown(value: object) -> str | None:
    """The value for a message: one line, not too long, and without what may be a secret in it."""
    if isinstance(value, dict):
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    if re.search(r"\bsk-", text):  # as OpenRouter's keys begin
        return "********"
    if "://" in text or "@" in text:  # a password, or a key in the query
        text = re.sub(r'(?<=[?#])[^"]+', "********", re.sub(r'[^"]*@', "********@", text))
    return text if len(text) <= 80 else f"{text[:77]}..."
