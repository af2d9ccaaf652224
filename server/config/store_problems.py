"""What is wrong with the settings of the shared store when all of them are seen together."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from server.config.problems import ConfigProblem
from server.config.redis.section import RedisConfig
from server.config.redis.url import parse_url

_PACKAGES: Final = ("redis", "hiredis", "cryptography")
_CHOOSE: Final = (
    "nothing says how the text of answers is to be kept there: set REDIS_TEXT_KEY (the output of `openssl rand "
    '-base64 32`, the same for all processes) to have it encrypted, or redis.text = "plain"'
)


def store_problems(redis: RedisConfig, source: str) -> list[ConfigProblem]:
    """What speaks against these settings, each of which is right in itself.

    Args:
        source: the place that the address came from.
    """
    if redis.url is None:
        return []
    found: list[tuple[str, str]] = []
    if redis.text_key is None and redis.text is None:
        found.append(("redis.text", _CHOOSE))
    elif redis.text_key is None and redis.text == "encrypted":
        found.append(
            ("redis.text", 'is "encrypted", but there is no REDIS_TEXT_KEY; `openssl rand -base64 32` makes one')
        )
    elif redis.text_key is not None and redis.text == "plain":
        found.append(("redis.text", 'is "plain", but there is a REDIS_TEXT_KEY; take one of them away'))
    if redis.ca_file is not None:
        found += _ca_problems(redis.ca_file, uses_tls=parse_url(redis.url.get_secret_value()).uses_tls)
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        what = f"needs what is not installed ({', '.join(missing)}): bash scripts/install requirements-redis.txt"
        found.append(("redis.url", what))
    return [ConfigProblem(source, what, key) for key, what in found]


def _ca_problems(ca_file: str, *, uses_tls: bool) -> list[tuple[str, str]]:
    if not uses_tls:
        return [("redis.ca_file", "is set, but redis.url has no TLS: write rediss://")]
    if not Path(ca_file).is_file():
        return [("redis.ca_file", "is no file that can be read")]
    return []
