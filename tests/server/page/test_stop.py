"""Stop means stop: upstream is closed, the answer says so, and what it did cost is found out."""

from __future__ import annotations

import asyncio

from playwright.async_api import expect

from client.sandbox import Hold, Mark, Reply, Sandbox
from client.sandbox.script import Step
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import DONE, chunk, text
from tests.support.page import Visitor, another, visiting
from tests.support.process import running_server
from tests.support.serving import Api

pytestmark = WITH_KEPT_BROWSER


async def stopped(visitor: Visitor) -> None:
    await visitor.answered()
    await expect(visitor.answer.locator(".facts")).to_contain_text("stopped by you")
    await expect(visitor.page.get_by_role("button", name="Send")).to_be_visible()


async def test_stop_at_every_moment_closes_upstream(api: Api, upstream: Sandbox) -> None:
    asked = [asyncio.Event() for _ in range(4)]
    thinking: Step = chunk({"reasoning": "Hm."})
    upstream.script(
        Reply.stream(text("never")).after(Mark(asked[0]), Hold()),
        Reply.stream(Mark(asked[1]), Hold()),
        Reply.stream(thinking, Mark(asked[2]), Hold()),
        Reply.stream(text("So"), Mark(asked[3]), Hold()),
    )
    async with open_browser() as browser, visiting(browser, api.url) as visitor, asyncio.timeout(60):
        for number, moment in enumerate(asked):
            await visitor.send("Go")
            await moment.wait()
            if number == 3:
                await expect(visitor.answer).to_contain_text("So")
            await (visitor.page.keyboard.press("Escape") if number % 2 else visitor.press("Stop"))
            call = await upstream.wait_call()
            await call.closed.wait()
            assert call.cancelled
            await stopped(visitor)
        # after a reload, and from a second tab
        upstream.script(Reply.stream(text("One"), Hold()), Reply.stream(text("Two"), Hold()))
        await visitor.send("Go on")
        await expect(visitor.answer).to_contain_text("One")
        await visitor.page.reload()
        await visitor.ready()
        await visitor.press("Stop")
        await stopped(visitor)
        await visitor.send("Go on")
        await expect(visitor.answer).to_contain_text("Two")
        second = await another(visitor.page.context, api.url)
        await second.press("Stop")
        await stopped(second)
        await stopped(visitor)
        await api.streams.wait_idle()


async def test_what_a_stopped_answer_did_cost_settles() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        await visitor.press("long answer")
        await expect(visitor.answer).to_contain_text("1 2 3")
        await visitor.page.keyboard.press("Escape")
        await visitor.answered()
        await expect(visitor.answer.locator(".facts")).to_contain_text("USD")  # it was being looked up until now
        cost = (await visitor.result())["usage"]["total_cost"]
        await expect(visitor.answer.locator(".facts")).to_contain_text(f"{cost:.6f} USD")


async def test_an_answer_without_a_price_costs_something_unknown_and_not_nothing(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hello"), chunk({}, "stop", usage={"prompt_tokens": 3}), DONE))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        await visitor.send("Go")
        await visitor.answered()
        await expect(visitor.answer.locator(".facts")).to_contain_text("cost unknown")
