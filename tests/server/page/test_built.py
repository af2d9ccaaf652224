"""How the page's files come to be: built beside a running server, in a wheel, or done without."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import expect

from client.sandbox import Reply, Sandbox
from server.page import routes
from server.page.files import FOLDER, read_files
from tests.support.browser import open_browser
from tests.support.chunks import END, STOP, text
from tests.support.page import VENDOR, needs_vendor, visiting
from tests.support.process import ROOT, running_server
from tests.support.serving import Api

ANSWER = "Some **bold** text:\n\n```python\nx = 1\n```\n\nand a ` tick."


@pytest.mark.usefixtures("kept_browser")
@pytest.mark.asyncio(loop_scope="session")
async def test_without_the_bundle_answers_are_plain_text_and_it_is_taken_when_it_is_there(
    api: Api, upstream: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_vendor()
    folder = tmp_path / "web"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("vendor"))
    monkeypatch.setattr(routes, "read_files", partial(read_files, folder=folder))
    pieces = [text(ANSWER[at : at + 5]) for at in range(0, len(ANSWER), 5)]
    upstream.script_always(Reply.stream(*pieces, STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        await expect(visitor.page.get_by_text("bash scripts/build-web")).to_be_visible()
        await visitor.send("Go")
        await visitor.answered()
        assert await visitor.answer.locator("pre code").text_content() == "x = 1\n"
        plain = await visitor.answer.locator(".plain").all_text_contents()
        assert plain == ["Some **bold** text:\n\n", "\nand a ` tick."]
        assert not any("vendor" in url for url in visitor.urls)
        shutil.copytree(VENDOR, folder / "vendor")
        await visitor.page.reload()
        await visitor.ready()
        await expect(visitor.answer.locator("strong")).to_have_text("bold")
        await expect(visitor.page.get_by_text("bash scripts/build-web")).to_have_count(0)


def clone(folder: Path) -> Path:
    """What `scripts/build-web` knows of the project."""
    for name in ("web", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "server" / "web").mkdir(parents=True)
    (folder / "bin").mkdir()
    for tool in ("bash", "cat", "cksum", "cp", "mkdir", "mktemp", "mv", "rm", "sed", "dirname"):
        found = shutil.which(tool)
        assert found is not None
        (folder / "bin" / tool).symlink_to(found)
    return folder


def build(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs it with nothing on PATH but what `clone` put there."""
    env = {"PATH": str(folder / "bin"), "HOME": str(folder), **environ}
    return subprocess.run(
        ["bash", "scripts/build-web", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=30
    )


def add(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!{folder}/bin/bash\n{script}\n")
    path.chmod(0o755)


def test_a_server_that_starts_without_npm_fetches_nothing_and_waits_for_nothing(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    add(folder, "python3", f"echo asked >>{folder}/asked; exit 1")
    done = build(folder, "--if-possible")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (folder / "asked").exists()
    refused = build(folder)
    assert refused.returncode != 0
    assert "taking a Node from the Python package index" in refused.stderr
    assert (folder / "asked").exists()


def test_a_build_that_fails_leaves_nothing_and_says_nothing_when_it_was_only_tried(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    add(folder, "node", "exit 0")
    add(folder, "npm", "echo no network >&2; exit 1")
    done = build(folder, "--if-possible")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert build(folder).returncode == 1
    assert list((folder / "server" / "web").iterdir()) == []


def test_it_can_be_declined(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    add(folder, "npm", f"echo asked >>{folder}/asked; exit 1")
    add(folder, "node", "exit 0")
    done = build(folder, NO_WEB_BUILD="1")
    assert done.returncode == 0
    assert not (folder / "asked").exists()


def build_distribution(kind: str, folder: Path, source: Path = ROOT) -> Path:
    """A wheel or an sdist of the project, made without asking any network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    env = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [file] = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


def test_a_wheel_has_every_file_of_the_page(tmp_path: Path) -> None:
    needs_vendor()
    file = build_distribution("wheel", tmp_path)
    names = set(zipfile.ZipFile(file).namelist())
    wanted = {f"server/web/{path.relative_to(FOLDER).as_posix()}" for path in FOLDER.rglob("*") if path.is_file()}
    assert wanted | {"server/web/client.js"} <= names
    assert zipfile.ZipFile(file).read("server/web/client.js") == (ROOT / "sdk/javascript/client.js").read_bytes()


NEEDED = (
    "packaging/build_hook.py",
    "scripts/build-web",
    "scripts/serve",
    "sdk/javascript/client.js",
    "sdk/python/openrouter_sse_client/__init__.py",
    "server/web/index.html",
    "server/web/vendor/format.js",
    "web/package-lock.json",
)
LOCAL = re.compile(r"(^|/)(\.venv|\.node|node_modules|\.env|dist|__pycache__|\.git|config\.local)(/|$)")


@pytest.mark.usefixtures("kept_browser")
@pytest.mark.asyncio(loop_scope="session")
async def test_what_is_installed_from_the_sources_that_are_given_away_shows_the_page(tmp_path: Path) -> None:
    """An sdist, a wheel made of it without Node, installed elsewhere and looked at."""
    needs_vendor()
    site = tmp_path / "site"
    await asyncio.to_thread(install_from_sdist, tmp_path, site)
    env = {"PYTHONPATH": str(site)}
    async with (
        running_server("--sandbox", env=env) as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        assert await visitor.page.get_attribute("html", "data-installed") == "elsewhere"
        await visitor.press("format")
        await visitor.answered()
        await expect(visitor.answer.locator("strong").first).to_be_visible()
        await expect(visitor.answer.locator(".katex").first).to_be_visible()


def install_from_sdist(folder: Path, site: Path) -> None:
    """Marks the installed page, so that it is known for what it is."""
    with tarfile.open(build_distribution("sdist", folder)) as archive:
        archive.extractall(folder / "source", filter="data")
    [source] = (folder / "source").iterdir()
    names = {path.relative_to(source).as_posix() for path in source.rglob("*")}
    assert set(NEEDED) <= names
    assert [name for name in names if LOCAL.search(name)] == []
    wheel = build_distribution("wheel", folder, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True, timeout=60)
    shutil.rmtree(source)
    index = site / "server" / "web" / "index.html"
    index.write_text(index.read_text().replace("<html ", '<html data-installed="elsewhere" '))
