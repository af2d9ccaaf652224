"""Finding an answer wherever it runs: what this process has itself comes first, and hides what others say of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from client.errors import Refusal
from client.streams.elsewhere import Elsewhere
from client.streams.readable import Readable, Summary
from client.streams.stream import Stream


class Own(Protocol):
    """The answers of this process."""

    def get(self, stream_id: str, owner: str) -> Stream | None:
        """The owner's answer of that id."""

    def kept_of(self, owner: str, most: int | None = None) -> list[Stream]:
        """The owner's answers, newest first."""


async def find_anywhere(own: Own, elsewhere: Sequence[Elsewhere], stream_id: str, owner: str) -> Readable | None:
    """The owner's answer of that id."""
    stream: Readable | None = own.get(stream_id, owner)
    for each in elsewhere:
        if stream is not None:
            return stream
        stream = await each.find(stream_id, owner)
    return stream


async def list_anywhere(own: Own, elsewhere: Sequence[Elsewhere], owner: str, most: int | None) -> list[Summary]:
    """The owner's answers, newest first."""
    found = {stream.id: stream.summary() for stream in own.kept_of(owner, most)}
    if not elsewhere:
        return list(found.values())
    for each in elsewhere:
        for summary in await each.list_of(owner, most):
            mine = own.get(summary.id, owner)  # also where it is not among the newest
            found.setdefault(summary.id, summary if mine is None else mine.summary())
    newest_first = sorted(found.values(), key=lambda summary: summary.created_s, reverse=True)
    return list(islice(newest_first, most))


async def newest_named(
    elsewhere: Sequence[Elsewhere], owner: str, kind: str, name: str, *, since_s: float | None
) -> str | None:
    """The id of the owner's answer of that name that it was given to last; None where nobody knows of one that was
    given it later than `since_s`, in epoch seconds: that is of an answer of this process."""
    newest: str | None = None
    for each in elsewhere:
        try:
            found = await each.find_name(owner, kind, name)
        except Refusal:
            if since_s is None:
                raise
            continue
        if found is not None and (since_s is None or found[1] > since_s):
            newest, since_s = found
    return newest
