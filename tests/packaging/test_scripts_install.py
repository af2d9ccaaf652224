"""`scripts/install` believes no environment that is broken, foreign, moved or half made: the next run mends it.

The shell is real; the interpreter is a stand-in that notes what it is asked for, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.process import ROOT

_PYTHON = """#!/usr/bin/env bash
# Stands in for Python, venv and pip. Step STOP_AT of what changes something is where it ends as STOP_HOW says.
set -eu
self=$(readlink -f "$0")
version=$(cat "$self.version")
case "$*" in
    -c*version_info*) [ "$version" != 3.10 ] || { echo "Python 3.11 or newer is needed" >&2; exit 1; }; exit ;;
    -c*) printf '%s\\n' "$self" "cpython-$version linux"; exit ;;
esac
echo "$*" >>"$LOG"
stop() {
    [ "${STOP_AT:-}" = "$1" ] || return 0
    case $STOP_HOW in fail) exit 1 ;; *) kill -s "$STOP_HOW" 0; sleep 60 ;; esac
}
case "$*" in
    "-m venv "*)
        stop before-venv
        mkdir -p "$3/bin" "$3/lib/python$version/site-packages"
        ln -sf "$self" "$3/bin/python"
        stop venv
        echo home >"$3/pyvenv.cfg"
        touch "$3/lib/python$version/site-packages/pip" ;;
    *"-r "*)
        packages=$(dirname "$0")/../lib/python$version/site-packages
        [ -e "$packages/pip" ] || { echo "No module named pip" >&2; exit 1; }
        mkdir -p "$packages/aiohttp-1.dist-info"
        stop requirements ;;
    *--editable*)
        stop editable
        for name in openrouter-server openrouter-chat; do
            printf '#!%s\\n' "$PWD/$(dirname "$0")/python" >"$(dirname "$0")/$name"
            chmod +x "$(dirname "$0")/$name"
        done ;;
    *openrouter-server*) shift; echo "serving $*" ;;
    *openrouter-chat*) shift; echo "asked $*, given $(cat)" ;;
