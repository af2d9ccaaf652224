"""What systemd is told, read from its end of the socket."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.process.notify import Notifier
from tests.support.chunks import END, STOP, text
from tests.support.notify_socket import NotifySocket
from tests.support.process import running_server


async def test_a_message_is_one_datagram_of_lines(tmp_path: Path) -> None:
    for path in (str(tmp_path / "notify"), ""):
        with NotifySocket.opened(path) as systemd:
            Notifier({"NOTIFY_SOCKET": systemd.address}).send(READY=1, STATUS="two\nlines")
            assert await systemd.receive() == {"READY": "1", "STATUS": "two lines"}


async def test_reloading_comes_with_the_time_on_the_monotonic_clock() -> None:
    with NotifySocket.opened() as systemd:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        Notifier({"NOTIFY_SOCKET": systemd.address}).send_reloading()
        message = await systemd.receive()
    assert message["RELOADING"] == "1"
    assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens-here", "x" * 200, "nul\0in it"])
def test_nobody_to_listen_is_no_trouble(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).send(READY=1)
    Notifier({}).send(READY=1)


def test_a_full_queue_is_not_waited_for() -> None:
    with NotifySocket.opened() as systemd:
        notifier = Notifier({"NOTIFY_SOCKET": systemd.address})
        for _ in range(2000):  # many more than a queue takes
            notifier.send(WATCHDOG=1)
        systemd.drain()
    assert 0 < len(systemd.messages) < 2000


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_served_when_it_watches_this_process(
    environ: dict[str, str], watchdog_s: float | None
) -> None:
    assert Notifier(environ).watchdog_s == watchdog_s


async def test_a_service_says_when_it_is_ready_what_it_does_and_when_it_stops(upstream: Sandbox) -> None:
    hold = Hold()
    upstream.script(Reply.stream(text("a"), hold, text("b"), STOP, END))
    with NotifySocket.opened() as systemd:
        env = {
            "NOTIFY_SOCKET": systemd.address,
            "WATCHDOG_USEC": "200000",
            "OPENROUTER_BASE_URL": upstream.base_url,
            "SHUTDOWN_TIMEOUT": "120",
        }
        async with running_server(env=env) as service, aiohttp.ClientSession() as http:
            first = await systemd.receive_until("READY")
            assert "0 answers running" in first["STATUS"]
            response = await http.post(f"{service.url}/chat", json={"message": "x"})
            assert "1 readers" in (await systemd.receive_until("STATUS", "1 answers running"))["STATUS"]
            service.process.terminate()
            stopping = await systemd.receive_until("STOPPING")
            assert "shutting down; 1 answers running" in stopping["STATUS"]
            assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 120e6
            hold.until.set()
            assert b'"completed":true' in await response.read()
            assert await service.wait_exit() == 0
        systemd.drain()
    assert [message for message in systemd.messages if "READY" in message] == [first]
    assert sum("WATCHDOG" in message for message in systemd.messages) > 1
    assert any("0.0010 USD" in message.get("STATUS", "") for message in systemd.messages)


async def test_a_reload_is_announced_and_then_done() -> None:
    with NotifySocket.opened() as systemd:
        async with running_server("--sandbox", env={"NOTIFY_SOCKET": systemd.address}) as service:
            await systemd.receive_until("READY")
            service.process.send_signal(signal.SIGHUP)
            assert int((await systemd.receive_until("RELOADING"))["MONOTONIC_USEC"]) > 0
            await systemd.receive_until("READY")
            assert await service.stop() == 0


async def test_bare_8_a_reload_that_was_refused_is_named_in_the_status(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    with NotifySocket.opened() as systemd:
        env = {"NOTIFY_SOCKET": systemd.address}
        async with running_server("--sandbox", "--config", str(file), env=env) as service:
            await systemd.receive_until("READY")
            file.write_text('[server]\nlog_level = "loud"\n')
            service.process.send_signal(signal.SIGHUP)
            status = (await systemd.receive_until("STATUS", "refused"))["STATUS"]
            assert "the last reload was refused: " in status
            assert 'server.log_level = "loud"' in status
            file.write_text("")
            service.process.send_signal(signal.SIGHUP)
            await systemd.receive_until("RELOADING")
            await systemd.receive_until("READY")  # until then it may tell of the one before
            assert "refused" not in (await systemd.receive_until("STATUS"))["STATUS"]
            assert await service.stop() == 0


async def test_without_a_watchdog_nothing_is_said_to_one() -> None:
    with NotifySocket.opened() as systemd:
        async with running_server("--sandbox", env={"NOTIFY_SOCKET": systemd.address}) as service:
            await systemd.receive_until("READY")
            assert await service.stop() == 0
        systemd.drain()
    assert not any("WATCHDOG" in message for message in systemd.messages)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


async def test_a_loop_that_stands_still_stops_the_watchdog_until_it_goes_on() -> None:
    with NotifySocket.opened() as systemd:
        env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "200000"}
        async with running_server("--sandbox", env=env) as service:
            await systemd.receive_until("WATCHDOG")
            service.process.send_signal(signal.SIGSTOP)
            while not is_stopped(service.process.pid):
                pass
            systemd.drain()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):  # five times what the watchdog allows
                    await systemd.receive()
            service.process.send_signal(signal.SIGCONT)
            await systemd.receive_until("WATCHDOG")
            assert await service.stop() == 0
