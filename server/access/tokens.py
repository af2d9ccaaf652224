"""Tokens: how they are made, and what is kept of them."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections import Counter
from collections.abc import Container, Sequence

_PREFIX = "orsse_"
"""So that scanners for secrets, and people, know what they have found."""

_NAME_PREFIX = "token-"
_NAME_DIGITS = 8
_HASH_DIGITS = 64
_TOKEN_NAME = re.compile(f"{_NAME_PREFIX}([0-9a-f]{{{_NAME_DIGITS},{_HASH_DIGITS}}})", re.IGNORECASE)


def new_token() -> str:
    """A token of 256 random bits that can stand in a header, a URL or a shell without quotes."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is kept of a token: its SHA-256 in hexadecimal digits.

    A token may hold any bytes of a header, which aiohttp hands over as surrogates.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def names_of_tokens(hashes: Sequence[str], taken: Container[str] = ()) -> list[str]:
    """What callers are named that have nothing but a token: `token-` and the first 8 digits of its SHA-256.

    So a name belongs to its token, wherever that stands in a list. Tokens whose digits are alike, or whose name is
    taken, get more digits, as many as tell them apart.
    """
    names: dict[str, str] = {}
    left = set(hashes)
    for digits in range(_NAME_DIGITS, _HASH_DIGITS + 1):
        alike = Counter(hashed[:digits] for hashed in left)
        fit = {hashed for hashed in left if alike[hashed[:digits]] == 1 and _name(hashed, digits) not in taken}
        names |= {hashed: _name(hashed, digits) for hashed in fit}
        left -= fit
        if not left:
            break
    return [names.get(hashed) or _name(hashed, _HASH_DIGITS) for hashed in hashes]


def is_name_of_token(name: str) -> bool:
    """Whether a name is one that callers are given who have nothing but a token."""
    return _TOKEN_NAME.fullmatch(name) is not None


def may_be_named(name: str, token_sha256: str) -> bool:
    """False for a name that is made of another token."""
    found = _TOKEN_NAME.fullmatch(name)
    return found is None or token_sha256.startswith(found[1])


def _name(token_sha256: str, digits: int) -> str:
    return _NAME_PREFIX + token_sha256[:digits]


def caller_toml(name: str, token_sha256: str) -> str:
    """The `[[callers]]` of a caller without limits; JSON's texts are TOML's too."""
    return f'[[callers]]\nname = {json.dumps(name, ensure_ascii=False)}\ntoken_sha256 = "{token_sha256}"'
