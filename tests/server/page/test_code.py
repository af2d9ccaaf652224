"""The request as code: each text runs as it is, and gets the same answer."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
from pathlib import Path

from client.sandbox import Sandbox
from client.sandbox.models.picture import make_png
from tests.mcp.test_node import NODE, needed
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.page import visiting
from tests.support.process import running_server

pytestmark = WITH_KEPT_BROWSER

MESSAGE = (
    "It's \"quoted\" `x` $HOME $(id) \\n \\ %s {a} '''\nJSON\n\tEOF 🌦️ \u202e ünï \u2028 </script>" + "x" * 100_000
)
COMMANDS = {
    "curl": ("bash", ".sh"),
    "Python": (sys.executable, ".py"),
    "JavaScript": (str(NODE), ".mjs"),
    "JavaScript, fetch alone": (str(NODE), ".mjs"),
}


async def run_code(language: str, code: str, folder: Path) -> str:
    program, ending = COMMANDS[language]
    if ending == ".mjs":
        needed("typescript")
    file = folder / f"copied{ending}"
    file.write_text(code)
    process = await asyncio.create_subprocess_exec(
        program,
        str(file),
        env={"PATH": os.environ["PATH"], "SERVER_TOKEN": "a-token-of-the-caller"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()[-2000:]
    text = printed.decode()
    if language == "curl":
        text = "".join(
            json.loads(data)["text"] for data in re.findall(r"^event: content\nid: .*\ndata: (.*)$", text, re.M)
        )
    return text


def bodies() -> dict[str, dict[str, object]]:
    url = f"data:image/png;base64,{base64.b64encode(make_png(1)).decode()}"
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    tool = {"type": "function", "function": {"name": "f", "description": "It's", "parameters": {}}}
    fast = {"model": "sandbox/echo", "sandbox": {"tokens_per_s": 0}}
    return {
        "words": {**fast, "message": MESSAGE},
        "tool": {**fast, "message": "x", "tools": [tool]},
        "picture": {**fast, "messages": [{"role": "user", "content": parts}]},
    }


async def test_every_copied_text_runs_and_sends_the_same_body(tmp_path: Path) -> None:
    """The model echoes what it was sent: it must be what the page would send."""
    env = {"SERVER_TOKENS": "a-token-of-the-caller"}
    async with running_server("--sandbox", env=env) as server, open_browser() as browser:
        async with visiting(browser, server.url, "/#token=a-token-of-the-caller") as visitor:
            codes = await visitor.page.evaluate(
                """async ([bodies, url]) => {
                    const {codeOf} = await import("/assets/x/panels/code.js");
                    const made = Object.entries(bodies).map(([name, body]) => [name, codeOf(body, url, true)]);
                    return Object.fromEntries(made);
                }""",
                [bodies(), f"{server.url}/"],
            )
        for name, body in bodies().items():
            for language in COMMANDS:
                assert "a-token-of-the-caller" not in codes[name][language]
                printed = await run_code(language, codes[name][language], tmp_path)
                joined = printed if language in ("curl", "Python") else printed.replace("\n", "")
                assert _echoed(joined, language) == _wanted(body, language), (name, language)


def _wanted(body: dict[str, object], language: str) -> object:
    message = body.get("message") or body["messages"][0]["content"]  # type: ignore[index]
    return _flat(message, language)


def _echoed(text: str, language: str) -> object:
    found = json.loads(text, strict=False)["messages"][-1]["content"]
    return _flat(found, language)


def _flat(value: object, language: str) -> object:
    """Without line ends where the code prints a line for each piece."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if language in ("curl", "Python") else text.replace("\n", "")


async def test_what_is_shown_is_what_was_sent(upstream: Sandbox, tmp_path: Path) -> None:
    async with running_server("--sandbox") as server, open_browser() as browser:
        async with visiting(browser, server.url) as visitor:
            await visitor.press("cite")
            await visitor.answered()
            shown = await visitor.text()
            await visitor.press("Copy as code")
            code = await visitor.page.locator("dialog pre").inner_text()
        assert await run_code("curl", code, tmp_path) == shown
