"""Measures what a long answer costs the page: 100 kB of mixed Markdown at 400 events a second, in a real browser.

.venv/bin/python -m tests.support.page_cost

The longest task is wall time, which other programs lengthen; the most CPU of one task is the page's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from client.sandbox import Pause, Reply, open_sandbox
from client.sandbox.models.prose import MARKDOWN
from client.sandbox.script import Step
from tests.support.browser import open_browser
from tests.support.chunks import END, STOP, text
from tests.support.page import Visitor, visiting
from tests.support.process import running_server

LENGTH = 100_000
PIECE = 20
EVENTS_PER_S = 400
_WATCH = """() => {
    window.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({duration}) => duration)))
        .observe({type: "longtask"});
}"""
_ENDED = """() => new Promise((resolve) => {
    const look = () => document.querySelector("article.answer")?.getAttribute("aria-busy") === "false" && resolve();
    new MutationObserver(look).observe(document.getElementById("transcript"),
        {subtree: true, childList: true, attributes: true, attributeFilter: ["aria-busy"]});
    look();
})"""
"""In the page itself: whoever asks again and again whether something is there yet makes tasks of his own."""


async def main() -> None:
    """Measures once, and prints."""
    answer = (MARKDOWN * 60)[:LENGTH]
    pieces: list[Step] = [
        step for at in range(0, LENGTH, PIECE) for step in (text(answer[at : at + PIECE]), Pause(1 / EVENTS_PER_S))
    ]
    async with open_sandbox() as upstream, open_browser() as browser:
        upstream.script_always(Reply.stream(*pieces, STOP, END))
        env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k"}
        async with running_server(env=env) as server, visiting(browser, server.url) as visitor:
            tasks_ms = await _longest_tasks(visitor)
            most_cpu_ms = await _most_cpu(browser, visitor)
    longest = ", ".join(f"{each:.0f}" for each in sorted(tasks_ms, reverse=True)[:5]) or "none over 50"
    print(f"longest tasks: {longest} ms; most CPU of one: {most_cpu_ms:.0f} ms; load {os.getloadavg()[0]:.1f}")


async def _longest_tasks(visitor: Visitor) -> list[float]:
    await visitor.page.evaluate(_WATCH)
    await _ask(visitor)
    found: list[float] = await visitor.page.evaluate("tasks")
    return found


async def _most_cpu(browser: Browser, visitor: Visitor) -> float:
    """The same again, traced: that alone tells how long a task had a CPU."""
    await visitor.page.keyboard.press("Control+Shift+O")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        await browser.start_tracing(page=visitor.page, path=file, categories=["devtools.timeline", "toplevel"])
        await _ask(visitor)
        await browser.stop_tracing()
        events: list[dict[str, Any]] = json.loads(await asyncio.to_thread(file.read_text))["traceEvents"]
    main_threads = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        each.get("tdur", 0)
        for each in events
        if each["name"].endswith("RunTask") and (each["pid"], each["tid"]) in main_threads
    ]
    return float(max(tasks)) / 1000


async def _ask(visitor: Visitor) -> None:
    await visitor.send("Go")
    await visitor.page.evaluate(_ENDED)
    await visitor.page.wait_for_timeout(1000)  # the whole is read once more after the end


if __name__ == "__main__":
    asyncio.run(main())
