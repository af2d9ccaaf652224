"""The unit files: systemd itself finds no fault with them, and the command that writes them breaks nothing."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from server.commands.install_service import first_out_of_reach
from server.commands.systemd_units import (
    INSTANCE,
    OF_SEVERAL,
    SERVICE,
    SOCKET,
    TARGET,
    exec_line,
    instance,
    unit_files,
)
from tests.support.process import ROOT, start_server

TEMPLATES = ROOT / "server" / "commands" / "systemd"


def systemd_analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs it in the folder of the units."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is missing: install the Debian package systemd")
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run([program, *words], cwd=folder, env=environ, capture_output=True, text=True, timeout=60)


async def install(
    *words: str, cwd: Path, env: dict[str, str] | None = None, launcher: tuple[str, ...] = ()
) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of `install-service`."""
    process = await start_server("install-service", *words, cwd=str(cwd), env=env, launcher=launcher)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("account", ["system", "user"])
async def test_systemd_finds_no_fault_with_the_installed_units(account: str, tmp_path: Path) -> None:
    user = ["--user"] if account == "user" else []
    code, _, said = await install(*user, "--dir", str(tmp_path), cwd=tmp_path)
    assert (code, said) == (0, "")
    verified = systemd_analyze(tmp_path, f"--{account}", "verify", f"./{SERVICE}", f"./{SOCKET}")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.parametrize("account", ["system", "user"])
async def test_systemd_finds_no_fault_with_several_instances(account: str, tmp_path: Path) -> None:
    user = ["--user"] if account == "user" else []
    code, told, said = await install(*user, "--instances", "3", "--dir", str(tmp_path), cwd=tmp_path)
    assert (code, said) == (0, "")
    assert f"enable --now {SOCKET} {TARGET}" in told
    words = [f"./{instance(2)}", f"./{SOCKET}", f"./{TARGET}"]
    verified = systemd_analyze(tmp_path, f"--{account}", "verify", *words)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert [name for name in OF_SEVERAL if f"Wrote {tmp_path / name}" in told] == list(OF_SEVERAL)
    wanted = re.findall("^Wants=(.*)$", (tmp_path / TARGET).read_text(), re.MULTILINE)
    assert wanted == [instance(1), instance(2), instance(3), SOCKET]


@pytest.mark.parametrize("instances", [None, 2])
def test_systemd_rates_the_service_as_safe(instances: int | None, tmp_path: Path) -> None:
    units = unit_files(["/bin/true"], ["8000"], environment={}, user=False, instances=instances)
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    unit = SERVICE if instances is None else instance(1)
    rated = systemd_analyze(tmp_path, "security", "--offline=true", "--threshold=15", f"./{unit}")
    print(rated.stdout.splitlines()[-1])
    level = re.search(r"Overall exposure level for .*: ([0-9.]+) ", rated.stdout)
    assert rated.returncode == 0
    assert level is not None
    assert float(level[1]) <= 1.5


