"""Steps of an end, each of which is taken whatever the others raise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


def take_each(whose: object, *steps: Callable[[], object]) -> None:
    """Takes every step in turn. What one raises is logged, as a fault of this program, and stops no other.

    Args:
        whose: whose end it is, for the log.
    """
    for step in steps:
        try:
            step()
        except Exception:
            logger.exception("%s: a step of its end failed", whose)


def tell_each(subject: T, *steps: Callable[[T], object]) -> None:
    """The same with steps that are told of a subject, which also says whose end it is."""
    for step in steps:
        try:
            step(subject)
        except Exception:
            logger.exception("%s: a step of its end failed", subject)
