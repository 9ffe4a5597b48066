"""The page for everybody: by keyboard, by screen reader, on a phone, in the dark; and what it is made of."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import FileChooser, Request, Route, expect
from support.page.visit import WAIT_SECONDS
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
VISIT_BYTES = 83_000
OWN_CODE_BYTES = 240_000


def job(number: int, status: str, phase: str, **more: object) -> dict:
    """A job as the server would tell it, of a kind that is hard to meet in passing."""
    plain = {"id": f"00000000-0000-4000-8000-{number:012}", "status": status, "phase": phase, "progress": 0}
    made = {"source_name": f"{phase} {number}.wav", "created_at": f"2026-01-01T00:00:{number:02}Z", "live_url": None}
    return {**plain, **made, "codec": "aac", "bitrate": 256_000, "priority": "normal", **more}


EVERY_STATE = [
    job(1, "Processing", "uploading", received_bytes=1_000_000, progress=10),
    job(2, "Pending", "waiting", queue_position=2, eta_seconds=30),
    job(3, "Processing", "working", progress=40, eta_seconds=9, live_url="x", master_url="x"),
    job(4, "Completed", "ended", live_url="x", manifest_url="x", duration_seconds=100),
    job(5, "Failed", "ended", error="The file isn't sound that can be read."),
    job(6, "Cancelled", "ended"),
]


async def show_every_state(visit) -> None:
    async def events(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/event-stream", body="retry: 60000\n\n")

    await visit.page.route(
        "**/v1/stream/jobs?**", lambda route: route.fulfill(json={"jobs": EVERY_STATE, "next": None})
    )
    await visit.page.route("**/events", events)
    await visit.page.reload()
    await expect(visit.page.locator(".job")).to_have_count(6)


@pytest.mark.parametrize("scheme", ["light", *thoroughly("dark")])
async def test_axe_finds_nothing(open_page, tone, unique: str, scheme: str) -> None:
    """No violation with nothing there, a job in every state, menu, question and options open, and while it plays."""
    async with open_page(color_scheme=scheme, reduced_motion="reduce") as visit:
        await visit.page.route("**/v1/stream/jobs?**", lambda route: route.fulfill(json={"jobs": [], "next": None}))
        await visit.page.reload()
        await visit.page.locator("#stream-task.empty").wait_for()
        assert await visit.violations() == []
        await visit.page.unroute("**/v1/stream/jobs?**")
        await show_every_state(visit)
        await visit.page.get_by_role("button", name="More", exact=True).click()
        await visit.page.get_by_role("button", name="More about ended 4").click()
        assert await visit.violations() == []
        await visit.card("ended 4").locator("[data-action=remove]").click()
        assert await visit.violations() == []
        await visit.page.unroute_all()
        await visit.page.reload()
        await visit.send(tone(f"{unique}.flac", seconds=20))
        await (await visit.state(unique, "ready")).get_by_role("button", name=f"Play {unique}").click()
        await visit.until("document.getElementById('audio').currentTime > 0.2")
        assert await visit.violations() == []


@pytest.mark.parametrize("width", [360, *thoroughly(768, 1280, 2560)])
async def test_nothing_is_wider_than_the_window(open_page, width: int) -> None:
    """From a phone to a wide desk the page never scrolls sideways, and its buttons are there."""
    async with open_page(width=width) as visit:
        await show_every_state(visit)
        await visit.page.get_by_role("button", name="More", exact=True).click()
        await visit.page.get_by_role("button", name="More about ended 4").click()
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for button in await visit.page.locator("button:visible, .job-name").all():
            box = await button.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


async def test_the_last_card_leaves_the_focus_where_files_are_chosen(visit, tone, unique: str) -> None:
    """A list that is empty is hidden and takes no focus, so it isn't lost with the card."""
    empty: dict[str, Any] = {"jobs": [], "next": None}
    await visit.page.route(re.compile(r"/v1/stream/jobs"), lambda route: route.fulfill(json=empty))
    await visit.page.reload()
    await visit.send(tone(f"{unique}.flac", seconds=1))
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name="More about").press("Enter")
    await card.locator("[data-action=remove]").press("Enter")
    await card.locator(".job-confirm").get_by_role("button", name="Remove").press("Enter")
    await expect(card).to_have_count(0)
    await visit.until("document.activeElement.id === 'file'")


