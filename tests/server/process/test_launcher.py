"""The installed commands run this product's code, whatever else is called `server`, `client` or `mcp`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import openrouter_sse_backend
from tests.support.process import ROOT

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
FOREIGN = ["server/__init__.py", "client.py", "mcp_app/__init__.py", "mcp/__init__.py", "aiohttp.py", "logging.py"]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A project of somebody else, none of whose modules can be imported by mistake."""
    for name in FOREIGN:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('This is not ours: ' + __file__)\n")
    return tmp_path


def run_script(name: str, *before: Path, cwd: Path, **environ: str) -> str:
    """What `--check-config`, or `--version`, prints when it is started as pip's scripts start it.

    Args:
        before: folders that stand on the path before ours.
    """
    module, function = SCRIPTS[name].split(":")
    path = f"sys.path[:0] = {[*map(str, before)]!r}; sys.path.append({str(ROOT)!r})"
    start = f"import sys; sys.path.remove(''); {path}; from {module} import {function}; sys.exit({function}())"
    flag = "--check-config" if name == "openrouter-server" else "--version"
    command = [sys.executable, "-c", start, "--sandbox", flag]
    env = {**os.environ, **environ}
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("pythonpath", ["{foreign}", ".", "{root}:{foreign}", "{foreign}:{root}"])
def test_packages_on_pythonpath_are_not_taken_for_ours(foreign: Path, name: str, pythonpath: str) -> None:
    """bare 12"""
    where = pythonpath.format(foreign=foreign, root=ROOT)
    assert run_script(name, cwd=foreign, PYTHONPATH=where)


@pytest.mark.parametrize("name", SCRIPTS)
def test_packages_of_another_project_in_the_same_environment_are_not_taken_for_ours(foreign: Path, name: str) -> None:
    """bare 12"""
    for other in ("mcp/__init__.py", "aiohttp.py", "logging.py"):
        (foreign / other).unlink()  # what is installed beside ours is what ours uses
    assert run_script(name, foreign, cwd=foreign)


def test_the_wheel_has_the_launcher_beside_the_packages(tmp_path: Path) -> None:
    """bare 12"""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    ours = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}
    assert ours == {"client", "mcp_app", "server", "openrouter_sse_backend.py"}


def test_every_command_begins_in_the_launcher() -> None:
    for target in SCRIPTS.values():
        module, function = target.split(":")
        assert module == openrouter_sse_backend.__name__
        assert callable(getattr(openrouter_sse_backend, function))
