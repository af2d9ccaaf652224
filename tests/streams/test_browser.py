"""What the guide promises browsers, in a real one: EventSource reads on though the proxy dies, and then stops."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
from playwright.async_api import Browser

from client.sandbox import Pause, Reply, Sandbox
from client.sandbox.script import Step
from tests.support.browser import open_browser
from tests.support.chunks import END, STOP, text
from tests.support.process import running_server
from tests.support.proxies.mortal import mortal_proxy

GUIDE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<p id="plain"></p>
<script type="module">
%s
answer.id = "answer";
window.source = source;
window.plain = new EventSource(started.headers.get("Location"));  // one that nobody closes
const second = document.getElementById("plain");
plain.addEventListener("content", (event) => { second.textContent += JSON.parse(event.data).text; });
window.location_of_stream = started.headers.get("Location");
</script>"""


def documented_example() -> str:
    """The guide's example for browsers, as it stands there."""
    found = re.search(r"```js\n(const started = .*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


async def test_a_page_reads_the_whole_answer_though_the_proxy_dies_three_times(upstream: Sandbox) -> None:
    """Of a server under either loop at once: most of it is waiting, as browsers do before they ask again."""
    words: list[Step] = [step for number in range(200) for step in (text(f"Wört {number} "), Pause(0.03))]
    upstream.script_always(Reply.stream(*words, STOP, END))
    async with open_browser() as browser, asyncio.timeout(90):
        await asyncio.gather(
            *(_reads_through_three_deaths(browser, upstream, with_uvloop=each) for each in (True, False))
        )
    assert len(upstream.calls) == 2


async def _reads_through_three_deaths(browser: Browser, upstream: Sandbox, *, with_uvloop: bool) -> None:
    env = {"OPENROUTER_BASE_URL": upstream.base_url}
    async with (
        running_server(env=env, uvloop=with_uvloop) as server,
        mortal_proxy(server.port, PAGE % documented_example(), [3003, 5005, 7007]) as proxy,
    ):
        page = await browser.new_page()
        statuses: list[int] = []
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("response", lambda response: statuses.append(response.status))
        await page.goto(f"http://127.0.0.1:{proxy.port}/page.html")
        await page.wait_for_function(
            "window.source?.readyState === 2 && window.plain?.readyState === 2", timeout=60_000
        )
        location = await page.evaluate("location_of_stream")
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}{location}/result") as result:
            found = await result.json()
        assert (await page.text_content("#answer")) == found["content"]
        assert (await page.text_content("#plain")) == found["content"]
        assert [said for said in complaints if "net::ERR_" not in said] == []
        assert found["content"] == "".join(f"Wört {number} " for number in range(200))
        assert proxy.deaths == 3
        assert statuses[-1] == 204
        await server.wait_at_rest()


async def test_the_example_works_in_the_console_of_the_docs_page() -> None:
    """bare, section 4, point 6"""
    async with running_server("--sandbox") as server, open_browser() as browser, asyncio.timeout(60):
        page = await browser.new_page()
        await page.goto(f"{server.url}/docs")
        closed = 'await new Promise((resolve) => source.addEventListener("done", resolve));'
        shown = await page.evaluate(
            f"(async () => {{ {documented_example()} {closed} return answer.textContent; }})()"
        )
        assert shown == "You asked: Why is the sky blue?. Having thought about it, I agree."
