"""Lines of the log on their way out: whole, in order, and without anybody waiting for a reader."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.telemetry.log_writer import LogWriter


def gap_line(count: int) -> bytes:
    return b"gap of %d\n" % count


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_until(descriptor: int, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += os.read(descriptor, 65536)
    return found


def fill(writer: LogWriter) -> int:
    """Writes numbered lines until some are dropped; returns how many were taken."""
    number = 0
    while writer.has_room:
        writer.write(b"%d %s\n" % (number, b"x" * 100))
        number += 1
    for _ in range(9):
        writer.write(b"lost\n")
    return number - 1


def test_break_it_16_what_nobody_reads_is_dropped_counted_and_told_where_it_is_missing(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], gap_line)
    count = fill(writer)
    assert writer.dropped == 10
    lines = read_until(pipe[0], b"gap of 10\n").splitlines()
    assert [line.split()[0] for line in lines[:-1]] == [b"%d" % number for number in range(count)]
    writer.write(b"after it\n")
    assert read_until(pipe[0], b"after it\n") == b"after it\n"
    assert writer.close(10)
    assert writer.dropped == 10


def test_break_it_16_the_end_does_not_wait_for_a_reader(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], gap_line)
    fill(writer)
    assert not writer.close(0.01)
    read_until(pipe[0], b"gap of 10\n")  # lets the thread end


def test_the_end_writes_what_waits(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], gap_line)
    for number in range(100):
        writer.write(b"%d\n" % number)
    assert writer.close(10)
    assert read_until(pipe[0], b"99\n").split() == [b"%d" % number for number in range(100)]


def test_break_it_16_a_line_larger_than_the_pipe_is_not_broken(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], gap_line)
    large = b"x" * 500_000 + b"\n"
    writer.write(large)
    writer.write(b"small\n")
    assert read_until(pipe[0], b"small\n") == large + b"small\n"
    assert writer.close(10)


def test_break_it_16_a_descriptor_that_somebody_made_non_blocking_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1], gap_line)
    large = b"x" * 500_000 + b"\n"
    writer.write(large)
    assert read_until(pipe[0], b"\n") == large
    assert writer.close(10)


def test_break_it_28_a_full_disk_loses_lines_and_nothing_else() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = LogWriter(full.fileno(), gap_line)
        for _ in range(1000):
            writer.write(b"line\n")
        assert writer.close(10)
        assert writer.dropped == 1000


class Disk(LogWriter):
    """A disk on which so many bytes are free."""

    free = 0
    written = b""

    def _write_some(self, data: bytes) -> int:
        if not self.free:
            raise OSError("No space left on device")
        size = min(self.free, len(data))
        self.free -= size
        self.written += data[:size]
        return size

    def write_all(self, *lines: bytes) -> None:
        """Puts lines and returns when they were written, or given up."""
        for line in lines:
            self._write_pieces(line)


def test_break_it_16_a_line_that_was_begun_is_ended_before_anything_else_once_there_is_room() -> None:
    disk = Disk(-1, gap_line)
    disk.free = 8
    disk.write_all(b"one\n", b"second\n", b"third\n", b"fourth\n")
    assert disk.written == b"one\nseco"
    assert disk.dropped == 2
    disk.free = 1000
    disk.write_all(b"fifth\n")
    assert disk.written == b"one\nsecond\ngap of 2\nfifth\n"
    disk.write_all(b"sixth\n")
    assert disk.written.endswith(b"fifth\nsixth\n")
    assert disk.close(10)


def test_break_it_16_a_gap_that_could_not_be_told_is_told_later() -> None:
    disk = Disk(-1, gap_line)
    disk.write_all(b"one\n", b"two\n")
    disk.write_all(b"three\n")
    assert (disk.written, disk.dropped) == (b"", 3)
    disk.free = 1000
    disk.write_all(b"four\n")
    assert disk.written == b"gap of 3\nfour\n"
    assert disk.close(10)


def test_lines_of_many_threads_stay_whole(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], gap_line)

    def write(name: bytes) -> None:
        for number in range(500):
            writer.write(b"%s %d\n" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.write(b"end\n")
    lines = read_until(pipe[0], b"end\n").splitlines()
    for name in (b"a", b"b", b"c"):
        assert [line for line in lines if line.startswith(name)] == [b"%s %d" % (name, n) for n in range(500)]
    assert writer.close(10)
