"""The settings of `client`, as sections that `server.config` puts together.

Every field's default, range, unit and environment variable is stated here once; `config.toml`, `docs/settings.md` and
the error messages follow it. Building a section reads nothing: no file, no environment.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from client.border.base_url import check_base_url, is_openrouter

LONGEST_S: Final = 366 * 86_400
"""A year: what is longer is no limit that somebody can mean, and more than some timers can count."""
SHORTEST_S: Final = 0.001
"""What is shorter is over before anything can come."""
MOST_BYTES: Final = 2**40
MOST_AT_ONCE: Final = 1_000_000
"""Of whatever is counted: answers, sessions, requests."""


@dataclass(frozen=True, slots=True)
class Env:
    """Marks a field with the environment variable that sets it."""

    name: str


def is_unset(value: object) -> bool:
    """Whether a value stands for "not set": blank text, or a `${NAME}` that nobody filled in."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return isinstance(value, str) and (not value.strip() or value.lstrip().startswith("${"))


_PLACEHOLDER = re.compile(
    r"<.*>|\$\w+|\[.*\]|\{.*\}|[x*.…_-]+|(sk-)?(or-)?(v1-)?[x*.…_-]+"
    r"|(paste|put|insert|enter|add|type|replace|set)[\s_-].*|(sk-)?(or-)?(v1-)?(your|my|the)[\s_-].*"
    r"|change[\s_-]?me|todo|tbd|none|null|undefined|example|secret|(openrouter[\s_-])?api[\s_-]?key|key|token",
    re.IGNORECASE,
)


def is_placeholder(secret: str) -> bool:
    """Whether a secret is what stands where one belongs: `<your key>`, `paste-your-key-here`."""
    return _PLACEHOLDER.fullmatch(secret.strip()) is not None


QUOTES: Final = ('"', "'")


def unquoted(text: str) -> str:
    """A text without the one pair of quotes around it that `docker --env-file` and the like leave there."""
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES and text[0] not in text[1:-1]
    return text[1:-1].strip() if is_quoted else text


class Section(BaseModel):
    """A frozen group of settings that knows no other key; an unset value leaves the default."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,  # a TOML `port = "8000"` or `port = true` is a mistake; text is parsed by server.config
        allow_inf_nan=False,
        str_strip_whitespace=True,
        hide_input_in_errors=True,  # the input may be a key
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_unset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if not is_unset(value)}


def has_control_characters(text: str) -> bool:
    """Whether the text holds a line break, a tab or any other control character."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def _check_header(text: str) -> str:
    """Refuses what would split or break an HTTP header."""
    if has_control_characters(text):
        raise ValueError("must not hold line breaks or other control characters: it is sent as an HTTP header")
    return text  # sent as UTF-8, whatever it holds


def _check_key(key: SecretStr) -> SecretStr:
    text = _check_header(unquoted(key.get_secret_value()))
    if text.startswith(QUOTES) or text.endswith(QUOTES):
        raise ValueError("must not begin or end with a quote; copy it once more, without quotes")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be printable ASCII without spaces, as keys are; copy it once more")
    return SecretStr(text)


BaseUrl = Annotated[str, AfterValidator(check_base_url)]
HeaderText = Annotated[str, AfterValidator(_check_header)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_check_key)]


Protocol = Literal["messages", "responses", "completions", "embeddings"]
PROTOCOLS: Final = get_args(Protocol)
"""What an upstream may speak beside chat completions, each below its base URL at a path of that name."""


def _split_protocols(value: object) -> object:
    """A comma list from the environment, or a TOML list, which strict mode would not take for a tuple; `none` and
    nothing else is an empty one."""
    if isinstance(value, str):
        names = [item.strip() for item in value.split(",") if item.strip()]
        return () if names == ["none"] else tuple(names)
    return tuple(value) if isinstance(value, list) else value


