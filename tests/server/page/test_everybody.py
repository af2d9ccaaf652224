"""For everybody: axe finds nothing in any state, the keyboard does everything, nothing is wider than the window."""

from __future__ import annotations

from typing import Literal

from playwright.async_api import expect

from tests.support.browser import open_browser
from tests.support.page import Visitor, visiting
from tests.support.process import running_server

WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")


async def check(visitor: Visitor, where: str) -> None:
    for scheme in SCHEMES:
        await visitor.page.emulate_media(color_scheme=scheme)
        assert await visitor.violations() == [], f"{where}, {scheme}"
    assert await visitor.page.evaluate(WIDER) is False, where


async def test_axe_finds_nothing_in_any_state_light_and_dark() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        await check(visitor, "first screen")
        await visitor.press("think aloud")
        await expect(page.locator("details.thinking[open]")).to_be_visible()
        await check(visitor, "thinking")
        for name in ("format", "call a tool", "cite", "paint", "no credits", "hang up"):
            await page.keyboard.press("Control+Shift+O")
            await visitor.press(name)
            await visitor.answered()
            await check(visitor, name)
        for details in await page.locator(".folds details").all():
            await details.locator("summary").click()
            await check(visitor, "options")
        await page.keyboard.press("Control+k")
        await expect(page.locator(".options li").first).to_be_visible()
        await visitor.press("About this model")
        await expect(page.locator(".about table")).to_be_visible()
        await check(visitor, "models")
        await page.keyboard.press("Escape")
        await visitor.press("Settings")
        await check(visitor, "settings")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+/")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await check(visitor, "keys")
        await page.keyboard.press("Escape")
        await visitor.press("Conversations")
        await check(visitor, "conversations")
        await visitor.press("Copy as code")
        await check(visitor, "code")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+Shift+E")
        await visitor.press("Try again")
        await visitor.answered()
        await check(visitor, "events")
        await page.locator("#today").click()
        await expect(page.locator(".tiles")).to_be_visible()
        await check(visitor, "usage")


async def test_on_a_small_screen_nothing_scrolls_sideways() -> None:
    async with running_server("--sandbox") as server, open_browser() as browser:
        for size in ({"width": 320, "height": 640},):
            async with visiting(browser, server.url, viewport=size, has_touch=True, is_mobile=True) as visitor:
                page = visitor.page
                await check(visitor, "first screen")
                await visitor.press("format")
                await visitor.answered()
                await check(visitor, "formatted")
                for name in ("Events", "Conversations"):
                    await page.locator(f"#open-{'events' if name == 'Events' else 'list'}").click()
                    await expect(page.get_by_role("dialog", name=name)).to_be_visible()
                    await check(visitor, name)
                    await page.keyboard.press("Escape")
                await page.locator("#open-models").click()
                await expect(page.locator(".options li").first).to_be_visible()
                await check(visitor, "models")
                await page.keyboard.press("Escape")
                small = await page.evaluate(
                    """[...document.querySelectorAll("button, select, input:not([type=checkbox])")]
                        .filter((each) => each.checkVisibility() && !each.hidden)
                        .map((each) => [each.textContent || each.id, each.getBoundingClientRect()])
                        .filter(([, box]) => box.width && (box.height < 43.5 || box.width < 24))
                        .map(([name]) => name)"""
                )
                assert small == []
                await page.goto(f"{server.url}/#usage")
                await expect(page.locator(".tiles")).to_be_visible()
                await check(visitor, "usage")


async def test_the_focus_is_never_lost() -> None:
    """What has it may go or be made anew: then the same that is there now has it, or the message."""
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        keyboard = page.keyboard
        message = page.locator("#message")

        async def at(name: str) -> None:
            await expect(page.get_by_role("button", name=name, exact=True).last).to_be_focused()

        await visitor.press("Settings")
        await keyboard.press("Escape")
        await at("Settings")
        await visitor.press("cite")
        await visitor.answered()
        await expect(message).to_be_focused()
        await page.get_by_role("button", name="Try again").focus()
        await keyboard.press("Enter")
        await expect(message).to_be_focused()
        await visitor.answered()
        await page.get_by_role("button", name="Copy as code").focus()
        await keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await keyboard.press("Escape")
        await at("Copy as code")
        await keyboard.press("Control+Shift+O")
        await visitor.press("break in the middle")
        await visitor.answered()
        await page.get_by_role("button", name="Cancel", exact=True).focus()
        await expect(page.get_by_text("Trying again in 3 s")).to_be_visible()  # a second has gone, and another
        await at("Cancel")
        await keyboard.press("Enter")
        await expect(visitor.answer.get_by_role("alert").get_by_role("button", name="Try again")).to_be_focused()
        await visitor.press("Conversations")
        await expect(page.locator("#list li")).to_have_count(2)
        await page.locator("#list li").last.get_by_role("button", name="Delete").focus()
        await keyboard.press("Enter")
        await expect(page.locator("#list li")).to_have_count(1)
        await expect(page.locator("#list li button").last).to_be_focused()
        await page.get_by_role("button", name="Close conversations").focus()
        await keyboard.press("Enter")
        await at("Conversations")
        await keyboard.press("Control+Shift+O")
        await visitor.press("long answer")
        await expect(visitor.answer).to_contain_text("1 2 3")
        await page.get_by_role("button", name="Stop", exact=True).focus()
        await keyboard.press("Enter")
        await visitor.answered()
        await at("Send")


async def test_the_keyboard_alone_does_everything() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        keyboard = page.keyboard
        assert await page.evaluate("document.activeElement.id") == "message"
        await keyboard.press("Control+k")
        await expect(page.get_by_role("combobox", name="Search models")).to_be_focused()
        await keyboard.type("long")
        await expect(page.locator(".options li[aria-selected=true]")).to_contain_text("Long")
        await keyboard.press("Enter")
        await expect(page.locator("#model-name")).to_have_text("sandbox/long")
        assert await page.evaluate("document.activeElement.id") == "message"
        await keyboard.press("Control+k")
        await expect(page.locator(".options li[aria-selected=true]")).to_contain_text("Long")
        await keyboard.press("ArrowDown")
        await keyboard.press("Control+Home")
        await expect(page.locator(".options li[aria-selected=true]")).to_contain_text("Echo")
        await keyboard.press("Escape")
        await expect(page.locator("#message")).to_be_focused()
        await expect(page.locator("dialog:modal")).to_have_count(0)
        await keyboard.type("Count")
        await keyboard.press("Enter")
        await expect(visitor.answer).to_contain_text("1 2 3")
        assert await page.evaluate("document.activeElement.id") == "message"
        await keyboard.press("Escape")
        await visitor.answered()
        for _ in range(40):
            await keyboard.press("Shift+Tab")
            if await page.evaluate("document.activeElement.textContent") == "Try again":
                break
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        await keyboard.press("Enter")
        await expect(visitor.answer).to_have_attribute("aria-busy", "true")
        await keyboard.press("Escape")
        await visitor.answered()
        await keyboard.press("Control+Shift+O")
        await expect(page.get_by_role("button", name="think aloud")).to_be_visible()
