"""What was spent, as the page shows it: the server's figures, and nothing that the page made up."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route, expect

from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.page import visiting
from tests.support.process import running_server

pytestmark = WITH_KEPT_BROWSER


def month(callers: tuple[str, ...] = ("ann", "bob"), **more: Any) -> dict[str, Any]:
    """A month of nine models and some callers, as `/usage` tells it; the last day is not settled."""
    last = date(2026, 11, 26)
    rows = [
        {
            "day": (last - timedelta(days=day)).isoformat(),
            "caller": callers[(day + model) % len(callers)],
            "model": f"maker/model-{model}",
            "requests": 1 + day % 5,
            "prompt_tokens": 1000 + 37 * day,
            "completion_tokens": 300 + 11 * model,
            "cost_usd": round(0.01 * (1 + (day * 7 + model * 3) % 11), 6),
            "settled_cost_usd": round(0.01 * (1 + (day * 7 + model * 3) % 11), 6) if day else 0.0,
            "unsettled": 0 if day else 1,
        }
        for day in range(30)
        for model in range(9)
        if (day + model) % 3
    ]
    return {
        "data": rows,
        "first_day": (last - timedelta(days=29)).isoformat(),
        "last_day": last.isoformat(),
        "total_cost_usd": round(sum(row["cost_usd"] for row in rows), 6),  # type: ignore[misc]
        "total_settled_cost_usd": round(sum(row["settled_cost_usd"] for row in rows), 6),  # type: ignore[misc]
        "stored": True,
        **more,
    }


async def told(page: Page, usage: dict[str, Any]) -> None:
    """`/usage` says this, whatever is asked."""

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="application/json", body=json.dumps(usage))

    await page.route("**/usage?*", answer)


async def test_an_admin_sees_a_month_and_saves_it(tmp_path: Path) -> None:
    usage = month()
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page
        await told(page, usage)
        await page.goto(f"{server.url}/#usage")
        await page.reload()
        await expect(page.locator(".tiles")).to_contain_text(f"{usage['total_cost_usd']:.4f} USD")
        await expect(page.locator(".tiles")).to_contain_text(f"{usage['total_settled_cost_usd']:.4f} USD")
        await expect(page.locator(".tiles")).to_contain_text("6 not settled yet")
        assert await page.locator("svg.chart g.bar[tabindex='0']").count() == 30
        await expect(page.get_by_text("others", exact=True)).to_be_visible()
        await expect(page.get_by_text("not settled yet: an upper estimate")).to_be_visible()
        bar = await page.locator("svg.chart g.bar").last.get_attribute("aria-label")
        assert bar is not None
        day = [row for row in usage["data"] if row["day"] == "2026-11-26"]
        assert f"2026-11-26: {sum(row['cost_usd'] for row in day):.4f} USD" in bar
        assert "not settled" in bar
        await page.get_by_role("button", name="USD", exact=True).click()
        async with page.expect_download() as downloading:
            await page.get_by_role("button", name="Save as CSV").click()
        file = tmp_path / "usage.csv"
        await (await downloading.value).save_as(file)
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        assert {json.dumps({**row}, sort_keys=True) for row in rows} == {
            json.dumps({key: str(value).removesuffix(".0") for key, value in row.items()}, sort_keys=True)
            for row in usage["data"]
        }
        costs = [float(row["cost_usd"]) for row in rows]
        assert costs == sorted(costs, reverse=True)
        cells = [float(text) for text in await page.locator(".usage tbody td:nth-child(7)").all_inner_texts()]
        assert cells == costs


async def test_of_two_ranges_the_one_asked_for_last_is_shown() -> None:
    """However late what is told of the other."""
    held, go_on = asyncio.Event(), asyncio.Event()
    late = month(total_cost_usd=77.5)
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page

        async def hold(route: Route) -> None:
            held.set()
            await go_on.wait()
            await route.fulfill(content_type="application/json", body=json.dumps(late))

        await told(page, month())
        await page.goto(f"{server.url}/#usage")
        await page.reload()
        await expect(page.locator(".tiles")).to_be_visible()
        await page.route("**/usage?*", hold, times=1)
        async with page.expect_event("requestfinished", lambda request: "/usage?" in request.url and go_on.is_set()):
            await page.get_by_role("button", name="90 days").click()
            await asyncio.wait_for(held.wait(), 30)
            async with page.expect_response("**/usage?*"):
                await page.get_by_role("button", name="7 days", exact=True).click()
            go_on.set()
        await page.evaluate("fetch('health').then((response) => response.text())")  # behind it
        await expect(page.locator(".tiles")).to_contain_text(f"{month()['total_cost_usd']:.4f} USD")


async def test_what_is_told_late_of_a_model_is_not_told_of_another() -> None:
    held, go_on = asyncio.Event(), asyncio.Event()
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url) as visitor,
    ):
        page = visitor.page

        async def hold(route: Route) -> None:
            held.set()
            await go_on.wait()
            await route.continue_()

        await page.keyboard.press("Control+k")
        await expect(page.locator(".options li").first).to_be_visible()
        await page.keyboard.press("Home")
        await page.route("**/models/sandbox/*", hold, times=1)
        async with page.expect_event("requestfinished", lambda request: "/models/" in request.url and go_on.is_set()):
            await visitor.press("About this model")
            await asyncio.wait_for(held.wait(), 30)
            await page.get_by_role("combobox", name="Search models").press("ArrowDown")
            await visitor.press("About this model")
            await expect(page.locator(".about table")).to_be_visible()
            shown = await page.locator(".about").inner_text()
            go_on.set()
        await page.evaluate("fetch('health').then((response) => response.text())")  # behind it
        assert await page.locator(".about").inner_text() == shown


async def test_figures_are_the_servers_and_nothing_spent_is_said() -> None:
    async with (
        running_server("--sandbox") as server,
        open_browser() as browser,
        visiting(browser, server.url, "/#usage") as visitor,
    ):
        page = visitor.page
        await expect(page.get_by_text("Nothing was spent in these days.")).to_be_visible()
        await page.get_by_role("link", name="Back to the conversation").click()
        await visitor.press("cite")
        await visitor.answered()
        cost = (await visitor.result())["usage"]["total_cost"]
        await page.locator("#today").click()
        await expect(page.locator(".tiles")).to_contain_text(re.compile(rf"{cost:.6f} USD"))
        await expect(page.locator(".usage table")).not_to_contain_text("Caller")
        await told(page, month(stored=False, budget={"limit_usd": 5.0, "spent_usd": 1.0, "reserved_usd": 0.5, "resets_at": "2026-11-27T00:00:00+00:00"}))  # fmt: skip  # noqa: E501
        await page.get_by_role("button", name="7 days").click()
        await expect(page.get_by_role("alert").filter(has_text="cannot write its ledger")).to_be_visible()
        await expect(page.get_by_text("1.0000 USD spent and 0.5000 USD reserved of 5.0000 USD")).to_be_visible()
