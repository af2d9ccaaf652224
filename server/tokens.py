"""Tokens: how they are made, and what is kept of them."""

from __future__ import annotations

import hashlib
import json
import secrets

_PREFIX = "orsse_"
"""So that scanners for secrets, and people, know what they have found."""


def new_token() -> str:
    """A token of 256 random bits that can stand in a header, a URL or a shell without quotes."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is kept of a token: its SHA-256 in hexadecimal digits.

    A token may hold any bytes of a header, which aiohttp hands over as surrogates.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def caller_toml(name: str, token_sha256: str) -> str:
    """The `[[callers]]` of a caller without limits; JSON's texts are TOML's too."""
    return f'[[callers]]\nname = {json.dumps(name, ensure_ascii=False)}\ntoken_sha256 = "{token_sha256}"'
