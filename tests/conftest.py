"""What all tests share."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping

import pytest
import uvloop
from pydantic import SecretStr

from client.config import StreamsConfig, UpstreamConfig
from client.sandbox import Sandbox
from server.config import Config, ServerConfig
from tests.support.process import ROOT, starts
from tests.support.serving import KEY, Api, sandbox_at_rest, serving
from tests.support.template import end_templates

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # who sets it would have hundreds of processes compile all anew
sys.dont_write_bytecode = False
os.environ.setdefault("NODE_COMPILE_CACHE", str(ROOT / ".node" / "compiled"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    parser.addoption(
        "--every-hostile-case", action="store_true", help="tests/hostile/table.py in full, in every way; takes long"
    )
    parser.addoption(
        "--own-interpreters", action="store_true", help="every server is started anew; none is a fork of a template"
    )


def pytest_configure(config: pytest.Config) -> None:
    """How processes start. Run in the background of a shell, or by nohup, the suite is started with signals ignored
    that tests send, and the processes that tests start would ignore them too."""
    starts.from_template = not config.getoption("--own-interpreters")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_unconfigure() -> None:
    """Ends what all tests have used."""
    end_templates()


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looking through all of it in every test's garbage collections
    took a fifth of the suite's time. And a test makes more at once than Python expects of a program."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, object, object]:
    """With REQUIRE_ALL_TESTS set, a skipped test is a failure: the machine lacks a program that it should have."""
    return _seen((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, object, object]:
    """The same for whole modules."""
    return _seen((yield))


def _seen(report: object) -> object:
    if (
        os.environ.get("REQUIRE_ALL_TESTS")
        and isinstance(report, pytest.TestReport | pytest.CollectReport)
        and report.skipped
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped although REQUIRE_ALL_TESTS is set: {report.longrepr}"
    return report


_UNDER_BOTH_LOOPS = (
    "http/test_grammar",
    "chat_completions/test_leaving",
    "http/test_half_closed",
    "streams/test_bad_input",
    "streams/test_lease",
    "streams/test_limits",
    "streams/test_loop_share",
)
"""Tests of streams and connections that serve inside their own loop; others start processes under each loop."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops under which an asynchronous test runs."""
    if f"{item.path.parent.name}/{item.path.stem}" in _UNDER_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """Commands that a test calls in this process leave signals ignored at their end, and every process that later
    tests start would inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts, and before a cost is looked up: in this process nobody waits long for either."""
    monkeypatch.setattr("client.upstream.retry._FIRST_WAIT_S", 0.02)
    monkeypatch.setattr("client.streams.settler._DELAYS_S", (0.05,) * 3 + (1.0,) * 5)


@pytest.fixture
async def upstream() -> AsyncIterator[Sandbox]:
    """The OpenRouter that a test scripts; at the test's end none of its replies may still run."""
    async with sandbox_at_rest() as sandbox:
        yield sandbox


@pytest.fixture
def config(upstream: Sandbox) -> Config:
    """Settings under which nobody waits for long, and nobody who has gone is waited for."""
    return Config(
        upstream=UpstreamConfig(base_url=upstream.base_url, api_key=SecretStr(KEY), max_retries=1),
        server=ServerConfig(max_body_bytes=2000),
        streams=StreamsConfig(grace_s=0.0),
    )


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    """The product, served over a real port inside the test's own loop."""
    async with serving(config) as running:
        yield running
