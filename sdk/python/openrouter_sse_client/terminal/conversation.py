"""What was said so far, and how it is asked on. Pure module, but for the file in which the last one is kept."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

GRACE_S = 300
"""How long an answer goes on without this program: long enough to log in again when a session died."""
_VERSION = 1


@dataclass(slots=True)
class Turn:
    """A question and its answer.

    Attributes:
        question, answer: messages; no answer yet, or none that holds a word: None.
        stream_id: names the answer at the server; None before it was asked for.
        is_read: whether it was read to its end.
        usage: what it cost; None until that is known.
    """

    question: dict[str, Any]
    answer: dict[str, Any] | None = None
    stream_id: str | None = None
    is_read: bool = False
    usage: dict[str, Any] | None = None


@dataclass(slots=True)
class Conversation:
    """A conversation.

    Attributes:
        options: any other field of the request.
    """

    model: str | None = None
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)

    def ask(self, content: str | list[dict[str, Any]]) -> Turn:
        """A new turn; one before it that has no answer is forgotten."""
        self.turns = [turn for turn in self.turns if turn.answer is not None]
        self.turns.append(Turn({"role": "user", "content": content}))
        return self.turns[-1]

    def again(self) -> Turn | None:
        """The last turn, whose answer is forgotten; None when nothing was asked yet."""
        if not self.turns:
            return None
        self.turns[-1] = Turn(self.turns[-1].question)
        return self.turns[-1]

    def body(self) -> dict[str, Any]:
        """The request for the last turn's answer."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.turns:
            messages += [turn.question] if turn.answer is None else [turn.question, turn.answer]
        if self.turns and self.turns[-1].answer is not None:
            messages.pop()
        model = {"model": self.model} if self.model else {}
        return {"messages": messages, "grace_s": GRACE_S, **model, **self.options}


class Store:
    """The last conversation, in a file that only its owner can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "last.json"

    def load(self) -> Conversation | None:
        """The last one; None when there is none, or it cannot be read."""
        try:
            found = json.loads(self._file.read_text())
            if found["version"] != _VERSION:
                return None
            turns = [Turn(**turn) for turn in found["turns"]]
            return Conversation(found["model"], found["system"], found["options"], turns)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, conversation: Conversation) -> None:
        """Keeps it; where nothing can be written, nothing is kept."""
        text = json.dumps({"version": _VERSION, **asdict(conversation)})
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._file.with_name(f"last.{os.getpid()}.new")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            new.replace(self._file)


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where the last conversation and what was typed are kept."""
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "openrouter-chat"
