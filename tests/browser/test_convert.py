"""Converting on the page: files go in, the server's own conversions come back, and the page says how far it is."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import pytest_asyncio
from playwright.async_api import Download, Locator, Route, expect
from support import sound
from support.deadline import eventually
from support.page.visit import Gate
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_page) -> AsyncIterator:
    """The page with the task "Convert" open, ready to take files."""
    async with open_page(task="#convert") as visit:
        await visit.page.locator("#convert-file[multiple]").wait_for(state="attached")
        yield visit


async def convert(visit, *files: Path) -> None:
    await visit.page.locator("#convert-file").set_input_files([str(file) for file in files])


async def open_more(visit) -> None:
    await visit.page.locator("#convert-form").get_by_role("button", name="More").click()


async def download(visit, card: Locator, folder: Path) -> Path:
    """Save what the card offers as a person would, under the name that the page gives it."""
    async with visit.page.expect_download() as started:
        await card.get_by_role("link", name="Download").click()
    return await keep(await started.value, folder)


async def keep(downloaded: Download, folder: Path) -> Path:
    path = folder / "downloads" / downloaded.suggested_filename
    await downloaded.save_as(path)
    return path


def probe(path: Path) -> dict:
    """What is in the file: its format's name, and the stream's codec, rate, channels and seconds."""
    argv = ["ffprobe", "-loglevel", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    told = json.loads(subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout)
    stream = next(stream for stream in told["streams"] if stream["codec_type"] == "audio")
    rate, seconds = int(stream["sample_rate"]), float(told["format"]["duration"])
    return {"codec": stream["codec_name"], "rate": rate, "channels": stream["channels"], "seconds": seconds}


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=10) as reply:
            return reply.status
    except HTTPError as error:
        return error.code


async def test_dropped_files_come_back_converted(visit, tone, tmp_path: Path, unique: str) -> None:
    """Each of several dropped files can be downloaded, under its own name, as the format that was chosen."""
    await visit.page.get_by_label("Format").select_option("flac")
    await visit.drop(tone(f"{unique} one.wav", seconds=2), tone(f"{unique} two.mp3", seconds=3))
    for name, seconds in (("one", 2), ("two", 3)):
        card = await visit.state(f"{unique} {name}", "ready")
        await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^[\d.]+ kB · was [\d.]+ kB$"))
        path = await download(visit, card, tmp_path)
        assert path.name == f"{unique} {name}.flac"
        assert probe(path)["codec"] == "flac"
        assert len(await asyncio.to_thread(sound.decode, path)) / 44_100 == pytest.approx(seconds, abs=0.1)
        await expect(card.locator(".job-facts")).to_contain_text("downloaded")
    await expect(visit.page.locator("#announcer")).to_contain_text("Ready.")


async def test_any_name_survives(visit, tone, tmp_path: Path, unique: str) -> None:
    """A name of many scripts, with quotes, percent signs and semicolons, is the same afterwards but for its suffix."""
    name = f"{unique} Übung “日本” 100%; a'b"
    await convert(visit, tone(f"{name}.wav", seconds=1))
    card = await visit.state(name, "ready")
    path = await download(visit, card, tmp_path)
    assert path.name == f"{name}.mp3"
    assert probe(path)["codec"] == "mp3"


async def test_what_was_sent_is_shown(visit, tone, unique: str) -> None:
    """While a file is sent its card tells bytes, speed and the time left; leaving asks, until all is saved."""
    await visit.throttle(500_000)
    assert not await visit.asks_before_leaving()
    await convert(visit, tone(f"{unique}.wav", seconds=30))
    card = await visit.state(unique, "sending")
    told = re.compile(r"^[\d.]+ [kM]B of 5\.3 MB · [\d.]+ [kM]B/s · 0:\d\d left$")
    await expect(card.locator(".job-facts")).to_have_text(told)
    bar = card.get_by_role("progressbar", name=f"Sending {unique}.wav")
    assert int(await bar.get_attribute("aria-valuenow") or 0) > 0
    assert await visit.asks_before_leaving()
    await visit.throttle(-1)
    card = await visit.state(unique, "ready")
    assert await visit.asks_before_leaving()
    async with visit.page.expect_download():
        await card.get_by_role("link", name=f"Download {unique}.mp3").click()
    assert not await visit.asks_before_leaving()


async def test_encoding_is_shown_and_can_be_cancelled(visit, tmp_path: Path, unique: str) -> None:
    """While the server encodes the card tells how much of it is done; cancelling makes the server stop.

    An answer that breaks off costs no more than a look.
    """
    broken = {"content_type": "application/json", "body": "{"}
    await visit.page.route(re.compile(r"/convert/[0-9a-f-]{36}$"), lambda route: route.fulfill(**broken), times=2)
    hours = await asyncio.to_thread(sound.tone, tmp_path / f"{unique}.flac", seconds=10_000, channels=1, rate=8000)
    await visit.page.get_by_label("Format").select_option("opus")
    await convert(visit, hours)
    card = await visit.state(unique, "working")
    await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^\d+ %$"))
    conversion = f"{visit.server.url}/convert/{await card.get_attribute('data-id')}"
    assert await asyncio.to_thread(status_of, conversion) == 200
    await card.get_by_role("button", name=f"Cancel {unique}.flac").click()
    await visit.state(unique, "cancelled")

    async def is_over() -> bool:
        return await asyncio.to_thread(status_of, conversion) == 404

    await eventually(is_over)
    assert not await visit.asks_before_leaving()
    await expect(visit.page.locator("#announcer")).to_contain_text(f"{unique}.flac: Cancelled.")


async def test_what_is_no_sound_fails_with_the_servers_sentence(visit, tmp_path: Path, unique: str) -> None:
    """A file that can't be converted says why, in the server's words, and what to do; it can be tried again."""
    visit.expect_error("status of 422")
    file = tmp_path / f"{unique}.mp3"
    file.write_bytes(b"This is text and no sound at all. " * 4000)
    async with visit.page.expect_response("**/convert?**") as answered:
        await convert(visit, file)
    detail = (await (await answered.value).json())["detail"]
    card = await visit.state(unique, "failed")
    await expect(card.locator(".job-facts")).to_have_text(detail)
    await expect(card.locator(".job-advice")).to_contain_text("plays on your computer, or choose another one.")
    await expect(visit.page.locator("#announcer")).to_contain_text(f"{unique}.mp3: Failed. {detail}")
    first = await card.get_attribute("data-id")
    await card.get_by_role("button", name=f"Retry {unique}.mp3").click()
    await visit.page.locator(f'.job[data-id="{first}"]').wait_for(state="detached")
    await visit.state(unique, "failed")


async def test_options_take_effect(visit, tone, tmp_path: Path, unique: str) -> None:
    """Rate, channels, bitrate, start and length are as chosen, told in a sentence, and all but the cut remembered."""
    form = visit.page.locator("#convert-form")
    await open_more(visit)
    await form.get_by_label("Sample rate").select_option("24000")
    await form.get_by_label("Channels").select_option("1")
    await form.get_by_label("Bitrate").select_option("64000")
    await form.get_by_label("Start at").fill("0:01")
    await form.get_by_label("Length").fill("2.5")
    await form.get_by_label("Length").blur()
    told = "MP3, 64 kbit/s, 24 kHz, mono, from 0:01 on, 2.5 s of it."
    await expect(form.locator(".outcome")).to_have_text(told)
    await convert(visit, tone(f"{unique}.wav", seconds=6))
    path = await download(visit, await visit.state(unique, "ready"), tmp_path)
    made = probe(path)
    assert (made["codec"], made["rate"], made["channels"]) == ("mp3", 24_000, 1)
    assert made["seconds"] == pytest.approx(2.5, abs=0.15)
    assert path.stat().st_size == pytest.approx(2.5 * 8000, rel=0.1)
    await visit.page.reload()
    await expect(form.locator(".outcome")).to_have_text("MP3, 64 kbit/s, 24 kHz, mono.")


async def test_only_what_a_format_takes_can_be_chosen(visit) -> None:
    """Qualities and bitrates of what has none, rates it doesn't know: they can't be chosen, and don't stay chosen."""
    form = visit.page.locator("#convert-form")
    await open_more(visit)
    await expect(form.locator("option", has_text="Apple Lossless")).to_have_count(1)  # the server's list is there
    await form.get_by_label("Bitrate").select_option("192000")
    await expect(form.get_by_role("radio", name="High")).to_be_disabled()
    await form.get_by_label("Sample rate").select_option("44100")
    await form.get_by_label("Format").select_option("opus")
    assert await form.get_by_label("Sample rate").input_value() == ""
    await expect(form.locator(".outcome")).to_have_text("Opus, 192 kbit/s.")
    await form.get_by_label("Format").select_option("wav")
    await expect(form.get_by_label("Bitrate")).to_be_disabled()
    await expect(form.get_by_role("radio", name="High")).to_be_disabled()
    await expect(form.locator(".outcome")).to_have_text("WAV, lossless.")


