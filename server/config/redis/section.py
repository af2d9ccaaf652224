"""The settings of the store that several processes share."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr

from client.config import Env, Section, unquoted
from server.config.redis.url import parse_url

_KEY_BYTES: Final = 32
_MOST_KEYS: Final = 2
_PREFIX: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def _check_url(url: SecretStr) -> SecretStr:
    text = unquoted(url.get_secret_value())
    parse_url(text)
    return SecretStr(text)


def _keys_of(text: str) -> tuple[bytes, ...]:
    """
    Raises:
        ValueError: these are no keys.
    """
    keys = tuple(_key_of(part.strip()) for part in text.split(",") if part.strip())
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise ValueError("must be one key, or two with a comma between while one is replaced: the new one first")
    return keys


def _key_of(text: str) -> bytes:
    try:
        if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            return bytes.fromhex(text)
        key = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(
            f"must be {_KEY_BYTES} bytes in base64 or hexadecimal, as `openssl rand -base64 32` prints them"
        )
    return key


def _check_keys(keys: SecretStr) -> SecretStr:
    text = unquoted(keys.get_secret_value())
    _keys_of(text)
    return SecretStr(text)


def _check_prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("must be 1 to 64 letters, digits, or any of . _ : -")
    return prefix


class RedisConfig(Section):
    """The store that several processes share; nothing of it is used without an address."""

    url: Annotated[SecretStr, AfterValidator(_check_url)] | None = None
    """Address of a Redis 7.0 or Valkey 7.2, or newer. In `config.toml` only without a password."""
    text: Annotated[Literal["encrypted", "plain"] | None, Env("REDIS_TEXT")] = None
    """How answers are kept there; None: encrypted where there is a key, else not decided."""
    text_key: Annotated[SecretStr, AfterValidator(_check_keys)] | None = None
    """32 bytes, the same for all processes; two while one is replaced. Never read from `config.toml`."""
    prefix: Annotated[str, AfterValidator(_check_prefix), Env("REDIS_PREFIX")] = "openrouter-sse"
    """What every key there begins with; two deployments on one engine have two."""
    lease_s: Annotated[float, Field(ge=1, le=300), Env("REDIS_LEASE")] = 6.0
    """How long a process may be silent before others end its answers."""
    flush_ms: Annotated[float, Field(ge=1, le=1000), Env("REDIS_FLUSH_MS")] = 25.0
    """How far apart two writes there are, and so how far others are behind."""
    when_lost: Annotated[Literal["refuse", "serve"], Env("REDIS_WHEN_LOST")] = "refuse"
    """What callers with a budget get while it cannot be reached: 503, or what this process alone knows."""
    ca_file: Annotated[str | None, Env("REDIS_CA_FILE")] = None
    """Certificates that a `rediss://` address is checked with; None: those of the system."""

    @property
    def text_keys(self) -> tuple[bytes, ...]:
        """The keys, the one that encrypts first; empty: there are none, or nothing is encrypted."""
        return () if self.text_key is None else _keys_of(self.text_key.get_secret_value())
