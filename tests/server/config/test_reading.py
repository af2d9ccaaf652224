"""What the settings are read from: odd files, paths in the home folder, and TOML that no program can hold."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path

import pytest

from server.config import ConfigError, Flags, load_config
from tests.server.config.test_problems import problems


def deep(brackets: str, depth: int) -> str:
    return f"x = {brackets[0] * depth}{brackets[1] * depth}" if brackets == "[]" else "x." * depth + "y = 1"


@pytest.mark.parametrize("brackets", ["[]", "."])
@pytest.mark.parametrize("depth", [50, 100, 200, 300, 400, 900, 2_000, 10_000, 100_000])
def test_break_it_28_what_is_nested_is_a_problem_whatever_the_depth(
    tmp_path: Path, brackets: str, depth: int
) -> None:
    found = [str(problem) for problem in problems(tmp_path, deep(brackets, depth))]
    assert len(found) == 1
    assert found[0].startswith(f"{tmp_path / 'config.toml'}: ")
    assert "\n" not in found[0]
    assert len(found[0]) < 500


@pytest.mark.parametrize(
    "text",
    [
        "server.port = 0x" + "f" * 5_000,
        "server.ping_interval_s = 0x" + "f" * 5_000,
        "x = " + "1" * 5_000,
        "x = 0x" + "f" * 5_000,
        "x = 1e999999999",
        "x = 1979-13-45",
    ],
)
def test_break_it_28_a_value_that_python_cannot_hold_is_one_problem(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


@contextmanager
def as_somebody(folder: Path) -> Iterator[None]:
    """As a user who may not read everything, but come to the folder; as we are, if that is such a user."""
    if os.geteuid() != 0:
        yield
        return
    closed = [each for each in folder.parents if each.stat().st_mode & 0o077 == 0]
    for each in closed:
        each.chmod(each.stat().st_mode | 0o011)
    folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for each in closed:
            each.chmod(each.stat().st_mode & ~0o011)


@pytest.mark.parametrize("kind", ["large", "folder", "pipe", "zeros", "loop", "socket", "closed"])
def test_break_it_28_whatever_stands_in_place_of_a_file_is_one_problem(tmp_path: Path, kind: str) -> None:
    for name, variable in (("config.toml", None), ("key", "OPENROUTER_API_KEY_FILE"), (".env", None)):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        file = folder / name
        if kind == "large":
            file.write_text("# a comment\n" * 900_000)
        elif kind == "folder":
            file.mkdir()
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "zeros":
            file.symlink_to("/dev/zero")
        elif kind == "loop":
            file.symlink_to(file)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as sock, chdir(folder):
                sock.bind(name)  # the path of a socket must be short
        else:
            file.touch(0)
        with (
            as_somebody(folder) if kind == "closed" else nullcontext(),
            pytest.raises(ConfigError) if (kind, name) != ("folder", ".env") else nullcontext() as caught,
        ):
            load_config(Flags(), {variable: str(file)} if variable else {}, folder)
        if caught is not None:
            (problem,) = caught.value.problems
            assert str(file) in str(problem)


def test_break_it_28_a_pipe_that_somebody_writes_to_is_read_to_its_end(tmp_path: Path) -> None:
    """As `--config <(command)` makes one."""
    file = tmp_path / "pipe"
    os.mkfifo(file)
    text = "# a comment\n" * 20_000 + "[server]\nport = 81\n"
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(file.write_text, text)
        assert load_config(Flags(config=str(file)), {}, tmp_path).server.port == 81
        writing.result()


def test_a_path_may_begin_in_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "sub" / "key").write_text("k" * 20)
    (home / "c.toml").write_text("[server]\nport = 82\n")
    (tmp_path / ".env").write_text("STATE_DIR=~/state\nOPENROUTER_API_KEY_FILE=~/sub/key\n")
    for flags, more in ((Flags(config="~/c.toml"), {}), (Flags(), {"OPENROUTER_CONFIG": "~/c.toml"})):
        config = load_config(flags, {"HOME": str(home), **more}, tmp_path)
        assert (config.server.port, config.state_folder) == (82, home / "state")
        assert config.upstream.api_key is not None


@pytest.mark.parametrize("environ", [{"HOME": ""}, {"HOME": "/home/ann"}])
def test_a_home_folder_that_nobody_knows_is_a_problem(tmp_path: Path, environ: dict[str, str]) -> None:
    path = "~/x" if not environ["HOME"] else "~bob/x"
    named = {"STATE_DIR": path, "OPENROUTER_API_KEY_FILE": path, "SERVER_TOKENS_FILE": path}
    with pytest.raises(ConfigError) as caught:
        load_config(Flags(config=path), environ | named, tmp_path)
    assert len(caught.value.problems) == 4
    assert all(f"{path} cannot be found" in str(problem) for problem in caught.value.problems)


def test_a_path_that_no_file_can_have_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENROUTER_CONFIG=a\0b\nOPENROUTER_API_KEY_FILE=a\0b\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Flags(), {}, tmp_path)
    assert len(caught.value.problems) == 2
