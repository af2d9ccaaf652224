"""What the documents tell people to type and to open is there, and is ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from trove_classifiers import classifiers

from tests.packaging.test_mcp_packaging import PROJECT
from tests.support.process import ROOT

MAP = ROOT / "docs" / "README.md"
PAGES = sorted({*(ROOT / "docs").glob("*.md")} - {MAP})
DOCUMENTS = [ROOT / "README.md", MAP, *PAGES]
LOCK = (ROOT / "scripts" / "lock").read_text()


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    """Each of them."""
    path: Path = request.param
    return path


def anchors(path: Path) -> set[str]:
    """The names that a heading can be linked by, as code hosts make them."""
    titles = re.findall(r"^#+ (.*)$", _without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """Where a document's links and pictures lead, in Markdown's words or in HTML's."""
    prose = _without_code(text)
    return re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"\b(?:href|src|srcset)=\"([^\" ]+)", prose)


def commands(text: str) -> Iterator[str]:
    """Every line that people are told to type: of shell blocks, and within sentences."""
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from (line.strip() for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", _without_code(text))


def _without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    for target in links(document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_nobody_is_told_to_run_what_is_not_on_the_path(document: Path) -> None:
    """bare 7: the commands are in `.venv/bin`, behind `scripts/serve`, or in a container."""
    bare = [
        command
        for command in commands(document.read_text())
        if re.match(r"(openrouter-[a-z-]+|python3?|scripts/\w+) \S", command)
    ]
    assert bare == []


def test_nobody_is_told_to_install_by_a_name_that_is_not_ours(document: Path) -> None:
    """bare 13: on the public index these names are nobody's, or a stranger's."""
    text = document.read_text()
    by_name = r"(uvx|pipx run|pipx install|uv tool install|pip install)( -\S+)* '?openrouter[-_](sse|mcp|server|chat)"
    assert re.findall(by_name, text) == []


def test_scripts_and_files_that_are_named_are_there(document: Path) -> None:
    named = re.findall(
        r"\b((?:scripts|docs|packaging|requirements)[/\w.-]*\.?\w+)", " ".join(commands(document.read_text()))
    )
    for name in named:
        if name.startswith("scripts/") or name.endswith((".md", ".txt", ".py", ".mjs", ".json")):
            assert (ROOT / name).exists(), name


def test_the_map_leads_to_every_page_and_the_readme_to_the_map() -> None:
    assert "docs/README.md" in links((ROOT / "README.md").read_text())
    assert {page.name for page in PAGES} <= set(links(MAP.read_text()))


def test_what_an_index_shows_leads_nowhere_that_an_index_has_not() -> None:
    """The text of the package stands alone: what it links to has an address of its own."""
    shown = PROJECT["readme"]
    assert shown["content-type"] == "text/markdown"
    assert [target for target in links(shown["text"]) if not target.startswith("https://")] == []
    for url in PROJECT.get("urls", {}).values():
        assert url.startswith("https://")


def test_every_room_stands_in_the_architecture() -> None:
    told = (ROOT / "docs" / "architecture.md").read_text()
    for package in ("client", "server", "mcp_app"):
        for room in (path.parent.name for path in (ROOT / package).glob("*/__init__.py")):
            assert f"**{room}**" in told or f'["{room}<br/>' in told, room


def test_the_changelog_says_nothing_twice_and_each_release_once() -> None:
    """Its lines are merged by union, which now and then leaves some of them twice."""
    lines = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith(("- ", "## "))]
    assert [line for line, times in Counter(lines).items() if times > 1] == []


def test_every_pinned_file_is_made_by_the_lock_and_holds_the_runtime_s_versions() -> None:
    pinned = {path.name: _versions(path) for path in ROOT.glob("requirements*.txt")}
    for name, versions in pinned.items():
        assert f"--output-file {name}" in LOCK
        assert pinned["requirements.txt"].items() <= versions.items()
        assert versions.items() <= pinned["requirements-dev.txt"].items()


def _versions(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_the_classifiers_exist() -> None:
    assert set(PROJECT["classifiers"]) <= classifiers
