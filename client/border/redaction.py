"""Taking out of upstream's words what nobody may see: this server's own key, whatever it looks like.

Upstreams repeat the key they were sent: whole, the beginning of it, or coded, in texts and in every other place of a
JSON value. The server knows its key, so nothing has to be guessed from its form. Pure module.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from typing import Any, Final
from urllib.parse import quote

from client.border.json_codec import encode_json

REMOVED: Final = "[removed]"

_SHORTEST = 8
"""Characters of a secret: a shorter one is a word like `none` that stands for no key at all."""

_PART = 10
"""Characters of a secret that are taken out wherever they stand together."""

_SHORTEST_IN_PARTS = 16
_MOST_WORDS = 256
_LONGEST_WORD = 100
"""Words that are remembered, and characters of each."""
_DEEPEST = 64


class Redaction:
    """Knows some secrets, and takes them out of what upstream said.

    Attributes:
        harmless: words that were looked through before.

    Args:
        secrets: blank and very short ones are no secrets.
    """

    def __init__(self, *secrets: str | None) -> None:
        known = [secret for secret in secrets if secret and len(secret.strip()) >= _SHORTEST]
        forms = sorted({form for secret in known for form in _forms_of(secret)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE) if forms else None
        self._forms = {form.lower() for form in forms}  # looked for first, since that is quick and finds nothing
        self.harmless: set[str] = set()
        self._parts = {part for secret in known for part in _parts_of(secret)}
        self._secrets = tuple(known)
        self._needles = tuple(secret.encode("utf-8", "replace") for secret in known)

    def text(self, text: str) -> str:
        """The text without any secret, nor a longer piece of one."""
        return self._without_parts(self.name(text))

    def name(self, text: str) -> str:
        """A name, which every answer has some of, without any secret as a whole."""
        lowered = text.lower()
        for form in self._forms:
            if form in lowered:
                return text if self._pattern is None else self._pattern.sub(REMOVED, text)
        return text

    def word(self, text: str) -> str:
        """As `name`, for what few names stand for again and again: models, providers, finish reasons."""
        if text in self.harmless:
            return text
        found = self.name(text)
        if found is text and len(text) <= _LONGEST_WORD:
            if len(self.harmless) >= _MOST_WORDS:
                self.harmless.clear()
            self.harmless.add(text)
        return found

    def number(self, value: float) -> float | str:
        """A number that holds no secret in its digits, or `REMOVED`."""
        if self._pattern is None or (type(value) is int and abs(value) < 10**_SHORTEST):
            return value
        try:
            digits = str(value)
        except ValueError:  # more digits than Python prints
            return REMOVED
        return value if self.text(digits) == digits else REMOVED

    def json(self, value: Any) -> Any:
        """A JSON value without any secret as a whole: in texts, numbers, and the keys of objects."""
        if self._pattern is None:
            return value
        encoded = encode_json(value).decode()
        return value if self.name(encoded) == encoded else self._copy(value)

    def json_in_parts(self, value: Any) -> Any:
        """A JSON value without any secret, nor a longer piece of one."""
        return value if self._pattern is None else self._copy(value)

    def _copy(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return self.number(value)
        if depth >= _DEEPEST:
            return None
        if isinstance(value, dict):
            return {self.text(str(key)): self._copy(item, depth + 1) for key, item in value.items()}
        return [self._copy(item, depth + 1) for item in value] if isinstance(value, list) else None

    def is_in(self, text: str) -> bool:
        """Whether a secret stands in a text as it is; quick, for pieces of an answer."""
        for secret in self._secrets:  # noqa: SIM110 - as below
            if secret in text:
                return True
        return False

    def concerns(self, data: bytes) -> bool:
        """Whether a secret stands in these bytes as it is; quick, for large bodies."""
        for needle in self._needles:  # noqa: SIM110 - a generator costs more than the search in one chunk
            if data.find(needle) >= 0:
                return True
        return False

    def _without_parts(self, text: str) -> str:
        if not self._parts:
            return text
        lowered, pieces, kept, at = text.lower(), [], 0, 0
        if len(lowered) != len(text):  # a few letters grow in lower case
            lowered = text
        while at <= len(text) - _PART:
            if lowered[at : at + _PART] not in self._parts:
                at += 1
                continue
            end = at + _PART
            while end < len(text) and lowered[end - _PART + 1 : end + 1] in self._parts:
                end += 1
            pieces += [text[kept:at], REMOVED]
            kept = at = end
        return "".join([*pieces, text[kept:]]) if pieces else text


NOTHING_TO_HIDE: Final = Redaction()


def _forms_of(secret: str) -> set[str]:
    """How a secret may be spelled: as it is, in a URL, in a JSON text, in Python's, in base64."""
    quoted = (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1])
    return {form for form in (*quoted, *_base64_forms(secret)) if len(form) >= _SHORTEST}


def _base64_forms(secret: str) -> set[str]:
    """The letters that a secret becomes at each of the three places in a group, whatever stands around it."""
    raw, forms = secret.encode("utf-8", "replace"), set()
    for before in range(3):
        padded = b"\0" * before + raw
        first, end = (before * 8 + 5) // 6, len(padded) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            forms.add(encode(padded).decode()[first:end])
    return forms


def _parts_of(secret: str) -> set[str]:
    if len(secret) < _SHORTEST_IN_PARTS:
        return set()
    lowered = secret.lower()
    return {lowered[at : at + _PART] for at in range(len(lowered) - _PART + 1)}
