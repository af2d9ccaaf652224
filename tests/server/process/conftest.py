"""What these tests are about is how a server starts and ends."""

from __future__ import annotations

import pytest

from tests.support.process import starts


@pytest.fixture(autouse=True)
def own_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server is a new process that has imported nothing."""
    monkeypatch.setattr(starts, "from_template", False)
