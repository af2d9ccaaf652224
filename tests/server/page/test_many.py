"""Several tabs, the events of earlier answers, speech, and conversations that are saved and loaded."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from playwright.async_api import Download, expect

from client.sandbox import Hold, Reply, Sandbox
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import END, STOP, chunk, text
from tests.support.page import another, visiting
from tests.support.serving import Api

pytestmark = WITH_KEPT_BROWSER


async def test_an_eighth_page_loads_while_seven_answers_come(api: Api, upstream: Sandbox) -> None:
    """Browsers have six connections to a host."""
    holds = [Hold() for _ in range(7)]
    upstream.script(*(Reply.stream(text(f"Answer {n}"), holds[n], text(" ends."), STOP, END) for n in range(7)))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        tabs = [visitor, *[await another(visitor.page.context, api.url) for _ in range(6)]]
        for number, tab in enumerate(tabs):
            await tab.page.keyboard.press("Control+Shift+O")
            await expect(tab.page.locator("article")).to_have_count(0)
            await tab.send(f"Question {number}")
            await expect(tab.answer).to_contain_text(f"Answer {number}")
        eighth = await another(visitor.page.context, api.url, "/#usage")
        await expect(eighth.page.get_by_text("Days are UTC.")).to_be_visible()
        await expect(tabs[-1].page.get_by_text("this one is looked at every few seconds")).to_be_visible()
        for hold in holds:
            hold.until.set()
        for number, tab in enumerate(tabs):
            await tab.answered()
            assert (await tab.text()).strip() == f"Answer {number} ends."
            tab.assert_content()
        assert len(upstream.calls) == 7


async def test_the_events_of_an_answer_can_be_seen_later_and_saved(
    api: Api, upstream: Sandbox, tmp_path: Path
) -> None:
    upstream.script(Reply.stream(chunk({"reasoning": "Hm."}), text("One"), text(" two"), STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        await visitor.send("Go")
        await visitor.answered()
        await page.reload()
        await visitor.ready()
        await visitor.answer.get_by_role("button", name="Events").click()
        rows = page.locator(".events li")
        await expect(rows).to_have_count(6)
        await rows.nth(1).locator("summary").click()
        await expect(rows.nth(1).locator("pre")).to_contain_text('"text": "Hm."')
        async with page.expect_download() as downloading:
            await page.locator(".beside").get_by_role("button", name="Save").click()
        file = tmp_path / "events.jsonl"
        await (await downloading.value).save_as(file)
        events = [json.loads(line) for line in file.read_text().splitlines()]
        assert [event["event"] for event in events] == ["start", "reasoning", "content", "content", "usage", "done"]
        _, log = await api.request("GET", f"/chat/{(await visitor.keys())[0]}")
        assert [event["id"].encode() in log for event in events] == [True] * 6
        await page.get_by_label("Show").select_option("content")
        await expect(rows).to_have_count(2)


async def test_speech_can_be_heard(api: Api, upstream: Sandbox) -> None:
    sound = base64.b64encode(bytes(4800)).decode()
    upstream.script(
        Reply.stream(
            chunk({"audio": {"id": "a", "data": sound, "transcript": "Hel"}}),
            chunk({"audio": {"id": "a", "data": sound, "transcript": "lo"}}),
            STOP,
            END,
        )
    )
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        await visitor.send("Speak")
        await visitor.answered()
        await expect(visitor.answer).to_contain_text("Hello")
        await expect(visitor.answer.get_by_role("button", name="Save (9.4 kB)")).to_be_visible()
        await visitor.page.wait_for_function("document.querySelector('audio').duration > 0.19")


async def test_a_conversation_is_renamed_saved_deleted_brought_back_and_loaded(
    api: Api, upstream: Sandbox, tmp_path: Path
) -> None:
    upstream.script_always(Reply.stream(text("Hello *you*"), STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        await visitor.send("First question")
        await visitor.answered()
        await visitor.press("Conversations")
        page.on("dialog", lambda dialog: dialog.accept("Renamed"))
        await visitor.press("Rename First question")
        await expect(page.get_by_role("link", name="Renamed")).to_be_visible()
        files: list[Download] = []
        page.on("download", lambda file: files.append(file))
        await visitor.press("Save Renamed")
        await expect(page.get_by_role("link", name="Renamed")).to_be_visible()
        while len(files) < 2:
            await page.wait_for_timeout(20)
        for file in files:
            await file.save_as(tmp_path / file.suggested_filename)
        assert "## You\n\nFirst question" in (tmp_path / "Renamed.md").read_text()
        await visitor.press("Delete Renamed")
        await expect(page.locator("article")).to_have_count(0)
        await page.get_by_role("button", name="Undo").click()
        await page.get_by_role("link", name="Renamed").click()
        await expect(visitor.answer).to_contain_text("Hello")
        await visitor.press("Delete Renamed")
        await expect(page.get_by_role("link", name="Renamed")).to_have_count(0)
        await page.locator("#list input[type=file]").set_input_files(tmp_path / "Renamed.json")
        await expect(page.get_by_role("link", name="Renamed")).to_be_visible()
        await expect(visitor.answer).to_contain_text("Hello")


async def test_conversations_are_found_by_their_titles_and_texts(api: Api, upstream: Sandbox) -> None:
    upstream.script(*(Reply.stream(text(f"About {name}"), STOP, END) for name in ("Ravens", "doves", "ravens twice")))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        for question in ("Black birds?", "White birds?", "What else?"):
            await page.keyboard.press("Control+Shift+O")
            await expect(page.locator("article")).to_have_count(0)
            await visitor.send(question)
            await visitor.answered()
        await visitor.press("Conversations")
        field = page.get_by_role("searchbox", name="Search conversations")
        links = page.locator("#list li a")
        await field.click()
        for typed, titles in (
            ("raven", ["What else?", "Black birds?"]),
            ("RAVENS birds", ["Black birds?"]),
            ("nothing of it", []),
            ("", ["What else?", "White birds?", "Black birds?"]),
        ):
            await field.press("Control+a")
            await page.keyboard.press("Backspace")
            await page.keyboard.type(typed)
            await expect(links).to_have_text(titles)
            await expect(field).to_be_focused()
        assert await visitor.violations() == []


async def test_an_answer_goes_on_while_another_conversation_is_looked_at(api: Api, upstream: Sandbox) -> None:
    hold = Hold()
    upstream.script(Reply.stream(text("One"), hold, text(" two"), STOP, END))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        page = visitor.page
        await visitor.send("The question")
        await expect(visitor.answer).to_contain_text("One")
        await page.keyboard.press("Control+Shift+O")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        await visitor.press("Conversations")
        await page.get_by_role("link", name="The question").click()
        await expect(page.get_by_role("button", name="Stop")).to_be_visible()
        hold.until.set()
        await visitor.answered()
        assert await visitor.text() == "One two"