async def test_a_time_that_is_none_is_not_sent(visit, tone, unique: str) -> None:
    """A start that can't be read is pointed at, and nothing is sent with it."""
    await open_more(visit)
    await visit.page.get_by_label("Start at").fill("soon")
    await open_more(visit)
    await convert(visit, tone(f"{unique}.wav", seconds=1))
    await expect(visit.page.get_by_label("Start at")).to_be_focused()
    await expect(visit.page.locator(".job")).to_have_count(0)


async def test_a_busy_server_is_asked_again(visit, tone, unique: str) -> None:
    """When all places are taken the card says so and counts down, and the file is sent again by itself."""
    visit.expect_error("status of 503")

    async def refuse(route: Route) -> None:
        busy = {"detail": "All places are taken."}
        await route.fulfill(
            status=503, headers={"Retry-After": "2"}, json=busy, content_type="application/problem+json"
        )

    await visit.page.route("**/convert?**", refuse, times=1)
    await convert(visit, tone(f"{unique}.wav", seconds=1))
    card = await visit.state(unique, "queued")
    await expect(card.locator(".about p").first).to_contain_text("the server is busy, sent again by itself in")
    assert await visit.asks_before_leaving()
    await visit.state(unique, "ready")


@pytest.mark.thorough
async def test_tasks_share_the_three_places(visit, tone, unique: str) -> None:
    """Three uploads are in flight at most, whichever task they are for; each task has its own list."""
    gate = Gate()
    await visit.page.route(re.compile(r"/convert\?|/transcode\?"), gate)
    await convert(visit, *[tone(f"{unique} {i}.wav", seconds=1) for i in range(2)])
    await visit.page.get_by_role("tab", name="Stream").click()
    await visit.page.locator("#file[multiple]").wait_for(state="attached")
    await visit.send(*[tone(f"{unique} {i}.wav", seconds=1) for i in range(2, 5)])
    await expect(visit.page.locator('#stream-task .job[data-state="queued"]')).to_have_count(2)
    await gate.reached_by(3)
    assert gate.waiting == 3
    gate.open()
    for i in range(2, 5):
        await visit.state(f"{unique} {i}", "ready")
    await expect(visit.card(f"{unique} 0")).to_be_hidden()
    await visit.page.get_by_role("tab", name="Convert").click()
    await visit.state(f"{unique} 0", "ready")
    await expect(visit.card(f"{unique} 2")).to_be_hidden()


