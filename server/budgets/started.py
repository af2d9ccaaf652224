"""Answers that were begun and have not ended: the ledger's file knows of each from half a second after its start on,
so that the next process can say what has become of those that the end of this one cut off.

Of an answer it holds whose it is, in whose words it was asked for and under which generation upstream knows it; never
a word of what was asked or answered. An answer that ends is taken out, and one that ends before the next write never
gets in. No I/O.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

import msgspec

from client.border.fit import fit_name, header_value, number_of
from client.border.json_codec import encode_json
from client.streams.readable import key_of
from client.streams.stream import Stream

logger = logging.getLogger(__name__)

MOST_CUT: Final = 10_000
"""Answers of earlier processes that are remembered; the newest."""
LATEST_S: Final = 253_402_300_799.0
"""The last second of the year 9999."""
LONGEST_USAGE: Final = 16_384
"""Bytes of a usage object."""
LONGEST_ASKED: Final = 4096
"""Bytes of what is kept of a request."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FINGERPRINT_BYTES = 32

SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS started_answer ( -- that runs, or was cut off by the end of its process
        key TEXT PRIMARY KEY,               -- the id, and the caller behind it where that has chosen it
        stream_id TEXT NOT NULL,
        caller TEXT NOT NULL,
        created_s REAL NOT NULL,            -- epoch seconds
        model TEXT NOT NULL,
        protocol TEXT NOT NULL,             -- in whose words it was asked for
        upstream_protocol TEXT NOT NULL,
        fingerprint BLOB,                   -- of the request, for an id that the caller has chosen
        generation_id TEXT,
        names TEXT NOT NULL,                -- JSON: kind, name, and epoch seconds, of what the caller calls it
        asked BLOB,                         -- ids of the request that its readers are told
        cut_s REAL,                         -- epoch seconds at which it was found cut off; NULL while it runs
        is_counted INTEGER NOT NULL,        -- 1 when usage or open_answer have what it cost
        usage TEXT                          -- JSON of what it has cost; NULL until upstream has told
    ) WITHOUT ROWID
"""
_COLUMNS = (
    "key, stream_id, caller, created_s, model, protocol, upstream_protocol, fingerprint, generation_id, names, "
    "asked, cut_s, is_counted, usage"
)
WRITE: Final = f"""
INSERT OR REPLACE INTO started_answer ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - made of our own words
REMOVE: Final = "DELETE FROM started_answer WHERE key = ?"
READ: Final = f"SELECT {_COLUMNS} FROM started_answer ORDER BY created_s DESC LIMIT {MOST_CUT}"  # noqa: S608
REMOVE_OLDER: Final = f"""
DELETE FROM started_answer WHERE key NOT IN (SELECT key FROM started_answer ORDER BY created_s DESC LIMIT {MOST_CUT})
"""  # noqa: S608

Name = tuple[str, str, float]
"""Kind, name, and when it was given, in epoch seconds."""


@dataclass(frozen=True, slots=True)
class StartedAnswer:
    """A row; see the schema."""

    key: str
    stream_id: str
    caller: str
    created_s: float
    model: str
    protocol: str
    upstream_protocol: str
    fingerprint: bytes | None
    generation_id: str | None
    names: tuple[Name, ...] = ()
    asked: bytes | None = None
    cut_s: float | None = None
    is_counted: bool = False
    usage: str | None = None


_FIELDS = tuple(field.name for field in fields(StartedAnswer))


def described(stream: Stream) -> StartedAnswer:
    """What is known of a stream by now."""
    return StartedAnswer(
        stream.key,
        stream.id,
        stream.owner,
        stream.created_s,
        fit_name(stream.model) or "",
        stream.protocol,
        stream.upstream_protocol,
        stream.fingerprint,
        generation_of(stream),
    )


def generation_of(stream: Stream) -> str | None:
    """Under which upstream knows it: the head of its reply may say so, or its first chunk."""
    return header_value(stream.generation_id or (stream.pump.translator.generation_id if stream.is_running else None))


def row_of(answer: StartedAnswer) -> tuple[str | float | bytes | int | None, ...]:
    """What is written of it."""
    (*before, _, asked, cut_s, is_counted, usage) = (getattr(answer, name) for name in _FIELDS)
    return (*before, encode_json(answer.names).decode(), asked, cut_s, int(is_counted), usage)


def answer_of(row: tuple[object, ...]) -> StartedAnswer | None:
    """What a row says, as far as it makes sense; None where it does not: anybody may have written to the file."""
    key, stream_id, caller, created, model, protocol, upstream_protocol, fingerprint, *rest = row
    generation_id, names, asked, cut, is_counted, usage = rest
    created_s, cut_s = _time_of(created), _time_of(cut)
    if not isinstance(stream_id, str) or not _ID.fullmatch(stream_id) or created_s is None:
        return None
    if not all(isinstance(text, str) and text for text in (caller, protocol, upstream_protocol)):
        return None
    if key not in (stream_id, key_of(stream_id, str(caller))):
        return None
    return StartedAnswer(
        str(key),
        stream_id,
        str(caller),
        created_s,
        fit_name(model) or "",
        str(protocol),
        str(upstream_protocol),
        fingerprint if isinstance(fingerprint, bytes) and len(fingerprint) == _FINGERPRINT_BYTES else None,
        header_value(generation_id),
        _names_of(names),
        asked if isinstance(asked, bytes) and len(asked) <= LONGEST_ASKED else None,
        cut_s,
        bool(is_counted),
        usage if isinstance(usage, str) and len(usage) <= LONGEST_USAGE else None,
    )


def _names_of(text: object) -> tuple[Name, ...]:
    try:
        return msgspec.json.decode(str(text), type=tuple[Name, ...])
    except (ValueError, UnicodeEncodeError, RecursionError):
        return ()


