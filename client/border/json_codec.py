"""The one JSON encoder and the one careful decoder of the product.

What OpenRouter, a provider or a caller may put into JSON is more than most encoders put out again: halves of
surrogate pairs, `NaN`, numbers of any length, nesting of any depth. Rules of this module:

1. `decode_json` never raises, whatever the bytes are; `encode_json` never raises for what that gave, nor our structs.
2. What goes out is JSON of one line that every reader takes: no `NaN`, no raw line end of any kind, pure UTF-8.
3. The fast way is msgspec's, and is tried first; what it refuses goes ways that are slower and refuse nothing.

Pure module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder().decode

_LINE_ENDS = re.compile("[\u0085\u2028\u2029]")
_ESCAPED = {b"\xc2\x85": b"\\u0085", b"\xe2\x80\xa8": b"\\u2028", b"\xe2\x80\xa9": b"\\u2029"}
_MOST_DIGITS = 4300
"""Of an integer: CPython refuses to read or write longer ones, and so do the readers of what we send."""
_LEVELS_BETWEEN_TRIES = 400
_MAX_DEPTH = 150_000
"""Levels that are followed; what is deeper is taken for no JSON. It bounds memory, not what anybody sends."""


def encode_text(text: str) -> bytes:
    """A JSON string of one line. Raw U+2028, U+2029 and U+0085 are legal in it, but line readers of many languages
    cut there, so they go out escaped, as does half of a surrogate pair, which UTF-8 cannot carry."""
    try:
        encoded = _encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode()
    if not text.isascii() and _LINE_ENDS.search(text):
        return escape_line_ends(encoded)
    return encoded


def encode_texts(texts: list[str]) -> list[bytes]:
    """The same for many."""
    try:
        lines = _encode_lines(texts)
    except UnicodeEncodeError:
        return list(map(encode_text, texts))
    return (lines if lines.isascii() else escape_line_ends(lines)).split(b"\n")[:-1]


def encode_json(value: Any) -> bytes:
    """Any JSON value or struct of ours on one line; what is no number (`NaN`, infinities) goes out as null."""
    try:
        encoded = _encode(value)
    except (UnicodeEncodeError, ValueError, OverflowError, RecursionError):
        encoded = _encode_carefully(value)
    return encoded if encoded.isascii() else escape_line_ends(encoded)


def decode_json(data: bytes) -> Any:
    """Any JSON value; None when it is not JSON.

    Invalid UTF-8 becomes U+FFFD, as the SSE standard decodes it; halves of surrogate pairs are let through; a number
    beyond all reason is an infinity.
    """
    return decode_either_way(data)[0]


def decode_either_way(data: bytes) -> tuple[Any, bool]:
    """As `decode_json`, and whether the fast way has sufficed: then nothing in it is odd but its meaning."""
    try:
        return _decode(data), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_carefully(data), False


def escape_line_ends(encoded: bytes) -> bytes:
    """JSON without the line ends that `encode_text` escapes; they can stand in its strings only."""
    for raw, escaped in _ESCAPED.items():
        encoded = encoded.replace(raw, escaped)
    return encoded


# -- encoding what msgspec refuses ----------------------------------------------------------------------------------


def _encode_carefully(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except (ValueError, RecursionError):
        return b"".join(_pieces(value))


def _plain(value: Any) -> Any:
    """A struct as an object, one level of it; another type as msgspec writes it."""
    if not isinstance(value, msgspec.Struct):
        return json.loads(_encode(value))
    fields = msgspec.structs.asdict(value)
    if type(value).__struct_config__.omit_defaults:
        defaults = {field.name: field for field in msgspec.structs.fields(value)}
        return {name: item for name, item in fields.items() if not _is_default(defaults[name], item)}
    return fields


def _is_default(field: msgspec.structs.FieldInfo, value: Any) -> bool:
    if field.default is not msgspec.NODEFAULT:
        return value is field.default
    return field.default_factory is type(value) and not value


def _pieces(value: Any) -> Iterator[bytes]:
    """The encoding piece by piece, without recursion; what can go the fast way goes it whole."""
    open_values: list[tuple[Iterator[Any], bytes]] = []
    try_from = 0  # the depth from which a value may be shallow enough for the fast way
    pending, lead = value, b""
    while True:
        whole = None
        if len(open_values) >= try_from:
            try:
                whole = _encode(pending)
            except RecursionError:
                try_from = len(open_values) + _LEVELS_BETWEEN_TRIES
            except (UnicodeEncodeError, ValueError, OverflowError):
                pass
        opened = None if whole is not None else _opened(pending)
        if opened is None:
            yield lead + (_scalar(pending) if whole is None else whole)
        else:
            yield lead + opened[0]
            open_values.append(opened[1:])
        lead = b"" if opened else b","
        while open_values:
            items, end = open_values[-1]
            try:
                pending = next(items)
            except StopIteration:
                open_values.pop()
                yield end
                lead, try_from = b",", 0
            else:
                break
        else:
            return
        if end == b"}":
            key, pending = pending
            lead += encode_text(key if isinstance(key, str) else str(key)) + b":"


def _opened(value: Any) -> tuple[bytes, Iterator[Any], bytes] | None:
    """The beginning, the items and the end of an object or array; None for a scalar."""
    if isinstance(value, msgspec.Struct):
        value = _plain(value)
    if isinstance(value, Mapping):
        return b"{", iter(value.items()), b"}"
    if isinstance(value, (list, tuple)):
        return b"[", iter(value), b"]"
    return None


def _scalar(value: Any) -> bytes:
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return b"null"
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return b"%d" % value
        except ValueError:  # more digits than CPython writes; a decimal has no such limit
            return str(Decimal(value)).encode()
    return _encode(value)


# -- decoding what msgspec refuses ----------------------------------------------------------------------------------


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


_decode_text = json.JSONDecoder(strict=False, parse_int=_integer).decode
"""Not strict: a raw control character in a string is a fault of its writer, not a reason to lose the text."""
_scan_text = json.decoder.scanstring  # type: ignore[attr-defined]
_scan = json.JSONDecoder(strict=False, parse_int=_integer).scan_once  # type: ignore[attr-defined]
_skip_blanks = re.compile(r"[ \t\n\r]*").match


def _decode_carefully(data: bytes) -> Any:
    text = data.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    try:
        return _decode_text(text)
    except RecursionError:
        return _decode_deep(text)
    except ValueError:
        return None


class _NoJson(Exception):
    """The text is not JSON."""


def _decode_deep(text: str) -> Any:
    """Without recursion, for nesting that the decoders above refuse."""
    try:
        return _DeepDecoder(text).decode()
    except (ValueError, StopIteration, IndexError, _NoJson):
        return None


class _DeepDecoder:
    """Reads one text, with the open arrays and objects in a list."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[list[Any] | dict[str, Any]] = []
        self._keys: list[str] = []  # of the open objects
        self._try_from = 0  # the depth from which a value may be shallow enough for the scanner in C

    def decode(self) -> Any:
        """The value.

        Raises:
            ValueError, StopIteration, IndexError, _NoJson: there is none.
        """
        while True:
            value = self._value()
            while self._open and self._ends_after(value):
                value = self._close()
            if not self._open:
                if self._peek():
                    raise _NoJson
                return value

    def _peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        found = _skip_blanks(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        """The next scalar or empty container; opens what is neither."""
        while True:
            first = self._peek()
            if first not in ("[", "{"):
                value, self._at = _scan(self._text, self._at)
                return value
            if len(self._open) >= self._try_from:
                try:
                    value, self._at = _scan(self._text, self._at)
                    return value
                except RecursionError:
                    self._try_from = len(self._open) + _LEVELS_BETWEEN_TRIES
            self._at += 1
            if self._peek() == ("]" if first == "[" else "}"):
                self._at += 1
                return [] if first == "[" else {}
            if len(self._open) >= _MAX_DEPTH:
                raise _NoJson
            if first == "[":
                self._open.append([])
            else:
                self._open.append({})
                self._keys.append("")
                self._read_key()

    def _read_key(self) -> None:
        if self._peek() != '"':
            raise _NoJson
        self._keys[-1], self._at = _scan_text(self._text, self._at + 1, False)
        if self._peek() != ":":
            raise _NoJson
        self._at += 1

    def _ends_after(self, value: Any) -> bool:
        """Puts a value where it belongs; whether that was the last one there."""
        holder = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
        else:
            holder[self._keys[-1]] = value
        following = self._peek()
        self._at += 1
        if following == ",":
            if isinstance(holder, dict):
                self._read_key()
            return False
        if following != ("]" if isinstance(holder, list) else "}"):
            raise _NoJson
        return True

    def _close(self) -> Any:
        closed = self._open.pop()
        self._try_from = 0
        if isinstance(closed, dict):
            self._keys.pop()
        return closed
