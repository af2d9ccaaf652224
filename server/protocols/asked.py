"""What readers of an answer need of its request (`Readable.asked`), as bytes that another process can read.

Pure module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from client.border.json_codec import encode_json
from server.protocols.ag_ui.request import Asked
from server.protocols.ollama.request import OllamaRequest
from server.protocols.ui_stream.request import UiRequest

_KINDS: Final[Mapping[str, type[Any]]] = {
    "ag-ui": Asked,
    "messages": int,
    "ollama": OllamaRequest,
    "ollama.generate": OllamaRequest,
    "ui": UiRequest,
    "ui.text": UiRequest,
}


def encode_asked(asked: object) -> bytes | None:
    """The bytes; None where there is nothing, or nothing that others could use."""
    if isinstance(asked, bytes):
        return asked
    return encode_json(asked) if isinstance(asked, tuple(_KINDS.values())) else None


def decode_asked(protocol: str, encoded: bytes | None) -> object:
    """What was asked for in that protocol; None for what makes no sense."""
    kind = _KINDS.get(protocol)
    if kind is None or encoded is None:
        return encoded
    try:
        return msgspec.json.decode(encoded, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
