"""What a browser has kept: of an older page, of a newer one, of another server at the same address."""

from __future__ import annotations

from typing import Any

from playwright.async_api import BrowserContext, expect

from client.sandbox import Reply, Sandbox
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import END, STOP, text
from tests.support.page import another, visiting
from tests.support.process import running_server
from tests.support.serving import Api

pytestmark = WITH_KEPT_BROWSER

WRITE = """([version, conversations, messages]) => new Promise((resolve, reject) => {
    const opening = indexedDB.open("openrouter-sse-backend", version);
    opening.onupgradeneeded = () => {
        const names = opening.result.objectStoreNames;
        if (!names.contains("conversations")) opening.result.createObjectStore("conversations", {keyPath: "id"});
        if (!names.contains("messages"))
            opening.result.createObjectStore("messages", {keyPath: "id"}).createIndex("conversation", "conversation");
    };
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error("blocked"));
    opening.onsuccess = () => {
        const writing = opening.result.transaction(["conversations", "messages"], "readwrite");
        for (const each of conversations) writing.objectStore("conversations").put(each);
        for (const each of messages) writing.objectStore("messages").put(each);
        writing.oncomplete = () => (opening.result.close(), resolve());
    };
})"""
READ = """() => new Promise((resolve, reject) => {
    const opening = indexedDB.open("openrouter-sse-backend");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
        const all = opening.result.transaction("messages").objectStore("messages").getAll();
        all.onsuccess = () => (resolve([opening.result.version, all.result.length]), opening.result.close());
    };
})"""
OLD_ANSWER = {"key": "k" * 32, "model": "sandbox/echo", "content": "An **old** answer", "state": "ended"}
OLD = [
    [{"id": "old", "title": "Old", "updatedMs": 1}],
    [
        {"id": "1", "conversation": "old", "n": 1, "role": "user", "text": "An old question"},
        {"id": "2", "conversation": "old", "n": 2, "role": "assistant", "version": 0, "versions": [OLD_ANSWER]},
    ],
]


async def written(context: BrowserContext, url: str, version: int, *stores: Any) -> None:
    """Puts records where the page keeps them, from a page of the server that is not it."""
    page = await context.new_page()
    await page.goto(f"{url}/health")
    await page.evaluate(WRITE, [version, *stores])
    await page.close()


async def test_what_an_older_page_kept_is_read_and_gone_on_with(api: Api, upstream: Sandbox) -> None:
    """With the fields only that an answer cannot do without."""
    upstream.script(Reply.stream(text("A new one"), STOP, END))
    async with open_browser() as browser:
        context = await browser.new_context()
        await written(context, api.url, 1, *OLD)
        visitor = await another(context, api.url, "/#c=old")
        await expect(visitor.answer).to_contain_text("An old answer")
        await visitor.send("And now?")
        await expect(visitor.page.locator("article.answer")).to_have_count(2)
        await visitor.answered()
        await expect(visitor.answer).to_contain_text("A new one")
        sent = upstream.calls[-1].json["messages"]
        assert [each["content"] for each in sent] == ["An old question", "An **old** answer", "And now?"]
        assert await visitor.page.evaluate(READ) == [1, 4]
        visitor.assert_content()
        await context.close()


async def test_what_a_newer_page_kept_is_left_alone_and_that_is_said(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    async with open_browser() as browser:
        context = await browser.new_context()
        older = await another(context, api.url)  # open all the time, and in nobody's way
        await written(context, api.url, 2, *OLD)
        visitor = await another(context, api.url)
        await expect(visitor.page.get_by_text("kept here by a newer version of this page")).to_be_visible()
        await visitor.send("Hi")
        await visitor.answered()
        await expect(visitor.answer).to_contain_text("Hello")
        assert await visitor.page.evaluate(READ) == [2, 2]
        visitor.assert_content()
        await older.page.close()
        await context.close()


async def test_the_model_is_one_that_this_server_has(upstream: Sandbox) -> None:
    """First the sandbox, then a real key, at the same address: as the README has it."""
    async with open_browser() as browser:
        context = await browser.new_context()
        async with running_server("--sandbox") as server:
            port = server.port
            visitor = await another(context, server.url)
            await visitor.press("cite")
            await visitor.answered()
            await visitor.page.close()
        env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "MODEL_NAME": "acme/own"}
        async with running_server(env=env, port=port) as server:
            visitor = await another(context, server.url)
            await expect(visitor.page.locator("#model-name")).to_have_text("acme/own")
            await expect(visitor.answer).to_contain_text("Two pages speak of")
            await visitor.page.close()
        async with running_server("--sandbox", port=port) as server:
            visitor = await another(context, server.url)
            await expect(visitor.page.locator("#model-name")).to_have_text("sandbox/search")
        await context.close()


async def test_files_that_the_server_would_refuse_are_not_sent() -> None:
    picture: Any = {"name": "a.png", "mimeType": "image/png", "buffer": bytes(20_000)}
    async with (
        running_server("--sandbox", env={"MAX_BODY_BYTES": "40000"}) as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        files = page.locator("#composer input[type=file]")
        await visitor.press("paint")
        await visitor.answered()
        await expect(page.get_by_role("button", name="Attach files")).to_be_visible()
        await files.set_input_files([picture, {**picture, "name": "b.png"}])
        await expect(page.get_by_text("would be 52.1 kB as they are sent; the server takes 39.1 kB")).to_be_visible()
        await expect(page.locator(".chip")).to_have_count(1)
        await visitor.send("What is it?")
        await expect(page.locator("article.answer")).to_have_count(2)
        await visitor.answered()
        await files.set_input_files([picture])
        await expect(page.get_by_text("The files of this conversation, which are sent with")).to_be_visible()
        await expect(page.locator(".chip")).to_have_count(0)
