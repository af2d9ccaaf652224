"""Connections that are lost: by a proxy, by a button, by a reload, by a closed tab, by a server that dies.

Nothing is lost, nothing comes twice, and upstream is asked once.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from typing import Any

from playwright.async_api import expect

from client.sandbox import Hold, Pause, Reply, Sandbox
from client.sandbox.script import Step
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import END, STOP, text
from tests.support.page import Visitor, another, visiting
from tests.support.process import running_server
from tests.support.proxies.mortal import mortal_proxy

pytestmark = WITH_KEPT_BROWSER

WORDS = 120
WHOLE = "".join(f"wörd {number} " for number in range(WORDS)).strip()


def script(upstream: Sandbox, pause_s: float = 0.02, until: asyncio.Event | None = None) -> dict[str, str]:
    """An answer that takes a while, to the event at least; the environment of a server that asks for it."""
    steps: list[Step] = [step for number in range(WORDS) for step in (text(f"wörd {number} "), Pause(pause_s))]
    upstream.script(Reply.stream(*steps[:-20], *([Hold(until)] if until else []), *steps[-20:], STOP, END))
    return {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k"}


async def assert_whole(visitor: Visitor, upstream: Sandbox) -> None:
    await visitor.answered()
    assert (await visitor.text()).strip() == WHOLE
    assert len([call for call in upstream.calls if call.path.endswith("/completions")]) == 1


async def test_five_deaths_of_a_proxy(upstream: Sandbox) -> None:
    async with (
        running_server(env=script(upstream)) as server,
        mortal_proxy(server.port, "", [600, 1500, 2500, 900, 3001]) as proxy,
        open_browser() as browser,
        visiting(browser, f"http://127.0.0.1:{proxy.port}") as visitor,
    ):
        await visitor.send("Go")
        await assert_whole(visitor, upstream)
        assert proxy.deaths == 5
        proofs = await visitor.answer.locator(".proof").all_inner_texts()
        assert proofs
        for proof in proofs:
            assert re.search(r"cut at \d+, resumed after \d+\.\d s, 0 lost, 0 twice", proof)


async def test_the_button_cuts_and_proves(upstream: Sandbox) -> None:
    async with (
        running_server(env=script(upstream)) as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        await page.keyboard.press("Control+Shift+E")
        await visitor.send("Go")
        await expect(page.locator(".events li").nth(10)).to_be_visible()
        await visitor.press("✂ Cut the connection")
        await expect(page.get_by_text("Connection lost, trying again in")).to_be_visible()
        await page.get_by_role("button", name="now", exact=True).click()
        await expect(
            page.get_by_text(re.compile(r"Went on after event \d+, \d+ events were waiting"))
        ).to_be_visible()
        await assert_whole(visitor, upstream)
        mark = await page.locator(".events .mark").inner_text()
        found = re.fullmatch(r"✂ cut at (\d+), resumed after \d+\.\d s, 0 lost, 0 twice", mark)
        assert found is not None
        numbers = [int(each) for each in await page.locator(".events .n").all_inner_texts()]
        assert numbers == list(range(1, len(numbers) + 1))
        before = page.locator(".events > li.mark").locator("xpath=preceding-sibling::li[1]")
        assert await before.locator(".n").inner_text() == found[1]


async def test_a_browser_that_is_offline_five_times(upstream: Sandbox) -> None:
    async with (
        running_server(env=script(upstream, 0.05)) as server,
        mortal_proxy(server.port, "", []) as proxy,
        open_browser() as browser,
        visiting(browser, f"http://127.0.0.1:{proxy.port}") as visitor,
    ):
        page = visitor.page
        await visitor.send("Go")
        for cut in range(5):
            await expect(visitor.answer).to_contain_text(f"wörd {cut * 20} ")
            await page.context.set_offline(True)  # refuses new requests only: what is open dies with the proxy
            await proxy.kill()
            proxy.start()
            await expect(page.get_by_text("Connection lost, trying again in")).to_be_visible()
            await page.context.set_offline(False)  # the browser tells of it: nothing waits for its second
            await expect(page.get_by_text(re.compile("Went on after event"))).to_be_visible()
        await assert_whole(visitor, upstream)
        proofs = await visitor.answer.locator(".proof").all_inner_texts()
        assert len(proofs) == 5
        assert all("0 lost, 0 twice" in proof for proof in proofs)


async def test_a_page_that_the_system_froze_has_the_whole_answer_when_it_is_woken(upstream: Sandbox) -> None:
    """As phones do with pages out of sight: its process stands still, and the connection dies meanwhile."""
    async with (
        running_server(env=script(upstream, 0.005)) as server,
        mortal_proxy(server.port, "", [1500]) as proxy,
        open_browser() as browser,
        visiting(browser, f"http://127.0.0.1:{proxy.port}") as visitor,
    ):
        await visitor.send("Go")
        await expect(visitor.answer).to_contain_text("wörd 0")
        session = await browser.new_browser_cdp_session()
        found = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
        renderers = [each["id"] for each in found if each["type"] == "renderer"]
        for process in renderers:
            os.kill(process, signal.SIGSTOP)
        try:
            await server.wait_at_rest()  # the answer has ended without its reader
        finally:
            for process in renderers:
                os.kill(process, signal.SIGCONT)
        await assert_whole(visitor, upstream)


async def test_reloads_a_second_tab_and_a_tab_that_was_closed(upstream: Sandbox) -> None:
    chance = random.Random(7)
    all_read = asyncio.Event()
    async with (
        running_server(env=script(upstream, 0.05, all_read)) as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        await visitor.send("Go")
        await visitor.page.wait_for_timeout(30)  # before the first word, maybe
        for _ in range(10):
            await visitor.page.reload()
            await visitor.ready()
            await expect(visitor.page.get_by_role("button", name="Stop")).to_be_visible()
            await visitor.page.wait_for_timeout(chance.randrange(300))
        second = await another(visitor.page.context, server.url)
        await expect(second.page.get_by_role("button", name="Stop")).to_be_visible()
        await visitor.page.close()
        third = await another(visitor.page.context, server.url)
        all_read.set()
        await assert_whole(third, upstream)
        await assert_whole(second, upstream)
        second.assert_content()
        third.assert_content()


async def test_what_came_stays_when_the_server_is_killed_and_started_again(upstream: Sandbox) -> None:
    env = script(upstream, 0.2)
    async with open_browser() as browser:
        async with running_server(env=env) as server:
            port = server.port
            context: Any = await browser.new_context()
            visitor = await another(context, server.url)
            await visitor.send("Go")
            await expect(visitor.answer).to_contain_text("wörd 3")
            server.process.kill()
            await server.wait_exit()
        await expect(visitor.page.get_by_text("Connection lost, trying")).to_be_visible()
        async with running_server(env=env, port=port) as server:
            await visitor.answered()
            await expect(visitor.answer).to_contain_text("The server no longer has the rest")
            await expect(visitor.answer).to_contain_text("wörd 3")
            await visitor.page.reload()
            await visitor.ready()
            await expect(visitor.answer).to_contain_text("wörd 3")
            await expect(visitor.page.get_by_role("button", name="Ask again")).to_be_visible()
        await context.close()
        assert visitor.complaints == []


async def test_a_server_that_is_away_is_told_and_old_conversations_stay_readable(upstream: Sandbox) -> None:
    async with open_browser() as browser:
        async with running_server("--sandbox") as server:
            context: Any = await browser.new_context()
            visitor = await another(context, server.url)
            await visitor.press("cite")
            await visitor.answered()
        await visitor.send("Are you there?")
        await expect(visitor.page.locator("article.answer")).to_have_count(2)
        await visitor.answered()
        await expect(visitor.answer.get_by_role("alert")).to_contain_text("The server does not answer")
        await expect(visitor.page.locator("article.answer").first).to_contain_text("Two pages speak of")
        await context.close()