esac
"""


class Clone:
    """A copy of the project as far as `scripts/serve` knows it, and the machine around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.log = folder / "log"
        self.bin = folder / "bin"
        (self.folder / "scripts").mkdir(parents=True)
        for name in ("chat", "install", "serve"):
            shutil.copy(ROOT / "scripts" / name, self.folder / "scripts")
        (self.folder / "sdk" / "python").mkdir(parents=True)
        for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml", "sdk/python/pyproject.toml"):
            (self.folder / name).write_text(f"# {name}\n")
        self.bin.mkdir()
        self.add_python("python3", "3.11")

    @property
    def venv(self) -> Path:
        """Where it installs."""
        return self.folder / ".venv"

    def add_python(self, name: str, version: str) -> Path:
        """Puts an interpreter on PATH, or another version in its place."""
        path = self.bin / name
        path.write_text(_PYTHON)
        path.chmod(0o755)
        path.with_name(f"{name}.version").write_text(version)
        return path

    def run(self, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs a script to its end; a signal that it sends to its group reaches nothing else."""
        given = environ.pop("GIVEN", "")
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "VENV")}
        env = {**clean, "PATH": f"{self.bin}:/usr/bin:/bin", "LOG": str(self.log), **environ}
        command = ["bash", f"scripts/{script}", *words]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=env,
            input=given,
            capture_output=True,
            text=True,
            timeout=30,
            start_new_session=True,
        )

    def steps(self) -> list[str]:
        """What the interpreter was asked to do since the last look."""
        found = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [step.split()[1] if "venv" in step else step.split()[-1] for step in found]

    def assert_serves(self, **environ: str) -> list[str]:
        """`scripts/serve` works now, and has nothing to do the next time; returns what it did."""
        done = self.run("serve", "--sandbox", **environ)
        assert done.returncode == 0, done.stderr
        assert "serving" in done.stdout
        steps = self.steps()
        again = self.run("serve", "--sandbox", **environ)
        assert "serving" in again.stdout
        assert again.stderr == ""
        self.log.unlink(missing_ok=True)
        return [step for step in steps if step != "--sandbox"]


EDITABLE = "sdk/python"
"""What is named last when the two projects of the folder are installed."""
REBUILT = ["venv", "requirements.txt", EDITABLE]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """One in which nothing was installed yet."""
    return Clone(tmp_path)


def test_the_first_run_says_how_long_it_takes_and_what_there_is_then(clone: Clone) -> None:
    """bare 3"""
    done = clone.run("install")
    assert "takes half a minute to two minutes" in done.stderr
    assert ".venv/bin has openrouter-server" in done.stderr
    assert clone.steps() == REBUILT
    assert clone.assert_serves() == []


@pytest.mark.parametrize("how", ["INT", "TERM", "KILL", "fail"])
@pytest.mark.parametrize("step", ["before-venv", "venv", "requirements", "editable"])
def test_what_was_interrupted_is_made_anew(clone: Clone, step: str, how: str) -> None:
    """bare 3: Ctrl-C, a lost network, no python3-venv."""
    done = clone.run("serve", "--sandbox", STOP_AT=step, STOP_HOW=how)
    assert done.returncode == (1 if how == "fail" else -getattr(signal, f"SIG{how}"))
    assert clone.run("serve", STOP_AT=step, STOP_HOW=how).returncode != 0
    clone.steps()
    assert clone.assert_serves() == REBUILT


@pytest.mark.parametrize("step", ["requirements", "editable"])
def test_what_was_interrupted_in_an_update_is_made_anew(clone: Clone, step: str) -> None:
    """bare 3"""
    clone.assert_serves()
    (clone.folder / "requirements.txt").write_text("# newer\n")
    clone.run("serve", STOP_AT=step, STOP_HOW="INT")
    clone.steps()
    assert clone.assert_serves() == REBUILT


def test_without_python3_venv_the_package_is_named(clone: Clone) -> None:
    """bare 3"""
    done = clone.run("serve", STOP_AT="venv", STOP_HOW="fail")
    assert "sudo apt install python3-venv" in done.stderr


def test_the_terminal_program_is_installed_beside_the_server_and_given_what_is_piped(clone: Clone) -> None:
    done = clone.run("chat", "-m", "acme/m", "Why is it?", GIVEN="the text")
    assert done.stdout.endswith("asked -m acme/m Why is it?, given the text\n")
    assert clone.run("chat", "Why?", GIVEN="x").stderr == ""


def test_a_moved_folder_is_made_anew(clone: Clone) -> None:
    """bare 4"""
    clone.assert_serves()
    clone.folder = clone.folder.rename(clone.folder.with_name("moved"))
    assert clone.assert_serves() == REBUILT


def test_a_copied_folder_is_made_anew_and_the_first_stays(clone: Clone) -> None:
    """bare 4"""
    clone.assert_serves()
    first = clone.folder
    clone.folder = Path(shutil.copytree(first, first.with_name("copy"), symlinks=True))
    assert clone.assert_serves() == REBUILT
    clone.folder = first
    assert clone.assert_serves() == []


def test_an_upgraded_python_makes_it_anew_and_leaves_nothing_of_the_old(clone: Clone) -> None:
    """bare 4"""
    clone.assert_serves()
    clone.add_python("python3", "3.13")
    assert clone.assert_serves() == REBUILT
    assert [path.name for path in (clone.venv / "lib").iterdir()] == ["python3.13"]


def test_a_removed_python_makes_it_anew_with_another(clone: Clone) -> None:
    """bare 4"""
    clone.assert_serves(PYTHON=str(clone.add_python("python3.12", "3.12")))
    (clone.bin / "python3.12").unlink()
    assert clone.assert_serves() == REBUILT


def test_another_python_that_was_asked_for_makes_it_anew_and_stays_when_none_is_asked_for(clone: Clone) -> None:
    """bare 4"""
    clone.assert_serves()
    clone.add_python("python3.13", "3.13")
    assert clone.assert_serves(PYTHON="python3.13") == REBUILT
    assert clone.assert_serves() == []


def test_a_python_that_cannot_be_used_changes_nothing(clone: Clone) -> None:
    clone.assert_serves()
    clone.add_python("python3.10", "3.10")
    assert "3.11 or newer" in clone.run("serve", PYTHON="python3.10").stderr
    assert clone.run("serve", PYTHON="no-such-python").returncode == 127
    assert clone.assert_serves() == []


@pytest.mark.parametrize("stamp", ["", "installed-requirements.txt", "installed"])
def test_somebody_else_s_environment_is_made_anew(clone: Clone, stamp: str) -> None:
    """bare 4: an editor's, uv's, or one of an older version of these scripts."""
    (clone.venv / "lib/python3.11/site-packages/foreign").mkdir(parents=True)
    (clone.venv / "pyvenv.cfg").touch()
    if stamp:
        (clone.venv / stamp).touch()
    assert clone.assert_serves() == REBUILT
    assert not list(clone.venv.rglob("foreign"))


def test_a_package_that_somebody_removed_makes_it_anew(clone: Clone) -> None:
    """bare 4: `uv sync` in the same folder."""
    clone.assert_serves()
    next(clone.venv.rglob("*.dist-info")).rmdir()
    assert clone.assert_serves() == REBUILT


def test_a_folder_that_is_no_environment_is_left_alone(clone: Clone) -> None:
    (clone.venv / "photos").mkdir(parents=True)
    done = clone.run("serve")
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (clone.venv / "photos").exists()
    assert clone.assert_serves(VENV=".venv-other") == REBUILT


@pytest.mark.parametrize("file", ["requirements.txt", "pyproject.toml", "sdk/python/pyproject.toml"])
def test_new_requirements_are_installed_into_what_is_there(clone: Clone, file: str) -> None:
    """bare 4: by what it holds and not by its date, which version control sets as it likes."""
    clone.assert_serves()
    (clone.folder / file).touch()
    assert clone.assert_serves() == []
    (clone.folder / file).write_text("# newer\n")
    os.utime(clone.folder / file, (1, 1))
    assert clone.assert_serves() == ["requirements.txt", EDITABLE]


def test_two_requirement_files_live_side_by_side(clone: Clone) -> None:
    clone.run("install", "requirements-dev.txt")
    clone.run("install", "requirements.txt")
    assert clone.steps() == ["venv", "requirements-dev.txt", EDITABLE, "requirements.txt", EDITABLE]
    clone.run("install", "requirements-dev.txt")
    assert clone.assert_serves() == []


def test_two_first_runs_at_once_install_once(clone: Clone) -> None:
    """bare 3"""
    both = [
        subprocess.Popen(
            ["bash", "scripts/install"],
            cwd=clone.folder,
            env={"PATH": f"{clone.bin}:/usr/bin:/bin", "LOG": str(clone.log)},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    assert [each.wait(30) for each in both] == [0, 0]
    assert clone.steps() == REBUILT
