"""Takes the pictures of the page that the documents show, from a real browser and a sandbox.

.venv/bin/python -m tests.support.page_pictures [FOLDER]     default: docs/pictures, those that are shown there
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from client.sandbox import Hold, Reply, Sandbox, open_sandbox
from client.sandbox.script import Step
from tests.server.page.test_usage_view import month, told
from tests.support.browser import open_browser
from tests.support.chunks import END, STOP, chunk, text
from tests.support.page import visiting
from tests.support.process import ROOT, running_server

SHOWN = {"answer", "cut", "first-light", "models", "usage"}
SIZE = {"width": 1120, "height": 720}
PHONE = {"width": 390, "height": 700}
THOUGHTS = "The person wants figures. A table says it best, and a few lines of code to check them. "
ANSWER = """Short waves are scattered **more**, by the fourth power of their frequency:

| colour | wave length | scattered |
|:-------|:-----------:|----------:|
| violet | 400 nm | 9.4 |
| blue   | 450 nm | 5.9 |
| red    | 700 nm | 1.0 |

So $I \\propto \\lambda^{-4}$, which you can check:

```python
def scattered(wave_length_nm: float) -> float:
    \"\"\"How much more than red.\"\"\"
    return (700 / wave_length_nm) ** 4
```

The eye sees **little viol"""


async def main(folder: Path) -> None:
    """All of them."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with open_browser() as browser, running_server("--sandbox") as server, open_sandbox() as upstream:
        looks: dict[str, dict[str, Any]] = {
            "first-light": {"viewport": SIZE},
            "first-dark": {"viewport": SIZE, "color_scheme": "dark"},
            "first-phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
        }
        for name, more in looks.items():
            async with visiting(browser, server.url, **more) as visitor:
                await visitor.page.screenshot(path=folder / f"{name}.png")
        await _states(browser, server.url, folder)
        env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k"}
        async with running_server(env=env) as real:
            await _answer(browser, real.url, upstream, folder)


async def _states(browser: Browser, url: str, folder: Path) -> None:
    async with visiting(browser, url, viewport=SIZE) as visitor:
        page = visitor.page
        await page.keyboard.press("Control+k")
        await expect(page.locator(".options li").first).to_be_visible()
        await page.screenshot(path=folder / "models.png")
        await page.keyboard.press("Escape")
        await visitor.press("no credits")
        await visitor.answered()
        await page.screenshot(path=folder / "error.png")
        await page.keyboard.press("Control+Shift+O")
        await page.keyboard.press("Control+Shift+E")
        await visitor.press("long answer")
        await expect(visitor.answer).to_contain_text("40 41")
        await page.locator(".beside").get_by_role("button", name="Cut the connection").click()
        await expect(page.locator(".events .mark")).to_contain_text("resumed")
        await page.wait_for_timeout(300)
        await _scroll_to_mark(page)
        await page.screenshot(path=folder / "cut.png")
        await page.keyboard.press("Escape")
        await visitor.answered()
    async with visiting(browser, url, viewport=SIZE) as visitor:
        await told(visitor.page, month())
        await visitor.page.goto(f"{url}/#usage")
        await visitor.page.reload()
        await expect(visitor.page.locator(".tiles")).to_be_visible()
        await visitor.page.screenshot(path=folder / "usage.png")


async def _scroll_to_mark(page: Page) -> None:
    await page.get_by_role("button", name="Pause").click()
    await page.locator(".events .mark").evaluate("(mark) => mark.scrollIntoView({block: 'center'})")


async def _answer(browser: Browser, url: str, upstream: Sandbox, folder: Path) -> None:
    hold = Hold()
    steps: list[Step] = [chunk({"reasoning": THOUGHTS}), text(ANSWER), hold, text("et."), STOP, END]
    upstream.script(Reply.stream(*steps))
    async with visiting(browser, url, viewport={"width": 1120, "height": 860}, color_scheme="dark") as visitor:
        await visitor.send("How much more is blue light scattered than red?")
        await expect(visitor.answer).to_contain_text("The eye sees")
        await visitor.answer.locator("summary").click()
        await expect(visitor.page.locator(".katex").first).to_be_visible()
        await visitor.page.wait_for_timeout(500)
        await visitor.page.screenshot(path=folder / "answer.png")
        hold.until.set()
        await visitor.answered()


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"
    asyncio.run(main(place))
    for path in place.glob("*.png") if len(sys.argv) < 2 else ():
        if path.stem not in SHOWN:
            path.unlink()
