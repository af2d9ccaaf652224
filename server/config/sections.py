"""The sections of `config.toml`, and the `Config` they add up to. Building one reads nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from client.config import LONGEST_S, MOST_BYTES, SHORTEST_S, Env, ModelsConfig, Section, StreamsConfig, UpstreamConfig
from mcp_app.config import McpConfig
from server.access.callers import LOCAL, Caller
from server.config.redis.section import RedisConfig

LOG_LEVELS = ("debug", "info", "warning", "error")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+;=:@%-]+)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_SOCKET_PATH = 107
"""Bytes of a UNIX socket's name (unix(7))."""
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_SHELLS = ("null", "file://")
"""What pages send that came from no server, such as those of desktop programs."""
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")


def _check_host(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):  # as in a URL
        host = host[1:-1]
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
    origin = origin.lower()
    if origin in _SHELLS:
        return origin
    origin = origin.removesuffix("/")
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


def _check_network(network: str) -> str:
    try:
        return str(ip_network(network))
    except ValueError as exc:
        raise ValueError(f"must be an IP address or a network such as 10.0.0.0/8: {exc}") from None


def _check_status_address(address: str) -> str:
    """A path, or a host and a port, of which `server.process.listening` makes a socket."""
    if address.startswith("/"):
        if len(address.encode()) > _LONGEST_SOCKET_PATH:
            raise ValueError(f"must be a path of at most {_LONGEST_SOCKET_PATH} bytes, as all UNIX sockets")
        return address
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError("must be the absolute path of a UNIX socket, or an address and a port: 127.0.0.1:9101")
    host = _check_host(host)
    return f"[{host}]:{int(port)}" if ":" in host else f"{host}:{int(port)}"


def _check_log_level(level: str) -> str:
    level = level.lower()
    if level not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return level


def check_root_path(path: str) -> str:
    """A path without a slash at its end, as it stands before ours.

    Raises:
        ValueError: it is none.
    """
    path = path.rstrip("/")
    if not _ROOT_PATH.fullmatch(path) or "/./" in f"{path}/" or "/../" in f"{path}/":
        raise ValueError("must be a path such as /llm, or empty")
    return path


Origin = Annotated[str, AfterValidator(_check_origin)]
Network = Annotated[str, AfterValidator(_check_network)]
StatusAddress = Annotated[str, AfterValidator(_check_status_address)]


class ServerConfig(Section):
    """Where to listen and what to accept."""

    host: Annotated[str, AfterValidator(_check_host), Env("HOST")] = "0.0.0.0"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535), Env("PORT")] = 8000
    """0 takes any free port."""
    reuse_port: Annotated[bool, Env("REUSE_PORT")] = False
    """Other processes may listen on the same port (SO_REUSEPORT); the kernel shares connections out."""
    status_address: Annotated[StatusAddress | None, Env("STATUS_ADDRESS")] = None
    """Where this process alone tells how it does: a UNIX socket's path, or host:port; None: nowhere."""
    max_body_bytes: Annotated[int, Field(ge=1, le=MOST_BYTES), Env("MAX_BODY_BYTES")] = 32 * 1024 * 1024
    """Larger requests get 413."""
    request_timeout_s: Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S), Env("REQUEST_TIMEOUT")] = 30.0
    """How long a request's head may take, and the silence in its body."""
    ping_interval_s: Annotated[float, Field(ge=0.01, le=LONGEST_S), Env("PING_INTERVAL")] = 15.0
    """A comment line goes to the caller after this much silence."""
    shutdown_timeout_s: Annotated[float, Field(ge=0, le=LONGEST_S), Env("SHUTDOWN_TIMEOUT")] = 30.0
    """How long running answers may finish after SIGTERM."""
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_split_commas), Env("CORS_ORIGINS")] = ()
    """Browser origins that may call."""
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(_split_commas), Env("TRUSTED_PROXIES")] = ()
    """Proxies whose forwarded headers are believed."""
    root_path: Annotated[str, AfterValidator(check_root_path), Env("ROOT_PATH")] = ""
    """What a proxy takes off the path of every request, and callers see before ours."""
    log_level: Annotated[str, AfterValidator(_check_log_level), Env("LOG_LEVEL")] = "info"
    """The least important lines that are logged."""
    state_dir: Annotated[str | None, Env("STATE_DIR")] = None
    """Folder of what must outlive the process; None: systemd's, else the user's."""


