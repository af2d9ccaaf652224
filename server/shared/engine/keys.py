"""What every key in the engine is called. Braces are the hash tags of Redis Cluster: each script touches one tag."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from client.streams.readable import key_of

_MADE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")


@lru_cache(maxsize=4096)
def caller_tag(owner: str) -> str:
    """By what a caller is known there: its name may hold anything."""
    return hashlib.sha256(owner.encode()).hexdigest()[:16]


def place_of(key: str) -> str:
    """By what an answer is known there, of `Stream.key`: ids that are made here stand for themselves, those that
    callers chose may hold anything, and two callers may choose the same."""
    return key if _MADE.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def places_of(stream_id: str, owner: str) -> tuple[str, ...]:
    """Where an answer can be that a caller names."""
    chosen = place_of(key_of(stream_id, owner))
    return (stream_id, chosen) if _MADE.fullmatch(stream_id) else (chosen,)


class Keys:
    """All names.

    Args:
        prefix: what each begins with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.live = f"{prefix}:{{r}}:live"
        self.dead = f"{prefix}:{{r}}:dead"
        self.epoch = f"{prefix}:{{r}}:epoch"

    def log(self, place: str) -> str:
        """Stream of an answer's events."""
        return f"{self.prefix}:{{{place}}}:log"

    def meta(self, place: str) -> str:
        """Hash of what else is known of it."""
        return f"{self.prefix}:{{{place}}}:meta"

    def readers(self, place: str) -> str:
        """Hash of the processes where somebody reads it."""
        return f"{self.prefix}:{{{place}}}:readers"

    def own(self, rid: str) -> str:
        """Set of the answers of a process that have not ended there."""
        return f"{self.prefix}:{{r:{rid}}}:own"

    def inbox(self, rid: str) -> str:
        """Stream of what others ask of a process."""
        return f"{self.prefix}:{{r:{rid}}}:in"

    def accounts(self, rid: str) -> str:
        """Set of the callers with whom a process has open answers."""
        return f"{self.prefix}:{{r:{rid}}}:accts"

    def listed(self, owner: str) -> str:
        """Sorted set of a caller's answers."""
        return f"{self.prefix}:{{c:{caller_tag(owner)}}}:list"

    def named(self, owner: str, kind: str, name: str) -> str:
        """What a caller calls one of its answers."""
        digest = hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:32]
        return f"{self.prefix}:{{c:{caller_tag(owner)}}}:name:{digest}"