class UpstreamConfig(Section):
    """Where OpenRouter is and how long to wait for it."""

    base_url: Annotated[BaseUrl, Env("OPENROUTER_BASE_URL")] = "https://openrouter.ai/api/v1"
    """Any OpenRouter- or OpenAI-compatible base URL; kept without a trailing slash."""
    api_key: HeaderSecret | None = None
    """Sent as Bearer. Never read from `config.toml`."""
    http_referer: Annotated[HeaderText | None, Env("HTTP_REFERER")] = None
    """Sent as `HTTP-Referer`."""
    x_title: Annotated[HeaderText | None, Env("X_TITLE")] = None
    """Sent as `X-OpenRouter-Title` and `X-Title`."""
    model: Annotated[str, Env("MODEL_NAME")] = "openai/gpt-4o-mini"
    """Used when the caller names no model."""
    timeout_s: Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S), Env("API_TIMEOUT")] = 300.0
    """Longest wait for the model's next event; the whole answer has no limit."""
    connect_timeout_s: Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S), Env("OPENROUTER_CONNECT_TIMEOUT")] = 10.0
    """TCP and TLS together."""
    idle_timeout_s: Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S), Env("OPENROUTER_IDLE_TIMEOUT")] = 90.0
    """Longest silence on the wire; comment lines count as life."""
    protocols: Annotated[
        tuple[Protocol, ...] | None, BeforeValidator(_split_protocols), Env("OPENROUTER_PROTOCOLS")
    ] = None
    """What upstream speaks beside chat completions; None: OpenRouter itself all of it, another host nothing."""
    max_retries: Annotated[int, Field(ge=0, le=10), Env("OPENROUTER_MAX_RETRIES")] = 2
    """Only before the model's first event."""
    max_event_bytes: Annotated[int, Field(ge=1024, le=MOST_BYTES), Env("MAX_EVENT_BYTES")] = 32 * 1024 * 1024
    """A larger event is a protocol error. One event is decoded in one go, in which nobody else has a turn."""

    def speaks(self, protocol: str) -> bool:
        """Whether upstream can be asked in one of `PROTOCOLS`; else such a request is translated, or refused."""
        return is_openrouter(self.base_url) if self.protocols is None else protocol in self.protocols

    @property
    def needs_key(self) -> bool:
        """Whether nothing can be asked without a key: true for OpenRouter itself, false for other hosts."""
        return is_openrouter(self.base_url)

    @property
    def lacks_key(self) -> bool:
        """Whether a key is needed and there is none."""
        return self.api_key is None and self.needs_key


class ModelsConfig(Section):
    """How long the catalogue is kept."""

    ttl_s: Annotated[float, Field(ge=0, le=LONGEST_S), Env("MODELS_TTL")] = 300.0
    """Age at which the catalogue is refreshed."""


class StreamsConfig(Section):
    """How long an answer outlives its readers, and how much is kept of it."""

    grace_s: Annotated[float, Field(ge=0, le=LONGEST_S), Env("STREAM_GRACE")] = 10.0
    """How long a running answer goes on with no reader; 0 stops it at once."""
    max_grace_s: Annotated[float, Field(ge=0, le=LONGEST_S), Env("STREAM_MAX_GRACE")] = 600.0
    """Longest grace that a request may ask for."""
    retain_s: Annotated[float, Field(ge=0, le=LONGEST_S), Env("STREAM_RETAIN")] = 300.0
    """How long a finished log can be read."""
    max_log_bytes: Annotated[int, Field(ge=65536, le=MOST_BYTES), Env("STREAM_MAX_LOG_BYTES")] = 8 * 1024 * 1024
    """Per stream; a full log slows upstream down to the speed of its readers."""
    max_result_bytes: Annotated[int, Field(ge=65536, le=MOST_BYTES), Env("STREAM_MAX_RESULT_BYTES")] = (
        64 * 1024 * 1024
    )
    """Largest answer that is gathered for one reply; one that is streamed has no limit."""
    max_total_bytes: Annotated[int, Field(ge=65536, le=MOST_BYTES), Env("STREAM_MAX_TOTAL_BYTES")] = 256 * 1024 * 1024
    """All answers together, logs and what each takes beside; the oldest finished ones go first."""
    max_active: Annotated[int, Field(ge=1, le=MOST_AT_ONCE), Env("MAX_STREAMS")] = 1000
    """More running answers than this are refused."""
    keep: Annotated[Literal["memory", "disk"], Env("STREAMS_KEEP")] = "memory"
    """Where logs are; on disk, in `server.state_dir`, they are also read after a restart."""
    max_disk_bytes: Annotated[int, Field(ge=1_048_576, le=MOST_BYTES), Env("STREAM_MAX_DISK_BYTES")] = (
        1024 * 1024 * 1024
    )
    """All logs on disk together; the oldest finished ones go first."""
