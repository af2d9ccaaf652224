"""The commands of `docs/terminal.md` do what it says; every option and exit code is in it."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

from openrouter_sse_client.terminal import answering
from openrouter_sse_client.terminal.asking.arguments import COMMANDS, create_parser
from openrouter_sse_client.terminal.talk import HELP
from tests.sdk.python.terminal.running import PROGRAM, environment
from tests.support.process import ROOT, running_server

PAGE = (ROOT / "docs" / "terminal.md").read_text()
CLIENT = (ROOT / "sdk" / "python" / "README.md").read_text()


async def test_every_command_does_what_the_page_shows(tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    async with running_server("--sandbox") as server, asyncio.timeout(60):
        lines = [line for block in blocks for line in block.splitlines()]
        first = await _run(lines[0], tmp_path, server.url)  # which the others list, and read again
        await asyncio.gather(*(_run(line, tmp_path, server.url) for line in lines[1:]))
    answer, beside = first
    assert re.sub(r" +$", "", beside + answer, flags=re.MULTILINE) == f"[thinking] {shown}"


async def _run(line: str, folder: Path, url: str) -> tuple[str, str]:
    command = line.replace("bash scripts/chat", shlex.join(PROGRAM))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-o", "pipefail", "-c", command),
        env=environment(folder, url),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, beside = await process.communicate()
    assert process.returncode == 0, (line, beside.decode())
    assert answer, line
    return answer.decode(), beside.decode()


def test_every_option_command_and_exit_code_is_on_the_page() -> None:
    for action in create_parser()._actions:
        if action.option_strings and action.dest not in ("help", "version"):
            assert any(re.search(rf"`[^`]*(?<!\w){option}\b", PAGE) for option in action.option_strings), action
    for command in COMMANDS:
        assert re.search(rf"`(?:bash scripts/chat )?{command}[ `]", PAGE), command
    codes = {answering.WHOLE, answering.FAILED, answering.MISUSED, answering.STOPPED, answering.PIPE_CLOSED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)} == codes
    for command in re.findall(r"^(/\S+)", HELP, re.MULTILINE):
        assert command in PAGE
