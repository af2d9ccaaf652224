"""What tests of the shared store have in common: an engine of their own, of both kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.engines import FLAVOURS, Engine, running_engine


@pytest.fixture(params=FLAVOURS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty engine, once a Redis and once a Valkey."""
    with running_engine(request.param) as running:
        yield running
