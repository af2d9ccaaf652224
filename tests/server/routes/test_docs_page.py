"""`/docs` in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Page, Route, expect

from client.streams.wire import EVENT_NAMES
from server.config import Config
from server.routes.api_docs import described_routes
from tests.support.browser import open_browser
from tests.support.serving import Api, serving, with_tokens


class Seen:
    """What a page asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Page, Seen]]:
    async with open_browser() as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        seen = Seen(page)
        await page.goto(url)
        yield page, seen


async def test_the_page_shows_every_route_and_event_and_asks_nobody_else(api: Api) -> None:
    async with opened(f"{api.url}/docs") as (page, seen):
        await expect(page.locator("main[aria-busy=false]")).to_be_visible()
        titles = await page.locator("article h3").all_inner_texts()
        shown = {title.replace("\n", "").lower() for title in titles}
        assert {f"{method}{path}" for method, path in described_routes(api.app)} <= shown
        menu = await page.locator("nav a").all_inner_texts()
        assert len(menu) == len(described_routes(api.app)) + 2
        for name in EVENT_NAMES:
            await expect(page.locator(f"#events a[href='schemas/events/{name}']")).to_be_visible()
        await expect(page.get_by_text(f"curl -N '{api.url}/chat'").first).to_be_visible()
        await expect(page.locator("#post-chat summary", has_text="402")).to_be_visible()
        await expect(page.locator("#post-chat").get_by_role("cell", name="disable_reasoning")).to_have_count(2)
        assert "[object" not in await page.locator("body").inner_text()
    assert seen.complaints == []
    assert seen.urls == [f"{api.url}/docs", f"{api.url}/openapi.json"]


async def test_links_within_the_page_lead_somewhere_and_it_is_never_wider_than_its_window(api: Api) -> None:
    async with opened(f"{api.url}/docs") as (page, _):
        await expect(page.locator("main[aria-busy=false]")).to_be_visible()
        dead = await page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash.slice(1))"
            ".filter((id) => !document.getElementById(id))"
        )
        twice = await page.evaluate(
            "[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
        )
        assert dead == []
        assert twice == []
        await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        for width in (1280, 320):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_the_page_may_run_nothing_but_its_own(api: Api) -> None:
    async with opened(f"{api.url}/docs") as (page, seen):
        await expect(page.locator("main[aria-busy=false]")).to_be_visible()
        refused = await page.evaluate(
            "fetch('http://127.0.0.2:9/').then(() => 'asked', () => 'refused').finally(() => {"
            "  const script = document.createElement('script'); script.textContent = 'window.ran = true';"
            "  document.body.append(script); })"
        )
        assert refused == "refused"
        assert await page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)


async def test_where_tokens_are_set_the_page_asks_for_one(config: Config) -> None:
    async with (
        serving(with_tokens(config, "let-me-in")) as api,
        opened(f"{api.url}/docs") as (page, _),
    ):
        await page.get_by_label("Send a token of this server").fill("wrong")
        await page.get_by_role("button", name="Show").click()
        await page.get_by_label("Send a token of this server").fill("let-me-in")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("#post-chat")).to_be_visible()
        await expect(page.get_by_text('-H "Authorization: Bearer $TOKEN"').first).to_be_visible()
        assert "let-me-in" not in await page.content()


async def test_while_a_token_is_tried_no_other_can_be_typed_and_lost(config: Config) -> None:
    async with (
        serving(with_tokens(config, "let-me-in")) as api,
        opened(f"{api.url}/docs") as (page, _),
    ):
        tried, refused = asyncio.Event(), asyncio.Event()

        async def late(route: Route) -> None:
            tried.set()
            await refused.wait()
            await route.continue_()

        field = page.get_by_label("Send a token of this server")
        await field.fill("wrong")
        await page.route("**/openapi.json", late, times=1)
        await page.get_by_role("button", name="Show").click()
        await asyncio.wait_for(tried.wait(), 30)
        await expect(field).to_be_disabled()
        await expect(page.get_by_role("button", name="Show")).to_be_disabled()
        refused.set()
        await expect(field).to_be_enabled()
        await expect(field).to_be_focused()
        await expect(field).to_have_value("")
