"""The soak as a command, at a size that a test can afford."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import main
from tests.soak.behaviours import Broken, ending_of
from tests.soak.run import Sample, Soak


def test_a_small_soak_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--streams", "60", "--rounds", "2", "--retain", "2", "--seed", "5"]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert "| comes back | stop |" in shown
    assert "FAILED" not in shown


def test_a_leak_of_sockets_or_memory_fails_the_soak() -> None:
    soak = Soak(samples=[Sample(n, n, 10 + n, 50.0 + 2 * n) for n in range(7)])
    soak.judge()
    assert soak.problems == ["6 files or sockets are still open", "memory grew by 6.0 MB in the second half"]


def test_a_gap_in_the_ids_is_noticed() -> None:
    done = b'event: done\nid: s:%d\ndata: {"finish_reason":"stop"}\n\n'
    assert ending_of(done % 1) == "stop"
    with pytest.raises(Broken):
        ending_of(done % 2)
