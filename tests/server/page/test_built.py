"""How the page's files come to be: built beside a running server, in a wheel, or done without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
from tests.support.process import ROOT
from tests.support.serving import Api

ANSWER = "Some **bold** text:\n\n```python\nx = 1\n```\n\nand a ` tick."


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


def wheel(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Builds one of the project, without asking any network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    env = {**os.environ, "PYTHONPATH": "", **environ}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_a_wheel_has_every_file_of_the_page(tmp_path: Path) -> None:
    needs_vendor()
    done = wheel(tmp_path)
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(file).namelist())
    wanted = {f"server/web/{path.relative_to(FOLDER).as_posix()}" for path in FOLDER.rglob("*") if path.is_file()}
    assert wanted | {"server/web/client.js"} <= names
    assert zipfile.ZipFile(file).read("server/web/client.js") == (ROOT / "sdk/javascript/client.js").read_bytes()