async def test_a_result_can_be_heard_and_removed(visit, tone, unique: str) -> None:
    """The result plays on the page; removing it unsaved asks first and stops it."""
    await convert(visit, tone(f"{unique}.wav", seconds=20))
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name=f"Play {unique}.mp3").click()
    await visit.until("document.getElementById('audio').currentTime > 0.3")
    assert await visit.page.locator("#dock-name").inner_text() == f"{unique}.mp3"
    assert await visit.page.locator("#dock-total").inner_text() == "0:20"
    for answer in ("Keep", "Remove"):
        await card.get_by_role("button", name=f"More about {unique}").click()
        await card.locator("[data-action=remove]").click()
        await card.get_by_text("Remove it without having downloaded it?").wait_for()
        await card.locator(".job-confirm").get_by_role("button", name=answer).click()
        await expect(card).to_have_count(1 if answer == "Keep" else 0)
    await expect(visit.page.locator("#dock")).to_be_hidden()
    assert await visit.page.evaluate("document.activeElement.id") == "convert-file"


async def test_the_command_that_does_the_same_is_copied(visit, tone, tmp_path: Path, unique: str) -> None:
    """The copied curl command converts the same file in the same way, and saves it under the same name."""
    await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visit.page.get_by_label("Format").select_option("ogg")
    await visit.page.get_by_role("radio", name="Low").check()
    await convert(visit, tone(f"{unique}.wav", seconds=1))
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name=f"More about {unique}").click()
    await card.locator("[data-action=curl]").click()
    await visit.page.get_by_text("The curl command is copied.").wait_for()
    command = await visit.page.evaluate("navigator.clipboard.readText()")
    sent = f'-F format=ogg -F quality=low -F "file=@{unique}.wav" {visit.server.url}/convert'
    assert command == f"curl -fOJ {sent}"