def test_a_path_with_odd_characters_is_quoted_as_systemd_reads_it(tmp_path: Path) -> None:
    """`verify` looks for the program at the path that it has read."""
    program = tmp_path / "a b %n $c é" / "openrouter-server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name, text in unit_files([str(program)], ["8000"], environment={"A": "b %n c"}, user=False).items():
        (tmp_path / name).write_text(text)
    verified = systemd_analyze(tmp_path, "verify", f"./{SERVICE}", f"./{SOCKET}")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_bare_8_a_reload_first_tests_the_settings_that_it_would_read(tmp_path: Path) -> None:
    config = tmp_path / "a config.toml"
    units = unit_files([sys.executable, "-m", "server", "--config", str(config)], ["1"], environment={}, user=False)
    check, signal = re.findall("^ExecReload=(.*)$", units[SERVICE], re.MULTILINE)
    assert signal == "/bin/kill -HUP $MAINPID"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CREDENTIALS_DIRECTORY": "/nowhere"}
    store = '[redis]\nurl = "redis://127.0.0.1"\n'  # its key is a credential, which cannot be read here
    for text, code, said in (
        ("", 0, ""),
        (store, 0, ""),
        (f'{store}text = "plain"\n', 0, ""),
        (f"{store}lease_s = 0\n", 78, "redis.lease_s"),
        ('[server]\nlog_level = "loud"\n', 78, "server.log_level"),
    ):
        config.write_text(text)
        done = subprocess.run(shlex.split(check), cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == bool(said)


def test_arguments_are_not_taken_for_variables_or_specifiers() -> None:
    assert exec_line(["/opt/x/run", "--config", "/etc/$HOME/50%.toml"]) == "/opt/x/run --config /etc/$$HOME/50%%.toml"


async def test_a_user_s_units_go_where_their_systemd_looks_with_real_paths(tmp_path: Path) -> None:
    config = tmp_path / "my config.toml"
    config.write_text('[server]\nhost = "::1"\nport = 8123\n')
    env = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    code, told, said = await install("--user", "--config", config.name, cwd=tmp_path, env=env)
    assert (code, said) == (0, "")
    folder = tmp_path / "xdg" / "systemd" / "user"
    service, socket = (folder / SERVICE).read_text(), (folder / SOCKET).read_text()
    command = re.search(r"^ExecStart=(\S+) .*--config (.*)$", service, re.MULTILINE)
    assert command is not None
    assert command[1] == str(Path(sys.executable).with_name("openrouter-server"))
    assert command[2] == f'"{config}"'
    assert "\nListenStream=[::1]:8123\n" in socket
    assert "@" not in re.sub(r"^SystemCallFilter=.*$", "", service + socket, flags=re.MULTILINE)
    for step in (f"{tmp_path}/xdg/openrouter-sse-backend/openrouter_api_key", "daemon-reload", "journalctl --user"):
        assert step in told
    assert f"systemctl --user enable --now {SOCKET} {SERVICE}" in told


async def test_a_file_that_differs_is_shown_and_kept_unless_forced(tmp_path: Path) -> None:
    await install("--dir", "units", cwd=tmp_path)
    code, told, _ = await install("--dir", "units", cwd=tmp_path)
    assert code == 0
    assert told.count("Unchanged: ") == 2
    service, socket = tmp_path / "units" / SERVICE, tmp_path / "units" / SOCKET
    mine = service.read_text().replace("WatchdogSec=30", "WatchdogSec=99")
    service.write_text(mine)
    socket.unlink()
    code, _, said = await install("--dir", "units", cwd=tmp_path)
    assert code == 73
    assert "-WatchdogSec=99\n+WatchdogSec=30\n" in said
    assert "--force" in said
    assert service.read_text() == mine
    assert not socket.exists()
    code, told, _ = await install("--dir", "units", "--force", cwd=tmp_path)
    assert code == 0
    assert f"Replaced units/{SERVICE}" in told
    assert "WatchdogSec=30" in service.read_text()


async def test_several_instances_are_refused_without_a_store(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    folder = tmp_path / "openrouter-sse-backend"
    folder.mkdir()
    code, _, said = await install("--user", "--instances", "2", cwd=tmp_path, env=env)
    assert code == 78
    assert "redis.url is not set" in said
    assert f"{folder}/redis_url" in said
    assert not (tmp_path / "systemd").exists()


@pytest.mark.parametrize("place", ["config.toml", "redis_url"])
async def test_several_instances_are_installed_with_one(place: str, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    folder = tmp_path / "openrouter-sse-backend"
    folder.mkdir()
    (folder / place).write_text('[redis]\nurl = "unix:///run/redis/redis.sock"\n' if place != "redis_url" else "x")
    code, told, said = await install("--user", "--instances", "2", cwd=tmp_path, env=env)
    assert (code, said) == (0, "")
    assert {path.name for path in (tmp_path / "systemd/user").iterdir()} == set(OF_SEVERAL)
    assert f"openssl rand -base64 32 | install -D -m 0600 /dev/stdin {folder}/redis_text_key" in told
    (folder / "redis_text_key").write_text("in use")
    _, told, _ = await install("--user", "--instances", "2", cwd=tmp_path, env=env)
    assert "openssl" not in told


async def test_one_service_gives_way_to_several_and_back(tmp_path: Path) -> None:
    await install("--dir", "units", cwd=tmp_path)
    code, told, _ = await install("--dir", "units", "--instances", "2", "--force", cwd=tmp_path)
    assert code == 0
    steps = [line.strip() for line in told.splitlines()]
    order = [
        f"systemctl start {instance(2)}",
        f"systemctl disable --now {SERVICE}",
        "cp -aT /var/lib/private/openrouter-sse-backend /var/lib/private/openrouter-sse-backend-1",
        f"systemctl start {TARGET}",
        f"rm units/{SERVICE}",
    ]
    assert sorted(order, key=steps.index) == order
    (tmp_path / "units" / SERVICE).unlink()
    code, told, _ = await install("--dir", "units", "--force", cwd=tmp_path)
    assert code == 0
    steps = [line.strip() for line in told.splitlines()]
    stop = f"systemctl stop {TARGET} '{INSTANCE.replace('@', '@*')}'"
    order = [f"systemctl enable --now {SOCKET} {SERVICE}", stop, f"rm units/{TARGET} units/{INSTANCE}"]
    assert sorted(order, key=steps.index) == order


async def test_who_may_not_write_the_machine_s_units_is_told_the_ways_on(tmp_path: Path) -> None:
    launcher = ("unshare", "--user") if os.geteuid() == 0 else ()  # nobody in particular, and so not root
    code, _, said = await install(cwd=tmp_path, launcher=launcher)
    assert code == 77
    assert "sudo /" in said
    assert "install-service --user" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port", "0"], "a socket unit needs a port"),
        (["--port", "many"], "server.port"),
        (["--host", "no-such-host.invalid"], "server.host = no-such-host.invalid"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
async def test_settings_that_no_socket_can_be_made_of_are_told(
    words: list[str], expected: str, tmp_path: Path
) -> None:
    code, _, said = await install(*words, "--dir", "units", cwd=tmp_path)
    assert code == 78
    assert expected in said
    assert "Traceback" not in said
    assert not (tmp_path / "units").exists()


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, said = await install("--dir", "file/units", cwd=tmp_path)
    assert code == 73
    assert "cannot be written" in said
    assert "Traceback" not in said


def test_what_a_sandboxed_service_does_not_see_is_found(tmp_path: Path) -> None:
    closed = Path("/etc/shadow")
    link = tmp_path / "link"
    assert first_out_of_reach([Path("/bin/sh"), Path("/usr")]) is None
    for path in (Path("/home/ann/venv/bin/openrouter-server"), Path("/root/x"), tmp_path / "x", link, closed):
        assert first_out_of_reach([Path("/bin/sh"), path]) == path


def test_the_units_for_machine_and_user_say_the_same_but_for_what_needs_root() -> None:
    system, user = (
        set((TEMPLATES / name).read_text().splitlines()) for name in (SERVICE, "openrouter-sse-user.service")
    )
    only_for_users = {line for line in user - system if not line.startswith(("#", "SetCredential", "LoadCredential"))}
    assert only_for_users == set()


def test_the_wheel_brings_the_templates(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"server/commands/systemd/{path.name}" for path in TEMPLATES.iterdir()} <= names
