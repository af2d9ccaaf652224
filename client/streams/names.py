"""Names that callers give their answers: ids of chats, runs and threads that were chosen on the other side.

A name is of its caller, so two callers with the same one never meet; one that is given again means the newer answer;
and it is forgotten with its answer, so there are never more of them than what is kept can bear.
"""

from __future__ import annotations

import sys
import time

from client.streams.stream import Stream

LONGEST_NAME = 256
"""Characters of one name; what is longer is no id."""
_PLACE_BYTES = 400
"""What a name takes beside its text: its places in tables. It is counted with its answer."""

_Key = tuple[str, str, str]


class StreamNames:
    """Which answer a name stands for."""

    def __init__(self) -> None:
        self._streams: dict[_Key, Stream] = {}
        self._given_s: dict[Stream, dict[_Key, float]] = {}  # epoch seconds

    def __len__(self) -> int:
        return len(self._streams)

    def give(self, stream: Stream, kind: str, name: str) -> None:
        """From now on this is the owner's answer of that name; `kind` says what is named, such as `run`.

        Raises:
            ValueError: the name is empty, or longer than `LONGEST_NAME`.
        """
        if not 1 <= len(name) <= LONGEST_NAME:
            raise ValueError(f"a name has 1 to {LONGEST_NAME} characters, not {len(name)}")
        key = stream.owner, kind, name
        before = self._streams.get(key)
        if before is not None and before is not stream:
            self._given_s[before].pop(key, None)
        self._streams[key] = stream
        given_s = self._given_s.setdefault(stream, {})
        if key not in given_s:
            stream.count_kept(_PLACE_BYTES + sys.getsizeof(name))
        given_s[key] = time.time()

    def find(self, owner: str, kind: str, name: str) -> Stream | None:
        """The owner's answer of that name; None when there is none, or no more."""
        return self._streams.get((owner, kind, name))

    def of(self, stream: Stream) -> list[tuple[str, str, float]]:
        """Its names: kind, name, and when it was given, in epoch seconds."""
        return [(kind, name, given_s) for (_, kind, name), given_s in self._given_s.get(stream, {}).items()]

    def given_s(self, stream: Stream, kind: str, name: str) -> float:
        """When it was given that name, in epoch seconds."""
        return self._given_s[stream][stream.owner, kind, name]

    def forget(self, stream: Stream) -> None:
        """The answer is kept no longer, nor what it was called."""
        for key in self._given_s.pop(stream, ()):
            del self._streams[key]
