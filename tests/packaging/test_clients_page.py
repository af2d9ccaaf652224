"""The examples of `docs/clients.md` run as they stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.mcp.test_node import MODULES, NODE, needed
from tests.support.process import ROOT, running_server

PAGE = (ROOT / "docs" / "clients.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```(python|js)\n(.*?)```", PAGE, re.DOTALL)


def _name(block: tuple[str, str]) -> str:
    imported = re.search(r'^from (\w+) import|from "([^"]+)"', block[1])
    assert imported is not None
    return f"{block[0]}-{imported[1] or imported[2]}"


@pytest.mark.parametrize("block", BLOCKS, ids=map(_name, BLOCKS))
async def test_an_example_prints_the_answer(block: tuple[str, str], tmp_path: Path) -> None:
    language, code = block
    if language == "js":
        needed(_name(block).removeprefix("js-"))
        (tmp_path / "node_modules").symlink_to(MODULES)
    async with running_server("--sandbox") as server:
        file = tmp_path / f"example.{'mjs' if language == 'js' else 'py'}"
        file.write_text(code.replace("http://localhost:8000", server.url))
        process = await asyncio.create_subprocess_exec(
            str(NODE) if language == "js" else sys.executable,
            *(["--preserve-symlinks"] if language == "js" else []),
            str(file),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    assert "Hello" in printed.decode()
