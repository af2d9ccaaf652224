"""The settings that hold at the moment; a reload puts others in their place."""

from __future__ import annotations

from collections.abc import Callable

from server.config.sections import Config


class LiveConfig:
    """Where everything that serves reads its settings: ask for `current` at each use, and keep no part of it.

    Attributes:
        current: the settings that hold now; frozen, so whoever has it in hand sees no change under way.
        load: reads the settings anew; None where there is nothing to read them from.
        refused: why the last reload changed nothing; None when it did, or there was none.
    """

    def __init__(self, current: Config, load: Callable[[], Config] | None = None) -> None:
        self.current = current
        self.load = load
        self.refused: str | None = None
