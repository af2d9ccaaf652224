"""Names that callers give their answers: ids of chats, runs and threads that were chosen on the other side.

A name is of its caller, so two callers with the same one never meet; one that is given again means the newer answer;
and it is forgotten with its answer, so there are never more of them than what is kept can bear.
"""

from __future__ import annotations

import sys

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
        self._keys: dict[Stream, set[_Key]] = {}

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
            self._keys[before].discard(key)
        self._streams[key] = stream
        keys = self._keys.setdefault(stream, set())
        if key not in keys:
            keys.add(key)
            stream.count_kept(_PLACE_BYTES + sys.getsizeof(name))

    def find(self, owner: str, kind: str, name: str) -> Stream | None:
        """The owner's answer of that name; None when there is none, or no more."""
        return self._streams.get((owner, kind, name))

    def forget(self, stream: Stream) -> None:
        """The answer is kept no longer, nor what it was called."""
        for key in self._keys.pop(stream, ()):
            del self._streams[key]