class PageConfig(Section):
    """The web page at `/`."""

    enabled: Annotated[bool, Env("PAGE_ENABLED")] = True
    """Serve it, its files, and the JavaScript client at `/client.js`."""


class Settings(BaseModel):
    """The sections of `config.toml`; a new one is one line here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: UpstreamConfig = Field(default_factory=UpstreamConfig)
    server: ServerConfig = Field(default_factory=ServerConfig)
    models: ModelsConfig = Field(default_factory=ModelsConfig)
    streams: StreamsConfig = Field(default_factory=StreamsConfig)
    mcp: McpConfig = Field(default_factory=McpConfig)
    page: PageConfig = Field(default_factory=PageConfig)
    redis: RedisConfig = Field(default_factory=RedisConfig)


class Config(Settings):
    """Everything the program was told. `Config()` is the defaults and reads nothing."""

    sandbox: bool = False
    """Serve from the stand-in OpenRouter inside this process."""
    callers: tuple[Caller, ...] = ()
    """Who may call; empty: callers on this machine only."""
    file: Path | None = None
    """The `config.toml` in use."""
    state_folder: Path | None = None
    """Folder of what must outlive the process; None: nothing does."""
    sources: Mapping[str, str] = Field(default_factory=dict)
    """Dotted key → where its value came from; a key at its default is missing. Holds no values."""

    def caller_named(self, name: str) -> Caller | None:
        """Who has a name; None when nobody has it any more."""
        return next((caller for caller in self.callers or (LOCAL,) if caller.name == name), None)

    @property
    def ledger_path(self) -> Path | None:
        """Where the usage ledger is; what the sandbox is said to cost is kept apart from real money."""
        return self._state_path("usage.sqlite3")

    @property
    def logs_path(self) -> Path | None:
        """Where logs on disk are, if they are to be kept there."""
        return self._state_path("streams.sqlite3") if self.streams.keep == "disk" else None

    def _state_path(self, name: str) -> Path | None:
        if self.state_folder is None:
            return None
        return self.state_folder / (f"sandbox-{name}" if self.sandbox else name)

    @property
    def store_prefix(self) -> str:
        """What every key in the shared store begins with; the sandbox's are kept apart from those of real money."""
        return f"{self.redis.prefix}-sandbox" if self.sandbox else self.redis.prefix

    @property
    def lacks_key(self) -> bool:
        """Whether upstream cannot be asked anything because there is no key."""
        return not self.sandbox and self.upstream.lacks_key


def setting_fields() -> dict[tuple[str, str], FieldInfo]:
    """Every key that `config.toml` and the environment can set, and the secret ones, by section and name."""
    return {
        (section, key): field for section, type_ in sections().items() for key, field in type_.model_fields.items()
    }


def environment_name(field: FieldInfo) -> str | None:
    """The environment variable that sets a field."""
    return next((mark.name for mark in field.metadata if isinstance(mark, Env)), None)


def is_secret(field: FieldInfo) -> bool:
    """Whether a field's value must never be shown."""
    return SecretStr in types_of(field)


def sections() -> dict[str, type[Section]]:
    """The sections and their names in the file."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def types_of(field: FieldInfo) -> set[object]:
    """The types in a field's annotation, through `X | None` and `Annotated[X, …]`."""
    found: set[object] = set()
    todo: list[object] = [field.annotation]
    while todo:
        annotation = todo.pop()
        found.add(annotation)
        todo += [argument for argument in get_args(annotation) if not isinstance(argument, Env)]
    return found
