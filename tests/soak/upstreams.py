"""How OpenRouter behaves in a soak: mostly well."""

from __future__ import annotations

import random
from collections.abc import Callable

from client.sandbox import COMMENT, HangUp, Hold, Pause, Reply, Step
from tests.support.chunks import END, STOP, event, text


def random_reply(dice: random.Random) -> Reply:
    """What the next request gets."""
    kinds, weights = zip(*_KINDS, strict=True)
    kind: Callable[[random.Random], Reply] = dice.choices(kinds, weights)[0]
    return kind(dice)


def _words(dice: random.Random) -> list[Step]:
    return [text(f"word {number} ") for number in range(dice.randint(1, 40))]


def _begun(dice: random.Random) -> list[Step]:
    """Some words, with a pause after one of them, so that callers are seen in the middle."""
    words = _words(dice)
    return [COMMENT, *words, Pause(dice.uniform(0, 0.03))]


def _quick(dice: random.Random) -> Reply:
    return Reply.stream(*_words(dice), STOP, END)


def _paced(dice: random.Random) -> Reply:
    delay_s = dice.uniform(0.001, 0.005)
    return Reply.stream(*[step for word in _words(dice) for step in (word, Pause(delay_s))], STOP, END)


def _late(dice: random.Random) -> Reply:
    return _quick(dice).after(Pause(dice.uniform(0, 0.05)))


def _reset(dice: random.Random) -> Reply:
    return Reply.stream(*_begun(dice), HangUp(reset=True))


def _closed(dice: random.Random) -> Reply:
    return Reply.stream(*_begun(dice), text("cut here")[: dice.randint(1, 60)], HangUp())


def _stalled(dice: random.Random) -> Reply:
    return Reply.stream(*_begun(dice), Hold())


def _failed(dice: random.Random) -> Reply:
    return Reply.stream(*_begun(dice), event({"error": {"code": 502, "message": "The provider failed."}}))


def _refused(dice: random.Random) -> Reply:
    return Reply.error(dice.choice([400, 402, 429, 500, 503]), "Not now.").after(Pause(dice.uniform(0, 0.02)))


_KINDS: list[tuple[Callable[[random.Random], Reply], int]] = [
    (_quick, 4),
    (_paced, 8),
    (_late, 2),
    (_reset, 2),
    (_closed, 2),
    (_stalled, 1),
    (_failed, 1),
    (_refused, 1),
]
