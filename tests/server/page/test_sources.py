"""The sources of the page: their types hold, they are small enough, and nothing in them makes HTML of text."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest

from server.page.files import FOLDER
from tests.mcp.test_node import MODULES
from tests.sdk.test_javascript import SDK, node
from tests.support.process import ROOT

MODULES_OF_THE_PAGE = sorted(path for path in FOLDER.rglob("*.js") if "vendor" not in path.parts)
VENDOR = FOLDER / "vendor"
MOST_BYTES = {"format.js": 80_000, "maths.js": 85_000}
MOST_AT_ONCE = 60_000
_OPTIONS = {
    "target": "ES2023",
    "lib": ["ES2024", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "types": [],
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "strict": False,
}


async def test_their_types_hold(tmp_path: Path) -> None:
    """In the places where browsers see them: the client two folders above."""
    shutil.copytree(FOLDER, tmp_path / "assets" / "x", ignore=shutil.ignore_patterns("vendor", "client.js"))
    for name in ("client.js", "events.d.ts"):
        shutil.copy(SDK / name, tmp_path)
    (tmp_path / "vendor.d.ts").write_text(
        'declare module "*/vendor/format.js" { export const Marked, Tokenizer, lowlight, remend; }\n'
        'declare module "*/vendor/maths.js" { export const render: any; }\n'
    )
    settings = {"compilerOptions": _OPTIONS, "include": ["assets/**/*.js", "vendor.d.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    await node(MODULES / "typescript" / "bin" / "tsc", "-p", tmp_path / "tsconfig.json", cwd=tmp_path)


@pytest.mark.parametrize("path", MODULES_OF_THE_PAGE, ids=lambda path: path.name)
def test_nothing_makes_html_or_styles_of_text(path: Path) -> None:
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|setHTML|createContextualFragment|"
        r"\beval\(|new Function|new Worker|setAttribute\(\"style\"|https?://(?!www\.w3\.org)[a-z]",
        path.read_text(),
    )
    assert found == []


def test_what_is_loaded_at_once_is_small() -> None:
    first = _imports_of(FOLDER / "main.js", set())
    files = [FOLDER / "index.html", FOLDER / "style.css", FOLDER / "icon.svg", SDK / "client.js", *first]
    size_bytes = sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)
    print(f"{len(files)} files, {size_bytes} bytes packed")
    assert size_bytes <= MOST_AT_ONCE
    assert len(files) + 4 <= 20  # and health, the model, what was spent, whether answers can be formatted


def _imports_of(path: Path, found: set[Path]) -> set[Path]:
    """The module and those that it imports when it is loaded."""
    found.add(path)
    for name in re.findall(r'^import .* from "(\.[^"]+)"', path.read_text(), re.MULTILINE):
        other = (path.parent / name).resolve()
        if other not in found and other.is_relative_to(FOLDER):
            _imports_of(other, found)
    return found


def test_the_bundles_are_small_and_say_whose_they_are() -> None:
    if not VENDOR.exists():
        pytest.skip("server/web/vendor is missing: run scripts/build-web")
    for name, most_bytes in MOST_BYTES.items():
        size_bytes = len(gzip.compress((VENDOR / name).read_bytes(), 9))
        print(f"{name}: {size_bytes} bytes packed")
        assert size_bytes <= most_bytes
    licences = (VENDOR / "LICENSES.txt").read_text()
    for package in json.loads((ROOT / "web" / "package.json").read_text())["dependencies"]:
        assert f"== {package}\n" in licences


def test_the_lock_holds_hashes_and_no_address() -> None:
    packages = json.loads((ROOT / "web" / "package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name