async def test_tabs_by_keyboard_and_address(open_page) -> None:
    """Arrows, Home and End open the tasks; the address names the task, so that reload, Back and links keep it."""
    async with open_page() as visit:
        tabs = [visit.page.get_by_role("tab", name=name) for name in ("Stream", "Separate", "Convert", "Extract")]
        stream, _, convert, extract = tabs
        panel = visit.page.get_by_role("tabpanel", name="Convert")
        await stream.focus()
        moves = [("ArrowRight", tab) for tab in (*tabs[1:], stream)]
        for key, opened in (*moves, ("End", extract), ("Home", stream)):
            await visit.page.keyboard.press(key)
            await expect(opened).to_be_focused()
            await expect(opened).to_have_attribute("aria-selected", "true")
        await visit.page.keyboard.press("ArrowRight")
        await visit.page.keyboard.press("ArrowRight")
        await expect(panel.get_by_role("heading", name="Any sound in.")).to_be_visible()
        await expect(visit.page.locator("#stream-form")).to_be_hidden()
        assert visit.page.url.endswith("/#convert")
        await visit.page.reload()
        await expect(panel).to_be_visible()
        await expect(convert).to_have_attribute("aria-selected", "true")
        await visit.page.go_back()
        await visit.page.go_back()
        await expect(panel).to_be_hidden()
        await expect(visit.page.locator("#stream-form")).to_be_visible()


async def test_the_form_converts_without_scripts(browser, server, tone, tmp_path: Path, unique: str) -> None:
    """With JavaScript off all forms are there, and the browser downloads the file as it was asked for."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(server.url)
    await expect(page.locator("#stream-form")).to_be_visible()
    await page.get_by_label("Format").select_option("flac")
    await page.locator("#convert-form").get_by_label("Channels").select_option("1")
    await page.locator("#convert-form").get_by_label("Start at").fill("1")
    await page.locator("#convert-file").set_input_files(tone(f"{unique}.wav", seconds=3))
    async with page.expect_download() as started:
        await page.get_by_role("button", name="Convert").click()
    path = await keep(await started.value, tmp_path)
    assert path.name == f"{unique}.flac"
    made = probe(path)
    assert (made["codec"], made["channels"]) == ("flac", 1)
    assert made["seconds"] == pytest.approx(2, abs=0.1)
    await context.close()


@pytest.mark.parametrize("scheme", ["dark", *thoroughly("light")])
async def test_axe_finds_nothing(open_page, tone, tmp_path: Path, unique: str, scheme: str) -> None:
    """No violation with nothing there, all options open, files in every state, and while one plays."""
    broken = tmp_path / f"{unique} broken.wav"
    broken.touch()
    async with open_page(task="#convert", color_scheme=scheme, reduced_motion="reduce") as visit:
        await visit.page.locator("#convert-file[multiple]").wait_for(state="attached")
        assert await visit.violations() == []
        await open_more(visit)
        await visit.page.get_by_label("Format").select_option("flac")
        assert await visit.violations() == []
        await convert(visit, tone(f"{unique}.wav", seconds=20), broken)
        card = await visit.state(unique, "ready")
        await card.get_by_role("button", name="Play").click()
        await visit.until("document.getElementById('audio').currentTime > 0.2")
        await visit.throttle(200_000)
        await convert(visit, *[tone(f"{unique} {i}.wav", seconds=30) for i in range(4)])
        await visit.state(f"{unique} 2", "sending")
        await visit.state(f"{unique} 3", "queued")
        await card.get_by_role("button", name="More about").click()
        assert await visit.violations() == []


@pytest.mark.parametrize("width", [360, *thoroughly(768, 1280, 2560)])
async def test_nothing_is_wider_than_the_window(open_page, tone, tmp_path: Path, unique: str, width: int) -> None:
    """From a phone to a wide desk the task never scrolls sideways, with its options open and files in its list."""
    broken = tmp_path / f"{unique} broken {'with a long name ' * 8}.wav"
    broken.touch()
    async with open_page(width=width, task="#convert") as visit:
        await visit.page.locator("#convert-file[multiple]").wait_for(state="attached")
        await open_more(visit)
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        await convert(visit, broken, tone(f"{unique} {'long ' * 20}.wav", seconds=1))
        await visit.page.locator('.job[data-state="ready"]').wait_for()
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for button in await visit.page.locator(":is(button, .button):visible").all():
            box = await button.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
