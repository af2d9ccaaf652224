"""Steps of an end, each of which is taken whatever the others raise."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


def take_each(whose: str, *steps: Callable[[], object]) -> None:
    """Takes every step in turn. What one raises is logged, as a fault of this program, and stops no other.

    Args:
        whose: whose end it is, for the log.
    """
    for step in steps:
        try:
            step()
        except Exception:
            logger.exception("%s: a step of its end failed", whose)
