"""The documents, the shipped settings and the examples say what is true."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from client.streams.wire import EVENT_NAMES
from server.commands.command_lines import parse_server_args
from server.config import Flags, environment_name, is_secret, load_config, setting_fields
from tests.support.process import running_server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
API, SETTINGS, PERFORMANCE = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("api", "settings", "performance")
)
EXAMPLES = ROOT / "docs" / "examples"


def test_the_readme_is_a_first_screen_and_no_reference() -> None:
    assert len(README.splitlines()) <= 200


def test_the_readme_compares_by_the_figures_that_were_measured() -> None:
    table = PERFORMANCE.partition("### Beside other gateways")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    columns, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    measured = [dict(zip(columns, row, strict=True)) for row in rows]
    compared = [row for row in measured if f"\n| {row['figure']} |" in README]
    assert len(compared) >= 5
    for row in compared:
        here, litellm, portkey = (re.sub(r" \(.*\)$", "", row[who]) for who in ("this server", "LiteLLM", "Portkey"))
        assert f"\n| {row['figure']} | {here} | | {litellm} | {portkey} |" in README


def test_every_setting_is_in_the_documents_and_in_config_toml_with_the_same_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| .*? \| `(.*?)` \|", SETTINGS, re.MULTILINE))
    shipped = tomllib.loads((ROOT / "config.toml").read_text())
    known = {f"{section}.{key}" for (section, key), field in setting_fields().items() if not is_secret(field)}
    assert rows.pop("redis.url") == '""'  # a secret, but where it holds no password
    assert set(rows) == known
    for dotted, default in rows.items():
        section, key = dotted.split(".")
        assert tomllib.loads(f"value = {default}")["value"] == shipped[section][key], dotted


def test_every_environment_name_is_in_the_documents_and_in_env_example() -> None:
    example = (ROOT / ".env.example").read_text()
    for field in setting_fields().values():
        name = environment_name(field)
        if name is not None:
            assert f"`{name}`" in SETTINGS
            assert name in example


def test_env_example_shows_the_defaults(tmp_path: Path) -> None:
    """With every line in force that has a value, the settings are what they are without."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    in_force = [line.removeprefix("#") for line in lines if re.match(r"#?[A-Z][A-Z0-9_]*=.", line)]
    assert len(in_force) > 20
    (tmp_path / ".env").write_text("\n".join(in_force))
    shown = load_config(Flags(), {}, tmp_path)
    without = load_config(Flags(), {}, tmp_path / "nowhere")
    for section, key in setting_fields():
        assert getattr(getattr(shown, section), key) == getattr(getattr(without, section), key), f"{section}.{key}"


def test_every_flag_and_command_is_in_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    pages = [page.read_text() for page in (ROOT / "docs").glob("*.md")]
    flags, commands = _told_by_help(capsys)
    assert flags
    assert all(re.search(rf"{flag}\b", SETTINGS) for flag in flags)
    assert len(commands) == 4
    for command in commands:
        assert f"`bash scripts/serve {command} " in "".join(pages) or f"/openrouter-server {command} " in "".join(
            pages
        )
        flags, _ = _told_by_help(capsys, command)
        for flag in flags:
            assert any(command in page and re.search(rf"{flag}\b", page) for page in pages), f"{command} {flag}"


def _told_by_help(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[set[str], set[str]]:
    """The flags and the sub-commands that the server's help lists."""
    with pytest.raises(SystemExit):
        parse_server_args([*command, "--help"])
    told = capsys.readouterr().out
    flags = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", told, re.MULTILINE)) - {"--help"}
    return flags, set(re.findall(r"^    ([a-z-]+)(?: |$)", told, re.MULTILINE))


def test_every_event_is_in_the_documents() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (?:`\{|the |OpenRouter's usage|see )", API, re.MULTILINE)
    assert set(EVENT_NAMES) <= set(rows)


def test_the_documents_hold_the_examples_as_they_are() -> None:
    for example in EXAMPLES.iterdir():
        assert example.read_text().strip() in API


async def test_the_readme_shows_what_the_first_command_prints() -> None:
    """The very bytes, but for what was left out (…) and what differs from run to run."""
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: install the Debian package curl")
    [command] = re.findall(r"```bash\n(curl -N localhost:8000/chat .*?reasoner.*?)\n```", README, re.DOTALL)
    [shown] = re.findall(r"```text\n(event: start\n.*?)\n```", README, re.DOTALL)
    async with running_server("--sandbox") as server, asyncio.timeout(30):
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command.replace("localhost:8000", server.url.removeprefix("http://")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        stdout, _ = await process.communicate()
    printed = _without_what_differs(stdout.decode())
    place = 0
    for part in _without_what_differs(shown).split("…"):
        place = printed.find(part.strip("\n"), place)
        assert place >= 0, part
        place += len(part.strip("\n"))
    assert printed[place:].strip() == ""


def _without_what_differs(text: str) -> str:
    """Without the ids of stream and generation, and without times."""
    text = re.sub(r"(id: |stream_id\":\")[\w-]{22}|gen-[\w-]+", r"\1", text)
    return re.sub(r"(duration_ms|time_to_first_token_ms|tokens_per_second)\":[\d.]+", r"\1", text)


async def test_the_python_example_reads_a_whole_answer() -> None:
    assert await _run_example(sys.executable, "read.py") == _EXPECTED


async def test_the_javascript_example_reads_a_whole_answer() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing: install the Debian package nodejs")
    assert await _run_example(node, "read.mjs") == _EXPECTED


_EXPECTED = "You asked: Why is the sky blue?. Having thought about it, I agree.\n0.000603 USD\n"


async def _run_example(interpreter: str, name: str) -> str:
    async with running_server("--sandbox") as server:
        process = await asyncio.create_subprocess_exec(
            interpreter,
            str(EXAMPLES / name),
            f"{server.url}/chat",
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            stdout, _ = await process.communicate()
    return stdout.decode()
