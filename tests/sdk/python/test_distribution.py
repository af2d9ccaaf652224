"""The distribution as strangers get it: built, installed beside its one dependency, and used."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from trove_classifiers import classifiers

from tests.support.process import ROOT, running_server

SDK = ROOT / "sdk" / "python"
PROJECT = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of wheel and sdist."""
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(build, cwd=SDK, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def bare(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, aiohttp, what that needs, and nothing else."""
    venv = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    [site] = venv.glob("lib/*/site-packages")
    for name in needed("aiohttp"):
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(Path(str(file.locate())))
    [wheel] = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "--no-index"]
    subprocess.run([*install, "--quiet", str(wheel)], check=True, capture_output=True, timeout=60)
    return venv


def needed(name: str, seen: set[str] | None = None) -> set[str]:
    """A distribution and all that it needs here."""
    seen = set() if seen is None else seen
    name = re.sub("[-_.]+", "-", name).lower()
    if name not in seen:
        seen.add(name)
        for requirement in distribution(name).requires or ():
            if "extra ==" not in requirement:
                other = re.match(r"[\w.-]+", requirement)
                assert other is not None
                if _is_installed(other[0]):
                    needed(other[0], seen)
    return seen


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except ModuleNotFoundError:
        return False
    return True


def test_the_wheel_and_the_sdist_hold_the_package_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {str(path.relative_to(SDK)) for path in package_files()}
    assert {name for name in names if ".dist-info/" not in name} == inside
    assert any(name.endswith("licenses/LICENSE") for name in names)
    [sdist] = built.glob("*.tar.gz")
    unpacked = built / "unpacked"
    shutil.unpack_archive(sdist, unpacked, filter="data")
    [folder] = unpacked.iterdir()
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found - {"PKG-INFO", ".gitignore"} == inside | {"pyproject.toml", "README.md", "LICENSE"}


def package_files() -> Iterator[Path]:
    for path in (SDK / "openrouter_sse_client").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def test_it_needs_aiohttp_and_nothing_else() -> None:
    assert [re.split("[<>=]", each)[0] for each in PROJECT["dependencies"]] == ["aiohttp"]
    assert set(PROJECT["classifiers"]) <= classifiers
    assert (SDK / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (SDK / "openrouter_sse_client" / "py.typed").exists()


async def test_the_readme_s_examples_and_the_program_run_from_the_wheel(bare: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (SDK / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 2
    async with running_server("--sandbox") as server:
        for number, block in enumerate(blocks):
            file = tmp_path / f"example{number}.py"
            file.write_text(block.replace("http://localhost:8000", server.url))
            printed = await run(bare / "bin" / "python", str(file), cwd=tmp_path)
            assert "You asked: Why is the sky blue?" in printed, block
        program = bare / "bin" / "openrouter-chat"
        asked = await run(program, "--url", server.url, "-R", "Why is the sky blue?", cwd=tmp_path)
        assert asked == "You asked: Why is the sky blue?. Having thought about it, I agree.\n"
        assert PROJECT["version"] in await run(program, "--version", cwd=tmp_path)


async def run(program: Path, *words: str, cwd: Path) -> str:
    """What it prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        str(program),
        *words,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return printed.decode()
