"""Reading and writing while an answer comes: the place that is read stays, and nothing that was written is lost."""

from __future__ import annotations

import asyncio

from playwright.async_api import expect

from client.sandbox import Hold, Mark, Pause, Reply, Sandbox
from client.sandbox.script import Step
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import END, STOP, chunk, text
from tests.support.page import visiting
from tests.support.serving import Api

pytestmark = WITH_KEPT_BROWSER

TOP = "document.getElementById('transcript').scrollTop"
LEFT = "(() => { const {scrollHeight, clientHeight, scrollTop} = document.getElementById('transcript'); return scrollHeight - clientHeight - scrollTop; })()"  # noqa: E501
LINES = [f"Line {number} of the answer.\n\n" for number in range(400)]


async def test_who_reads_above_stays_there_and_who_is_at_the_end_follows(api: Api, upstream: Sandbox) -> None:
    moments = [asyncio.Event() for _ in range(2)]
    holds = [Hold() for _ in range(2)]
    thoughts: list[Step] = [chunk({"reasoning": f"Thought {number}. \n\n"}) for number in range(60)]
    steps: list[Step] = [*thoughts, Mark(moments[0]), holds[0], *map(text, LINES[:200]), Mark(moments[1]), holds[1]]
    upstream.script(Reply.stream(*steps, *map(text, LINES[200:]), STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor, asyncio.timeout(60):
        page = visitor.page
        await visitor.send("Go")
        await expect(visitor.answer).to_contain_text("Thought 59")
        assert await page.evaluate(LEFT) < 2
        holds[0].until.set()
        await expect(visitor.answer).to_contain_text("Line 199")
        await page.wait_for_timeout(200)
        assert await page.evaluate(LEFT) < 2  # thinking has folded, and the end is still in view
        await page.mouse.move(500, 400)
        await page.mouse.wheel(0, -900)
        await expect(page.get_by_role("button", name="to the end")).to_be_visible()
        await page.wait_for_timeout(200)
        before = await page.evaluate(TOP)
        picked = "(() => { const node = document.querySelectorAll('.answer .body p, .answer .plain')[0]; getSelection().selectAllChildren(node); return getSelection().toString().slice(0, 20); })()"  # noqa: E501
        selected = await page.evaluate(picked)
        holds[1].until.set()
        await visitor.answered()
        assert await page.evaluate(TOP) == before
        assert (await page.evaluate("getSelection().toString()")).startswith(selected)
        await page.get_by_role("button", name="to the end").click()
        assert await page.evaluate(LEFT) < 2
        await expect(page.get_by_role("button", name="to the end")).to_be_hidden()


async def test_thinking_that_was_touched_stays_as_it_is(api: Api, upstream: Sandbox) -> None:
    hold = Hold()
    upstream.script(Reply.stream(chunk({"reasoning": "Hm. "}), hold, text("So."), STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        await visitor.send("Go")
        thinking = visitor.answer.locator("details.thinking")
        await expect(thinking).to_have_attribute("open", "")
        await thinking.locator("summary").click()
        await thinking.locator("summary").click()
        hold.until.set()
        await visitor.answered()
        await expect(thinking).to_have_attribute("open", "")


async def test_thinking_that_is_being_read_does_not_go_from_under_the_eyes(api: Api, upstream: Sandbox) -> None:
    hold = Hold()
    thoughts: list[Step] = [chunk({"reasoning": f"Thought {number}. \n\n"}) for number in range(90)]
    upstream.script(Reply.stream(*thoughts, hold, *map(text, LINES[:100]), STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        await visitor.send("Go")
        await expect(visitor.answer).to_contain_text("Thought 89")
        await page.mouse.move(500, 400)
        await page.mouse.wheel(0, -900)
        await expect(page.get_by_role("button", name="to the end")).to_be_visible()
        before = await page.evaluate(TOP)
        hold.until.set()
        await visitor.answered()
        await expect(visitor.answer.locator("details.thinking")).to_have_attribute("open", "")
        assert await page.evaluate(TOP) == before
        await page.get_by_role("button", name="to the end").click()
        await expect(page.locator("#message")).to_be_focused()


async def test_composing_does_not_send_and_drafts_are_not_lost(api: Api, upstream: Sandbox) -> None:
    hold = Hold()
    upstream.script(Reply.stream(text("So"), hold, STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        field = page.get_by_label("Message", exact=True).last
        await field.fill("にほん")
        for event in ({"isComposing": True, "keyCode": 13}, {"isComposing": False, "keyCode": 229}):
            await page.evaluate(
                """(more) => document.getElementById("message").dispatchEvent(
                    Object.defineProperty(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true, ...more}), "keyCode", {value: more.keyCode}))""",  # noqa: E501
                event,
            )
        await page.keyboard.press("Shift+Enter")
        assert not upstream.calls
        await expect(field).to_have_value("にほん\n")
        await page.reload()
        await visitor.ready()
        await expect(field).to_have_value("にほん\n")
        await page.keyboard.press("Control+k")
        await page.locator(".options li").first.click()
        await expect(field).to_have_value("にほん\n")
        await page.keyboard.press("Enter")
        await expect(visitor.answer).to_contain_text("So")
        await expect(field).to_have_value("")  # the server has taken it
        await field.fill("the next one")
        await page.keyboard.press("Enter")  # waits
        await page.wait_for_timeout(100)
        assert len(upstream.calls) == 1
        await page.reload()
        await visitor.ready()
        await expect(field).to_have_value("the next one")
        hold.until.set()
        await visitor.answered()
        await expect(field).to_have_value("the next one")


async def test_what_was_not_taken_by_the_server_stays_in_the_field(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.error(402, "No credits"))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        await visitor.send("dear words")
        await expect(visitor.answer.get_by_role("alert")).to_be_visible()
        await expect(visitor.page.get_by_label("Message", exact=True).last).to_have_value("dear words")


async def test_a_hidden_page_has_the_whole_text_when_it_is_looked_at(api: Api, upstream: Sandbox) -> None:
    steps: list[Step] = [step for line in LINES[:50] for step in (text(line), Pause(0.005))]
    upstream.script(Reply.stream(*steps, STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        await page.evaluate(
            """() => { window.frames_ = requestAnimationFrame;
                Object.defineProperty(document, "hidden", {get: () => window.isHidden ?? true, configurable: true});
                window.requestAnimationFrame = () => 0; }"""
        )
        await visitor.send("Go")
        await expect(visitor.answer).to_contain_text("Line 49")
        await visitor.answered()


async def test_ten_thousand_messages_open_at_once(api: Api) -> None:
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        await page.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("openrouter-sse-backend");
                opening.onsuccess = () => {
                    const writing = opening.result.transaction(["conversations", "messages"], "readwrite");
                    writing.objectStore("conversations").put({id: "many", title: "Many", createdMs: 1, updatedMs: 1, model: "", draft: "", options: {}});
                    const messages = writing.objectStore("messages");
                    for (let n = 1; n <= 10000; n++) messages.put({id: `m${n}`, conversation: "many", n, role: "user", text: `Message ${n}`});
                    writing.oncomplete = () => (opening.result.close(), resolve());
                };
            })"""  # noqa: E501
        )
        took_ms = await page.evaluate(
            """() => new Promise((resolve) => {
                const began = performance.now();
                new MutationObserver(() => document.body.textContent.includes("Message 10000") && resolve(performance.now() - began))
                    .observe(document.body, {childList: true, subtree: true});
                location.hash = "#c=many";
            })"""  # noqa: E501
        )
        print(f"10,000 messages were open after {took_ms:.0f} ms")
        await page.get_by_role("button", name="Show earlier messages").click()
        await expect(page.get_by_text("Message 9800", exact=True)).to_be_attached()
