"""What a tool gives back, in words that know no SDK. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_app.results.clean import clean_json


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is small enough to be shown."""

    data: str
    """Base64."""
    mime_type: str


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that holds some of an answer."""

    path: str
    mime_type: str
    bytes: int

    def told(self) -> dict[str, Any]:
        """For programs."""
        return {"path": self.path, "mime_type": self.mime_type, "bytes": self.bytes}


@dataclass(frozen=True)
class SavedAnswer:
    """What of an answer is in files.

    Attributes:
        pictures: by their place among the answer's.
        problem: why nothing could be saved.
    """

    text: SavedFile | None = None
    pictures: Mapping[int, SavedFile] = field(default_factory=dict)
    problem: str | None = None

    @property
    def files(self) -> list[SavedFile]:
        """All of them."""
        return [*([] if self.text is None else [self.text]), *self.pictures.values()]


@dataclass
class ToolOutput:
    """What a tool gives back.

    Attributes:
        texts: blocks for the model, the answer first.
        data: the same for programs.
    """

    texts: list[str]
    data: dict[str, Any]
    pictures: list[Picture] = field(default_factory=list)


def facts_output(data: dict[str, Any]) -> ToolOutput:
    """Facts in both forms."""
    data = clean_json(data)
    return ToolOutput(texts=[_lines(data)], data=data)


def _lines(data: Mapping[str, Any], indent: str = "") -> str:
    """Nested facts as indented lines."""
    lines: list[str] = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:", _lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{indent}{name}:")
            lines += [indent + "- " + ", ".join(f"{key} {item}" for key, item in entry.items()) for entry in value]
        else:
            lines.append(f"{indent}{name}: {_shown(value)}")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
