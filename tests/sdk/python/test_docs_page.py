"""The examples of `docs/python.md` and of the README run as they stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.support.process import ROOT, running_server

PAGES = ROOT / "docs" / "python.md", ROOT / "README.md"
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    if "openrouter_sse_client" in block
]


async def test_every_example_prints_the_answer(tmp_path: Path) -> None:
    assert len(BLOCKS) == 4
    async with running_server("--sandbox") as server, asyncio.timeout(60):
        printed = await asyncio.gather(*(_run(tmp_path / f"{n}.py", server.url) for n in range(len(BLOCKS))))
    for text in printed:
        assert "You asked: Why is the sky blue?. Having thought about it, I agree." in text
    assert "\n0.000633 USD\nTrue stop\n" in printed[0]


async def _run(file: Path, url: str) -> str:
    file.write_text(BLOCKS[int(file.stem)].replace("http://localhost:8000", url))  # noqa: ASYNC240
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(file),
        env={"PATH": os.environ["PATH"], "HOME": str(file.parent), "PYTHONPATH": str(ROOT / "sdk" / "python")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return printed.decode()
