"""Somebody who looks at the page in a real browser, and notes whatever it complains of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from tests.support.process import ROOT

_AXE = ROOT / ".node" / "node_modules" / "axe-core" / "axe.min.js"
_REFUSED = "Failed to load resource: the server responded with a status of"
"""What a browser says of every refusal, however well it is handled."""
VENDOR = ROOT / "server" / "web" / "vendor"


class Visitor:
    """A page that is open.

    Attributes:
        complaints: of the console, and errors that nobody caught; what the network lacks is told apart.
        lost: what the console said of lost connections and refusals.
        urls: everything that was asked for.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.lost: list[str] = []
        self.urls: list[str] = []
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self._note(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.urls.append(request.url))

    def _note(self, text: str) -> None:
        (self.lost if text.startswith(_REFUSED) or "net::ERR_" in text else self.complaints).append(text)

    async def open(self, path: str = "/") -> None:
        """Opens it, and waits until it can be used."""
        await self.page.goto(self.url + path)
        await self.ready()

    async def ready(self) -> None:
        """Waits until it can be used."""
        try:
            await self.page.wait_for_selector("html[data-ready]", state="attached")
        except PlaywrightTimeout:
            print(self.complaints, self.lost)
            raise

    def press(self, name: str) -> Any:
        """Presses the last button of this name."""
        return self.page.get_by_role("button", name=name, exact=True).last.click()

    async def send(self, text: str) -> None:
        """Writes a message and sends it by the key."""
        await self.page.get_by_label("Message", exact=True).last.fill(text)
        await self.page.keyboard.press("Enter")

    @property
    def answer(self) -> Locator:
        """The last answer."""
        return self.page.locator("article.answer").last

    async def answered(self) -> None:
        """Waits for the end of the last answer."""
        await expect(self.answer).to_have_attribute("aria-busy", "false", timeout=30_000)
        await expect(self.answer.locator("footer button").first).to_be_visible()

    async def text(self) -> str:
        """The answer's own text, as it stands in the document."""
        return await self.answer.locator(".body").last.text_content() or ""

    async def keys(self) -> list[str]:
        """The keys of all answers that this browser keeps, oldest first."""
        found: list[str] = await self.page.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("openrouter-sse-backend");
                opening.onsuccess = () => {
                    const all = opening.result.transaction("messages").objectStore("messages").getAll();
                    all.onsuccess = () => resolve(all.result.filter((m) => m.versions)
                        .sort((a, b) => a.sentMs - b.sentMs).flatMap((m) => m.versions.map((v) => v.key)));
                };
            })"""
        )
        return found

    async def result(self) -> dict[str, Any]:
        """What the server says of the last answer."""
        key = (await self.keys())[-1]
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/chat/{key}/result") as response:
            found: dict[str, Any] = await response.json()
        return found

    async def violations(self, *, of_colours: bool = False) -> list[str]:
        """What axe finds; a script tag would be refused by the page's own policy.

        Args:
            of_colours: look for these only.
        """
        if not _AXE.exists():
            pytest.skip("the npm package axe-core is missing: run scripts/install-node-tools")
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(_AXE.read_text() + ";0")
        found: list[str] = await self.page.evaluate(
            """async (of_colours) => {
                const colours = {runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block"]}};
                const told = (node) => `${node.html.slice(0, 200)} ${node.any[0]?.message ?? ""}`;
                const options = {resultTypes: ["violations"], ...(of_colours && colours)};
                const {violations} = await axe.run(document, options);
                return violations.map(({id, nodes}) => `${id}: ${nodes.map(told).join(" | ")}`);
            }""",
            of_colours,
        )
        return found

    def assert_content(self) -> None:
        """It complained of nothing, and asked nobody else."""
        assert not self.complaints, self.complaints
        assert [url for url in self.urls if not url.startswith((self.url, "data:", "blob:"))] == []


def needs_vendor() -> None:
    """Skips where answers are not formatted."""
    if not (VENDOR / "format.js").exists():
        pytest.skip("server/web/vendor is missing: run scripts/build-web")


@asynccontextmanager
async def visiting(browser: Browser, url: str, path: str = "/", **context: Any) -> AsyncIterator[Visitor]:
    """A visitor in a browser context of its own, with the page open; at its end it must be content."""
    opened = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    try:
        visitor = await another(opened, url, path)
        yield visitor
        visitor.assert_content()
    finally:
        await opened.close()


async def another(context: BrowserContext, url: str, path: str = "/") -> Visitor:
    """One more tab of the same person."""
    visitor = Visitor(await context.new_page(), url)
    await visitor.open(path)
    return visitor
