"""What somebody sees who opens the printed address: one button, one answer; and every model of the sandbox."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.page import visiting
from tests.support.process import running_server

pytestmark = WITH_KEPT_BROWSER

WHOLE = {
    "think aloud": "reasoner",
    "format": "markdown",
    "cite": "search",
    "paint": "painter",
    "call a tool": "tools",
}
ENDS = {
    "no credits": ("insufficient_credits", "Pick a free model"),
    "break in the middle": ("upstream_unavailable", "Cancel"),
    "hang up": ("stream_interrupted", "Continue"),
}


async def test_a_stranger_sees_an_answer_stream_after_one_press() -> None:
    async with running_server("--sandbox") as server, open_browser() as browser:
        address = re.findall(r"http://localhost:\d+/", server.start_line)[0]
        assert "open it in a browser" in server.start_line
        async with visiting(browser, address.rstrip("/")) as visitor:
            page = visitor.page
            said = await page.evaluate_handle(
                """() => {
                    const said = [], status = document.getElementById("status");
                    new MutationObserver(() => said.push(status.textContent))
                        .observe(status, {childList: true, characterData: true, subtree: true});
                    return said;
                }"""
            )
            await expect(page.get_by_text("nothing here costs money")).to_be_visible()
            await expect(page.locator("#model-name")).to_have_text("sandbox/reasoner")
            await visitor.press("think aloud")
            await expect(page.locator("details.thinking[open]")).to_be_visible()
            await expect(visitor.answer.locator(".body").last).to_contain_text("You asked")
            await expect(page.locator("details.thinking:not([open])")).to_be_visible()
            await visitor.answered()
            assert await page.evaluate("document.activeElement.id") == "message"
            words = len((await visitor.result())["content"].split())
            assert await said.json_value() == ["answer begins", f"answer complete, {words} words"]
            await expect(page.locator("#today")).to_have_text(re.compile(r"today 0\.000\d+ USD"))


async def test_a_cold_load_asks_for_little_and_for_what_formats_only_beside_it() -> None:
    """Bytes and requests as the browser counts them, until the page can be used."""
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        loaded: list[tuple[str, int]] = await visitor.page.evaluate(
            """performance.getEntries().filter((each) => "encodedBodySize" in each)
                .map((each) => [each.name, each.encodedBodySize])"""
        )
        first = [(url, size) for url, size in loaded if "/vendor/" not in url and "/render/" not in url]
        size_bytes = sum(size for _, size in first)
        print(f"{len(first)} requests, {size_bytes} bytes")
        assert len(first) <= 20
        assert 0 < size_bytes <= 60_000
        assert not any("maths" in url for url, _ in loaded)


async def test_what_is_on_the_screen_is_what_the_server_has() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        for name, model in WHOLE.items():
            await visitor.press(name)
            await visitor.answered()
            result = await visitor.result()
            await expect(visitor.answer.locator(".who")).to_have_text(f"sandbox/{model}-20260101")
            content = result["content"] or ""
            if model != "markdown":  # of which the page leaves signs out
                shown = (await visitor.text()).strip()
                assert shown == content.strip()
            if result["reasoning"]:
                await visitor.answer.locator("summary").click()
                assert (await visitor.answer.locator(".thinking .body").inner_text()).split() == result[
                    "reasoning"
                ].split()
            assert len(await visitor.answer.locator(".sources li").all()) == len(result["annotations"] or [])
            assert len(await visitor.answer.locator(".images img").all()) == len(result["images"] or [])
            cost = result["usage"]["total_cost"]
            await expect(visitor.answer.locator(".facts")).to_contain_text(f"{cost:.6f} USD")
            await page.keyboard.press("Control+Shift+O")
            await expect(page.get_by_role("button", name="think aloud")).to_be_visible()
        for name, (kind, way) in ENDS.items():
            await visitor.press(name)
            await visitor.answered()
            error = visitor.answer.get_by_role("alert")
            await expect(error).to_contain_text(kind)
            await expect(error).to_contain_text((await visitor.result()).get("error", {}).get("error", "credit"))
            await expect(error.get_by_role("button", name=way)).to_be_visible()
            if kind != "insufficient_credits":
                assert (await visitor.text()).strip() == "1 2 3 4 5 6 7 8"
            await page.keyboard.press("Control+Shift+O")


async def test_the_long_answer_is_whole_and_the_one_that_stalls_can_be_stopped() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        await visitor.page.get_by_text("Parameters", exact=True).click()
        await visitor.page.get_by_label("Anything else, a JSON object").fill('{"sandbox": {"tokens_per_s": 0}}')
        await visitor.press("long answer")
        await visitor.answered()
        assert await visitor.text() == (await visitor.result())["content"]
        assert (await visitor.text()).split() == [str(number) for number in range(1, 2001)]
        await visitor.page.keyboard.press("Control+Shift+O")
        await visitor.press("stall")
        await expect(visitor.answer).to_contain_text("8")
        await visitor.page.keyboard.press("Escape")
        await visitor.answered()
        result = await visitor.result()
        assert (await visitor.text(), result["finish_reason"]) == (result["content"], "cancelled")


async def test_the_person_plays_the_tool() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        await visitor.press("call a tool")
        await visitor.answered()
        await visitor.answer.get_by_label("You are the tool").fill('{"celsius": 21}')
        await visitor.press("Send result")
        await expect(visitor.page.locator("article.answer")).to_have_count(2)
        await visitor.answered()
        assert await visitor.text() == 'get_weather answered: {"celsius": 21}'


async def test_try_again_keeps_the_old_answer_and_edit_brings_the_question_back() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        await visitor.press("think aloud")
        await visitor.answered()
        await visitor.press("Try again")
        await expect(visitor.answer).to_have_attribute("aria-busy", "true")
        await visitor.answered()
        await expect(visitor.answer.locator(".versions")).to_contain_text("2 / 2")
        await visitor.press("Earlier answer")
        await expect(visitor.answer.locator(".versions")).to_contain_text("1 / 2")
        await page.reload()
        await visitor.ready()
        await expect(visitor.answer.locator(".versions")).to_contain_text("1 / 2")
        await visitor.press("Edit")
        await expect(page.get_by_label("Message", exact=True).last).to_have_value("Why is the sky blue?")
        await expect(page.locator("article")).to_have_count(0)


async def test_what_is_wrong_with_a_field_is_told_beside_it() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        await page.get_by_text("Parameters", exact=True).click()
        await page.get_by_label("Providers, in order").fill("a")
        await page.get_by_label("Anything else, a JSON object").fill('{"provider": {"order": ["b"]}}')
        await visitor.send("Go")
        await visitor.answered()
        await expect(visitor.answer.get_by_role("alert")).to_contain_text("invalid_request")
        field = page.get_by_label("Providers, in order")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(page.locator(".told")).to_contain_text("provider.order")
        await expect(page.get_by_label("Message", exact=True).last).to_have_value("Go")
        await field.fill("")
        await expect(page.locator(".told")).to_have_count(0)