def told_usage(usage: Mapping[str, object]) -> str | None:
    """Usage as a row keeps it; None where it cannot."""
    try:
        text = encode_json(usage).decode()
    except Exception:
        return None
    return text if len(text) <= LONGEST_USAGE else None


def _time_of(value: object) -> float | None:
    number = number_of(value)
    return None if number is None or not 0 <= number <= LATEST_S else float(number)


class StartedAnswers:
    """Which answers the file shall hold, and what of that it does not yet.

    Attributes:
        describe: what is known of a stream by now.

    Args:
        stir: asks for a write, soon.
        clock: epoch seconds.
    """

    def __init__(self, stir: Callable[[], None], clock: Callable[[], float]) -> None:
        self._stir = stir
        self._clock = clock
        self.describe: Callable[[Stream], StartedAnswer] = described
        self._running: dict[str, Stream] = {}
        self._cut: dict[str, StartedAnswer] = {}  # of earlier processes
        self._unsaved: dict[str, Stream | StartedAnswer | None] = {}  # None: to be taken out
        self._unnamed: set[Stream] = set()  # saved without the id that upstream gives it
        self._saved: set[str] = set()  # what the file holds, or is being given
        self._saved_before = self._saved  # that last write

    @property
    def has_unsaved(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._unsaved)

    @property
    def cut(self) -> Mapping[str, StartedAnswer]:
        """Those that the end of an earlier process cut off."""
        return self._cut

    # -- those of this process ----------------------------------------------------------------------------------

    def begin(self, stream: Stream) -> None:
        """An answer has been begun."""
        key = stream.key
        if self._cut:
            self._cut.pop(key, None)
        self._running[key] = self._unsaved[key] = stream
        self._stir()

    def look_again(self) -> None:
        """Upstream may have given ids by now to answers that were written without."""
        for stream in tuple(self._unnamed):
            is_named = stream.is_running and generation_of(stream) is not None
            if is_named:
                self._unsaved[stream.key] = stream
            if is_named or not stream.is_running or stream.log.last:  # an id would have come with the first event
                self._unnamed.discard(stream)
        if self._unnamed:
            self._stir()

    def end(self, stream: Stream) -> None:
        """It has ended, and its readers are told so by its log: while the process has one."""
        key = stream.key
        if self._running.get(key) is not stream:
            return
        del self._running[key]
        if stream.stop_reason == "shutting_down":
            usage = stream.settlement.usage
            known = replace(self._told(stream), cut_s=self._clock(), is_counted=True)
            self.keep(known if usage is None else replace(known, usage=told_usage(usage)))
        else:
            self._remove(key)

    # -- those of earlier ones ----------------------------------------------------------------------------------

    def load(self, rows: Iterable[StartedAnswer]) -> list[StartedAnswer]:
        """Takes over what an earlier process has left: from now on each is known to be cut off.

        Returns:
            Those of which nothing was counted yet.
        """
        uncounted: list[StartedAnswer] = []
        now_s = self._clock()
        for answer in rows:
            self._saved.add(answer.key)
            if answer.key in self._running:  # the caller has chosen the id, and asked anew
                continue
            if not answer.is_counted:
                uncounted.append(answer)
            cut_s = now_s if answer.cut_s is None else min(answer.cut_s, now_s)
            self.keep(replace(answer, cut_s=cut_s, is_counted=True))
        return uncounted

    def keep(self, answer: StartedAnswer) -> None:
        """Remembers one that was cut off, or more about one."""
        self._cut[answer.key] = self._unsaved[answer.key] = answer
        self._stir()

    def forget(self, key: str) -> None:
        """Nobody is to find it any more."""
        if self._cut.pop(key, None) is not None:
            self._remove(key)

    def forget_before(self, cut_s: float) -> None:
        """Forgets what was cut off before that time."""
        for key in [key for key, answer in self._cut.items() if (answer.cut_s or 0.0) < cut_s]:
            self.forget(key)

    def _remove(self, key: str) -> None:
        if key in self._saved:
            self._unsaved[key] = None
            self._stir()
        else:
            self._unsaved.pop(key, None)

    # -- the file -----------------------------------------------------------------------------------------------

    def take(self) -> dict[str, StartedAnswer | None]:
        """What is to be written now; None: to be taken out. From now on it is taken for written."""
        taken, self._unsaved = self._unsaved, {}
        self._saved_before, self._saved = self._saved, self._saved | taken.keys()
        rows: dict[str, StartedAnswer | None] = {}
        for key, each in taken.items():
            rows[key] = row = self._told(each) if isinstance(each, Stream) else each
            if isinstance(each, Stream) and row is not None and row.generation_id is None:
                self._unnamed.add(each)
        if self._unnamed:
            self._stir()
        return rows

    def _told(self, stream: Stream) -> StartedAnswer:
        """As much as can be said: whoever writes has more to write."""
        try:
            return self.describe(stream)
        except Exception:
            logger.exception("%s cannot be described in full", stream)
            return described(stream)

    def written(self, rows: Mapping[str, StartedAnswer | None]) -> None:
        """The file holds it."""
        self._saved -= {key for key, answer in rows.items() if answer is None}

    def put_back(self, rows: Mapping[str, StartedAnswer | None]) -> None:
        """Nothing of it was written."""
        self._saved = self._saved_before
        for key in rows:
            known = self._running.get(key) or self._cut.get(key)
            if known is not None or key in self._saved:
                self._unsaved[key] = known
            else:
                self._unsaved.pop(key, None)

    def begin_anew(self) -> None:
        """The file holds nothing any more."""
        self._saved = set()
        self._unsaved = {**self._cut, **self._running}
