"""Who may call, and from where: tokens, plain HTTP, a path of a proxy, private windows, a browser that is full."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from playwright.async_api import expect

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import END, STOP, text
from tests.support.page import Visitor, visiting
from tests.support.process import running_server
from tests.support.serving import Api, serving, with_tokens

pytestmark = WITH_KEPT_BROWSER

TOKEN = "a-token-that-nobody-may-see"


async def assert_hidden(visitor: Visitor, *, in_storage: bool = False) -> None:
    """The token is nowhere that it could be read."""
    page = visitor.page
    assert TOKEN not in await page.content()
    stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert (TOKEN in json.loads(stored)[0].values()) == in_storage
    assert TOKEN not in page.url
    assert not any(TOKEN in url for url in visitor.urls)


async def test_a_token_is_asked_for_when_it_is_needed_and_nothing_is_lost(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hello"), STOP, END))
    async with serving(with_tokens(config, TOKEN)) as api, open_browser() as browser:
        async with visiting(browser, api.url) as visitor:
            page = visitor.page
            dialog = page.get_by_role("dialog", name="A token of this server")
            await expect(dialog).to_contain_text("Send a token of this server")
            await page.keyboard.press("Escape")
            await visitor.send("kept words")
            await dialog.get_by_label("Token", exact=True).fill("wrong")
            await page.keyboard.press("Enter")
            await expect(dialog.get_by_label("Token", exact=True)).to_have_value("")
            await dialog.get_by_label("Token", exact=True).fill(TOKEN)
            await page.keyboard.press("Enter")
            await expect(visitor.answer).to_contain_text("Hello")
            await visitor.answered()
            await expect(page.get_by_label("Message", exact=True).last).to_have_value("")
            await assert_hidden(visitor)
            await visitor.press("Copy as code")
            for language in ("curl", "Python", "JavaScript", "JavaScript, fetch alone"):
                await page.get_by_label("Language").select_option(language)
                code = await page.locator("dialog pre").inner_text()
                assert "SERVER_TOKEN" in code
                assert TOKEN not in code
            await page.keyboard.press("Escape")
            await visitor.press("Events")
            await visitor.press("Conversations")
            for button in ("Save", "Save kept words"):
                async with page.expect_download() as downloading:
                    await visitor.press(button)
                assert TOKEN not in (await asyncio.to_thread((await (await downloading.value).path()).read_text))
            await visitor.press("Close conversations")
            await page.get_by_role("button", name="Settings").click()
            await visitor.press("Forget it")
            await expect(page.get_by_text("No token is used")).to_be_visible()
        async with visiting(browser, api.url, f"/#token={TOKEN}") as visitor:
            await visitor.send("Hi")
            await visitor.answered()
            await expect(visitor.answer).to_contain_text("Hello")
            visitor.urls = [url for url in visitor.urls if "#token=" not in url]
            await assert_hidden(visitor)


async def test_a_token_may_be_kept_on_the_device(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hello"), STOP, END))
    async with (
        serving(with_tokens(config, TOKEN)) as api,
        open_browser() as browser,
        visiting(browser, api.url) as visitor,
    ):
        await visitor.page.get_by_label("Token", exact=True).fill(TOKEN)
        await visitor.page.get_by_label("Keep it on this device").check()
        await visitor.page.keyboard.press("Enter")
        await expect(visitor.page.locator("#today")).to_contain_text("today")
        await assert_hidden(visitor, in_storage=True)


async def test_on_plain_http_of_another_machine_everything_works(config: Config, upstream: Sandbox) -> None:
    """No secure context: no clipboard, no randomUUID, no locks."""
    cut = Hold()
    upstream.script_always(Reply.stream(text("Hello"), STOP, END))
    async with (
        serving(with_tokens(config, TOKEN)) as api,
        open_browser("--host-resolver-rules=MAP page.test 127.0.0.1") as browser,
        visiting(browser, f"http://page.test:{api.port}", f"/#token={TOKEN}") as visitor,
    ):
        page = visitor.page
        assert await page.evaluate("isSecureContext") is False
        await visitor.send("Hi")
        await visitor.answered()
        await page.evaluate("document.addEventListener('copy', () => { window.copied = getSelection().toString(); })")
        await visitor.press("Copy")
        await expect(page.get_by_role("status").filter(has_text="Answer copied")).to_be_attached()
        await visitor.press("Copy as code")
        await page.get_by_role("dialog").get_by_role("button", name="Copy").click()
        await expect(page.get_by_role("status").filter(has_text="curl copied")).to_be_attached()
        await page.keyboard.press("Escape")
        upstream.script(Reply.stream(text("One"), cut, text(" two"), Hold()))
        await visitor.send("Go on")
        await expect(visitor.answer).to_contain_text("One")
        await page.reload()
        await visitor.ready()
        await expect(visitor.answer).to_contain_text("One")
        cut.until.set()
        await expect(visitor.answer).to_contain_text("One two")
        await visitor.press("Stop")
        await visitor.answered()
        await expect(visitor.answer.locator(".facts")).to_contain_text("stopped by you")


@asynccontextmanager
async def below_a_path(target: str) -> AsyncIterator[str]:
    """A proxy that serves the server below /llm and says nothing of it."""
    import aiohttp

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "accept-encoding"}
        url = target + request.path_qs.removeprefix("/llm")
        async with http.request(request.method, url, headers=headers, data=await request.read()) as reply:
            kept = {
                name: value
                for name, value in reply.headers.items()
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "content-encoding")
            }
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            async for piece in reply.content.iter_any():
                await response.write(piece)
            return response

    app = web.Application()
    app.router.add_route("*", "/llm/{path:.*}", forward)
    runner = web.AppRunner(app)
    async with aiohttp.ClientSession() as http:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def test_below_a_path_of_a_proxy_it_asks_for_nothing_outside_it(api: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hello"), STOP, END))
    async with (
        below_a_path(api.url) as url,
        open_browser() as browser,
        visiting(browser, url, "/llm/") as visitor,
    ):
        await visitor.send("Hi")
        await visitor.answered()
        await expect(visitor.answer).to_contain_text("Hello")
        await visitor.page.keyboard.press("Control+k")
        await expect(visitor.page.locator(".options li").first).to_be_visible()
        await visitor.page.keyboard.press("Escape")
        await visitor.page.reload()
        await visitor.ready()
        await expect(visitor.answer).to_contain_text("Hello")
        assert [asked for asked in visitor.urls if not asked.startswith((f"{url}/llm/", "blob:"))] == []


async def test_a_private_window_works_and_says_that_it_keeps_nothing() -> None:
    async with running_server("--sandbox") as server, open_browser() as browser:
        context = await browser.new_context()
        await context.add_init_script("Object.defineProperty(window, 'indexedDB', {get: () => undefined})")
        visitor = Visitor(await context.new_page(), server.url)
        await visitor.open()
        await expect(visitor.page.get_by_text("keeps nothing here (a private window?)")).to_be_visible()
        await visitor.press("cite")
        await visitor.answered()
        await expect(visitor.answer).to_contain_text("Two pages speak of")
        visitor.assert_content()
        await context.close()


async def test_a_browser_that_keeps_no_more_is_told_of_and_nothing_is_deleted() -> None:
    async with running_server("--sandbox") as server, open_browser() as browser:
        context = await browser.new_context()
        visitor = Visitor(await context.new_page(), server.url)
        await visitor.open()
        await visitor.press("cite")
        await visitor.answered()
        await visitor.page.evaluate(
            """() => {
                IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };
            }"""
        )
        await visitor.send("And again?")
        await visitor.answered()
        await expect(visitor.page.get_by_text("refuses to keep more (QuotaExceededError)")).to_be_visible()
        await expect(visitor.page.locator("article.answer")).to_have_count(2)
        await visitor.page.reload()
        await visitor.ready()
        await expect(visitor.page.locator("article.answer")).to_have_count(1)
        visitor.assert_content()
        await context.close()
