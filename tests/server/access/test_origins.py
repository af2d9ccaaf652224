"""Pages of other origins, in a real browser: what it lets them do with a server on the user's own machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.support.browser import open_browser
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, serving, with_tokens

ASK = """([url, headers]) => fetch(url + "/chat", {
    method: "POST",
    headers: {"Content-Type": "application/json", ...headers},
    body: JSON.stringify({message: "hi", model: "acme/m"}),
}).then(async (answer) => [answer.status, await answer.text(), answer.headers.get("X-Stream-Id")],
        (error) => error.name)"""
ASK_BLINDLY = """(url) => fetch(url + "/chat", {
    method: "POST",
    mode: "no-cors",
    headers: {"Content-Type": "text/plain"},
    body: JSON.stringify({message: "hi", model: "acme/m"}),
}).then((answer) => answer.type)"""
ASK_BY_FORM = """(url) => {
    const form = document.createElement("form");
    form.method = "POST";
    form.enctype = "text/plain";
    form.action = url + "/chat";
    form.innerHTML = `<input name='{"message": "hi", "x": "' value='"}'>`;
    document.body.append(form);
    form.submit();
}"""
LISTEN = """(url) => new Promise((resolve) => {
    const source = new EventSource(url);
    source.onerror = () => resolve("closed " + source.readyState);
    source.addEventListener("done", () => { source.close(); resolve("done"); });
})"""
STOP_IT = """([url, id]) => fetch(`${url}/chat/${id}`, {method: "DELETE"})
    .then((answer) => answer.status, (error) => error.name)"""


@asynccontextmanager
async def page_of_another_origin(browser: Browser) -> AsyncIterator[tuple[Page, str]]:
    """A page of a server on another port, which is another origin, and that origin."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        page = await browser.new_page()
        await page.goto(origin)
        yield page, origin
    finally:
        await runner.cleanup()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser for which `rebound.example` is this machine."""
    async with open_browser("--host-resolver-rules=MAP rebound.example 127.0.0.1") as browser:
        yield browser


async def test_a_page_of_another_origin_can_ask_nothing_and_read_nothing(
    browser: Browser, api: Api, upstream: Sandbox
) -> None:
    async with page_of_another_origin(browser) as (page, _):
        assert await page.evaluate(ASK, [api.url, {}]) == "TypeError"
        assert await page.evaluate(ASK_BLINDLY, api.url) == "opaque"
        assert await page.evaluate(LISTEN, f"{api.url}/chat/any") == "closed 2"
        assert await page.evaluate(STOP_IT, [api.url, "any"]) == "TypeError"
        async with page.expect_navigation():
            await page.evaluate(ASK_BY_FORM, api.url)
        assert '"type":"forbidden"' in await page.content()
    assert not upstream.requests


async def test_a_listed_page_can_ask_read_and_stop_with_a_token_or_without(
    browser: Browser, config: Config, upstream: Sandbox
) -> None:
    async with page_of_another_origin(browser) as (page, origin):
        listed = changed(config, "server", cors_origins=(origin,))
        for settings, headers in ((listed, {}), (with_tokens(listed, "right"), {"Authorization": "Bearer right"})):
            upstream.script(Reply.stream(text("hello"), STOP, END))
            async with serving(settings) as api:
                status, body, stream_id = await page.evaluate(ASK, [api.url, headers])
                assert status == 200
                assert '{"text":"hello"}' in body
                assert stream_id
                if headers:
                    assert (await page.evaluate(ASK, [api.url, {"Authorization": "Bearer wrong"}]))[0] == 401
                else:
                    assert await page.evaluate(LISTEN, f"{api.url}/chat/{stream_id}") == "done"
                    assert await page.evaluate(STOP_IT, [api.url, stream_id]) == 200


async def test_a_name_that_leads_to_this_machine_is_no_way_in(browser: Browser, api: Api, upstream: Sandbox) -> None:
    """DNS rebinding: for the browser the page and the server are one origin, so nothing but the `Host` tells."""
    page = await browser.new_page()
    own = f"http://rebound.example:{api.port}"
    await page.goto(f"{own}/docs")
    status, body, _ = await page.evaluate(ASK, [own, {}])
    assert status == 403
    assert "is not this machine's" in body
    status, body = await page.evaluate(
        "fetch('/models').then(async (answer) => [answer.status, await answer.text()])"
    )
    assert status == 403
    assert not upstream.requests
