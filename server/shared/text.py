"""Keeps the text of answers unreadable for whoever reads the engine's memory, if that was asked for.

AES-256-GCM with a nonce drawn for each piece. It must not come from an event's number: a log that is written again is
cut elsewhere, and would use one for two texts. What a piece belongs to is authenticated with it, so that none can be
put in another's place.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_DRAWN: Final = 64


class Unreadable(Exception):
    """A piece was written with another key, or is not what it is taken for."""


class Text(Protocol):
    """How text goes there and comes back."""

    def seal(self, text: bytes, belongs: str) -> bytes:
        """The bytes to be kept; `belongs` says whose they are."""

    def unseal(self, kept: bytes, belongs: str) -> bytes:
        """The text again.

        Raises:
            Unreadable: it is not to be had.
        """


class Plain:
    """As it is."""

    def seal(self, text: bytes, belongs: str) -> bytes:
        """The text."""
        return text

    def unseal(self, kept: bytes, belongs: str) -> bytes:
        """The text."""
        return kept


class Encrypted:
    """Args:
    keys: of 32 bytes; the first one encrypts, all decrypt.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]
        self._nonces: list[bytes] = []

    def seal(self, text: bytes, belongs: str) -> bytes:
        """Nonce, then what it was encrypted to."""
        if not self._nonces:
            self._nonces = _drawn_nonces()
        nonce = self._nonces.pop()
        return nonce + self._ciphers[0].encrypt(nonce, text, belongs.encode())

    def unseal(self, kept: bytes, belongs: str) -> bytes:
        """As `Text.unseal`."""
        nonce, sealed, about = kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], belongs.encode()
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, sealed, about)
            except (InvalidTag, ValueError):
                continue
        raise Unreadable("was written with another REDIS_TEXT_KEY")


def _drawn_nonces() -> list[bytes]:
    """Many at once: one by one they cost as much as encrypting."""
    drawn = os.urandom(_NONCE_BYTES * _DRAWN)
    return [drawn[at : at + _NONCE_BYTES] for at in range(0, len(drawn), _NONCE_BYTES)]


def text_of(keys: Sequence[bytes]) -> Text:
    """How text is kept with these keys; without one it is plain."""
    return Encrypted(keys) if keys else Plain()