async def test_the_keyboard_alone_is_enough(visit, tone, unique: str) -> None:
    """Choose a quality and a file, play, pause, seek, mute and remove it: Tab, arrows, Enter and Space only."""
    press = visit.page.keyboard.press
    # A browser that is asked for its dialogs only when the key is pressed may open this one itself.
    chooser: asyncio.Future[FileChooser] = asyncio.get_running_loop().create_future()

    def chosen(opened: FileChooser) -> None:
        chooser.set_result(opened)

    visit.page.once("filechooser", chosen)

    async def tab_to(selector: str, key: str = "Tab") -> None:
        for _ in range(60):
            await press(key)
            if await visit.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        pytest.fail(f"Tab doesn't reach {selector}")

    await tab_to("#file")
    await tab_to("[name=quality_profile]")
    await press("ArrowLeft")
    assert await visit.page.locator("#outcome").inner_text() == "AAC at 160 kbit/s, plays everywhere."
    await tab_to("#file", "Shift+Tab")
    await press("Space")
    await (await asyncio.wait_for(chooser, WAIT_SECONDS)).set_files(tone(f"{unique}.flac", seconds=30))
    await visit.state(unique, "ready")
    await tab_to(f'.play[aria-label^="Play {unique}"]')
    await press("Enter")
    await visit.until("document.getElementById('audio').currentTime > 0.2")
    await press("Space")
    await visit.until("document.getElementById('audio').paused")
    before = await visit.audio("currentTime")
    await press("ArrowRight")
    await visit.until(f"Math.abs(document.getElementById('audio').currentTime - {before} - 5) < 0.1")
    await tab_to("#seek")
    await press("Home")
    await visit.until("document.getElementById('audio').currentTime === 0")
    await press("m")
    await visit.until("document.getElementById('audio').muted")
    await visit.card(unique).get_by_role("button", name="More about").focus()
    await press("Enter")
    await tab_to("[data-action=remove]")
    await press("Enter")
    await press("Shift+Tab")
    await press("Enter")
    await expect(visit.card(unique)).to_have_count(0)
    await visit.until("document.activeElement.id === (document.querySelector('#jobs .job') ? 'jobs' : 'file')")


async def test_theme_and_options_are_remembered(visit) -> None:
    """What was chosen is still chosen after a reload."""
    page = visit.page
    await page.get_by_role("button", name="Use the dark theme").click()
    await page.get_by_role("radio", name="Hi-res").check()
    await page.select_option("#priority", "urgent")
    await page.reload()
    await expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()
    await expect(page.locator("#outcome")).to_have_text("FLAC, lossless at the source’s own rate and depth.")
    assert await page.locator("#priority").input_value() == "urgent"
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 13, 14)"


async def test_a_server_that_is_gone_is_said_and_found_again(visit, tone, unique: str) -> None:
    """When the server can't be reached the page says so and what to do, and recovers by itself."""
    visit.expect_error("ERR_INTERNET_DISCONNECTED|ERR_NETWORK")
    await visit.page.context.set_offline(True)
    await visit.send(tone(f"{unique}.flac", seconds=1))
    card = await visit.state(unique, "failed")
    await expect(card.locator(".job-facts")).to_have_text("The server can't be reached. Check that it is running.")
    await expect(visit.page.locator("#server-text")).to_have_text("Server not reachable, trying again")
    await visit.page.context.set_offline(False)
    await expect(visit.page.locator("#server-text")).to_have_text("Online")
    await card.get_by_role("button", name=f"Retry {unique}").click()
    await visit.state(unique, "ready")


async def test_a_tab_that_was_opened_without_the_net_comes_when_it_is_back(visit) -> None:
    """What couldn't be loaded is said, and the page loads it by itself once the server answers."""
    visit.expect_error("ERR_INTERNET_DISCONNECTED|ERR_NETWORK|dynamically imported module")
    await visit.page.context.set_offline(True)
    await visit.page.get_by_role("tab", name="Convert").click()
    await expect(visit.page.locator("#toast")).to_contain_text("It comes when the server is back.")
    await expect(visit.page.locator("#server-text")).to_have_text("Server not reachable, trying again")
    await visit.page.context.set_offline(False)
    await expect(visit.page.get_by_role("tab", name="Convert")).to_have_attribute("aria-selected", "true")
    await expect(visit.page.locator("#convert-task")).to_have_class(re.compile("empty|filled"))
    await expect(visit.page.locator("#server-text")).to_have_text("Online")


async def test_the_policy_lets_nothing_foreign_in(visit) -> None:
    """The page is served with a Content-Security-Policy that starts from 'self' alone."""
    reply = await visit.page.goto(visit.server.url)
    assert reply is not None
    policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


async def test_the_form_works_without_scripts(browser, server, tone, unique: str) -> None:
    """With JavaScript off the form still sends a file and the server answers with the job."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(server.url)
    await page.locator("#file").set_input_files(tone(f"{unique}.flac", seconds=1))
    await page.get_by_role("button", name="Send").click()
    await page.wait_for_url("**/v1/stream/transcode")
    assert '"job_id"' in await page.content()
    await context.close()


@pytest.mark.parametrize("task", ["", "#convert"])
async def test_a_visit_stays_small(open_page, task: str) -> None:
    """Until a task is used, the browser loads less than 80 KB of the page's code: no framework, nothing vendored in."""
    async with open_page(task=task) as visit:
        asked: set[str] = set()

        def note(request: Request) -> None:
            asked.add(urlsplit(request.url).path)

        visit.page.on("request", note)
        await visit.page.reload()
        await visit.page.locator(".task input[multiple]").wait_for(state="attached")
        await visit.page.locator('#server[data-state="reachable"]').wait_for()
        own = {"index.html" if path == "/" else path.removeprefix("/static/") for path in asked}
        sizes = {name: (ROOT / "static" / name).stat().st_size for name in own if (ROOT / "static" / name).is_file()}
    assert {"index.html", "style.css", "main.js"} <= set(sizes)
    assert not {"player.js", "sample.js", "demo/song.mp3"} & set(sizes)
    assert sum(sizes.values()) < VISIT_BYTES


async def test_the_page_stays_readable() -> None:
    """All of the page's own code is less than 235 KB, and no file of it is longer than 300 lines."""
    own = [file for file in (ROOT / "static").iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in own) < OWN_CODE_BYTES
    assert [file.name for file in own if len(file.read_text().splitlines()) > 300] == []
