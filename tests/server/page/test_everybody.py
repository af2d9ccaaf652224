"""For everybody: axe finds nothing in any state, the keyboard does everything, nothing is wider than the window."""

from __future__ import annotations

from typing import Any, Literal

from playwright.async_api import expect

from client.sandbox.models.picture import make_png
from tests.server.page.test_usage_view import month, told
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.page import Visitor, visiting
from tests.support.process import running_server

pytestmark = WITH_KEPT_BROWSER

SMALL = """[...document.querySelectorAll("button, select, summary, input:not([type=checkbox], [type=radio])")]
    .filter((each) => each.checkVisibility() && !each.closest(".events"))
    .map((each) => [each.textContent || each.id, each.getBoundingClientRect()])
    .filter(([, box]) => box.width && (box.height < 43.5 || box.width < 24))
    .map(([name, box]) => `${name} ${box.width} x ${box.height}`)"""
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")


async def check(visitor: Visitor, where: str) -> None:
    for scheme in SCHEMES:  # which differ in nothing but colours
        await visitor.page.emulate_media(color_scheme=scheme)
        assert await visitor.violations(of_colours=scheme == "dark") == [], f"{where}, {scheme}"
    await visitor.page.emulate_media(forced_colors="active")
    assert await visitor.violations() == [], f"{where}, forced colours"
    await visitor.page.emulate_media(forced_colors="none")
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
        await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
        await check(visitor, "settings")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+/")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await check(visitor, "keys")
        await page.keyboard.press("Escape")
        await visitor.press("Conversations")
        await check(visitor, "conversations")
        await visitor.press("Copy as code")
        await expect(page.get_by_role("dialog", name="The same request as code")).to_be_visible()
        await check(visitor, "code")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+Shift+E")
        await visitor.press("Try again")
        await visitor.answered()
        await check(visitor, "events")
        await page.locator("#today").click()
        await expect(page.locator(".tiles")).to_be_visible()
        await check(visitor, "usage")


async def test_axe_finds_nothing_in_what_is_rare() -> None:
    """A token that is asked for, what is lost or refused or wrong, notices, files, several answers, a month."""
    picture: Any = {"name": "sky.png", "mimeType": "image/png", "buffer": make_png(1)}
    async with running_server("--sandbox") as server, open_browser() as browser:
        async with visiting(browser, server.url) as visitor:
            page = visitor.page
            await visitor.press("long answer")
            await expect(visitor.answer).to_contain_text("1 2 3")
            await visitor.press("✂ Cut the connection")
            await expect(page.get_by_text("Connection lost, trying again in")).to_be_visible()
            await check(visitor, "lost")
            await expect(visitor.answer.locator(".proof")).to_be_visible()
            await page.keyboard.press("Escape")
            await visitor.answered()
            await visitor.press("Try again")
            await expect(visitor.answer).to_contain_text("1 2 3")
            await page.keyboard.press("Escape")
            await visitor.answered()
            await check(visitor, "two answers")
            await page.keyboard.press("Control+k")
            await page.keyboard.type("refuser")
            await expect(page.locator(".options li")).to_have_count(1)
            await page.keyboard.press("Enter")
            await visitor.send("Say it.")
            await expect(page.locator("article.answer")).to_have_count(2)
            await visitor.answered()
            await expect(visitor.answer.locator(".refusal")).to_be_visible()
            await check(visitor, "refused")
            await page.keyboard.press("Control+k")
            await page.keyboard.type("nothing is called this")
            await expect(page.get_by_text("0 models")).to_be_visible()
            await check(visitor, "no model")
            await page.keyboard.press("Escape")  # empties the field
            await page.keyboard.press("Escape")
            await visitor.press("Conversations")
            await visitor.press("Delete Count to two thousand.")
            await expect(page.get_by_role("button", name="Undo")).to_be_visible()
            await check(visitor, "a notice")
            await visitor.press("paint")
            await visitor.answered()
            await page.locator("#composer input[type=file]").set_input_files([picture])
            await expect(page.locator(".chip")).to_have_count(1)
            await check(visitor, "a file")
            await page.get_by_text("Parameters", exact=True).click()
            await page.get_by_label("Providers, in order").fill("a")
            await page.get_by_label("Anything else, a JSON object").fill('{"provider": {"order": ["b"]}}')
            await visitor.send("What is it?")
            await expect(visitor.answer.get_by_role("alert")).to_be_visible()
            await check(visitor, "a wrong field")
            await told(page, month())
            await page.goto(f"{server.url}/#usage")
            await expect(page.locator("svg.chart g.bar").first).to_be_visible()
            await check(visitor, "a month")
        env = {"SERVER_TOKENS": "a-token-of-the-caller"}
        async with running_server("--sandbox", env=env) as closed, visiting(browser, closed.url) as visitor:
            await expect(visitor.page.get_by_label("Token", exact=True)).to_be_visible()
            await check(visitor, "a token is asked for")


async def test_on_a_small_screen_nothing_scrolls_sideways() -> None:
    async with running_server("--sandbox") as server, open_browser() as browser:
        phone: dict[str, Any] = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
        zoomed: dict[str, Any] = {
            "viewport": {"width": 640, "height": 400},
            "device_scale_factor": 2,
        }  # 1280 by 800 at 200 %
        for size in (phone, zoomed):
            async with visiting(browser, server.url, **size) as visitor:
                page = visitor.page
                await check(visitor, "first screen")
                await visitor.press("format")
                await visitor.answered()
                await check(visitor, "formatted")
                for name in ("Events", "Conversations"):
                    await page.locator(f"#open-{'events' if name == 'Events' else 'list'}").click()
                    await expect(page.get_by_role("dialog", name=name)).to_be_visible()
                    await check(visitor, name)
                    assert size is zoomed or await page.evaluate(SMALL) == []
                    await page.keyboard.press("Escape")
                await page.get_by_text("Parameters", exact=True).click()
                await expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
                await page.locator("#open-models").click()
                await expect(page.get_by_role("combobox", name="Search models")).to_be_in_viewport(ratio=1)
                await expect(page.locator(".options li").first).to_be_visible()
                await check(visitor, "models")
                await page.keyboard.press("Escape")
                assert size is zoomed or await page.evaluate(SMALL) == []
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
        await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
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
