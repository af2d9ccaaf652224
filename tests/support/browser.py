"""A real browser for tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright, expect

expect.set_options(timeout=30_000)  # five seconds are soon over on a busy machine
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@asynccontextmanager
async def open_browser(*flags: str) -> AsyncIterator[Browser]:
    """A headless Chromium that asks for nothing but what its pages ask for; the test is skipped without one.

    Args:
        flags: of its command line, beside those that it always gets.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is missing: install the Debian package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()
