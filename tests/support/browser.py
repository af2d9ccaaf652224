"""A real browser for tests: Debian's Chromium, driven by Playwright.

Its shell without windows renders the same with half of the work; where it is missing, the whole browser does it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright, expect

expect.set_options(timeout=30_000)  # five seconds are soon over on a busy machine
WITH_KEPT_BROWSER = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("kept_browser")]
"""Of a module whose tests share a loop and a browser."""
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


_kept: dict[asyncio.AbstractEventLoop, Browser] = {}
"""Browsers that stay open for all tests of a loop."""


@asynccontextmanager
async def open_browser(*flags: str) -> AsyncIterator[Browser]:
    """A headless Chromium that asks for nothing but what its pages ask for; the test is skipped without one.

    Where one is kept for the running loop it is that one, and its contexts are new ones and closed at the end: to
    start one takes as long as to open a page.

    Args:
        flags: of its command line, beside those that it always gets; one with flags is never shared.
    """
    kept = _kept.get(asyncio.get_running_loop())
    if kept is None or flags:
        async with _launched(*flags) as browser:
            yield browser
        return
    before = kept.contexts
    try:
        yield kept
    finally:
        for context in kept.contexts:
            if context not in before:
                await context.close()


@asynccontextmanager
async def keeping_browser() -> AsyncIterator[None]:
    """Keeps one for the running loop."""
    loop = asyncio.get_running_loop()
    async with _launched() as _kept[loop]:
        try:
            yield
        finally:
            del _kept[loop]


@asynccontextmanager
async def _launched(*flags: str) -> AsyncIterator[Browser]:
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is missing: install the Debian package chromium-headless-shell")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()
