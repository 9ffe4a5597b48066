"""Extracting on the page: films go in by their addresses, their sound comes out, in segments at once and as a whole."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Request, Route, expect
from support import sound
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAYS = "document.getElementById('audio').currentTime > 0.2"
CLIPBOARD = ["clipboard-read", "clipboard-write"]
SEGMENT = "**/extract_audio_segment"
BUSY = {"detail": "All places are taken."}


async def opened(visit) -> None:
    """Wait until the task is there; what comes last is whether the server has folders to show."""
    await visit.page.locator("#browse").wait_for()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_page) -> AsyncIterator:
    """The page with the task "Extract" open, ready to take addresses."""
    async with open_page(task="#extract", permissions=CLIPBOARD) as visit:
        await opened(visit)
        yield visit


@pytest.fixture
def film(server, unique: str) -> Callable[..., Path]:
    """Makes a film in a folder of the server that is this test's own: `film("a", hertz={"eng": 440, "deu": 880})`.

    Each language is an audio track; without any the film is silent.
    """

    def make(name: str, *, seconds: float = 2, hertz: dict[str, int] | None = None) -> Path:
        path = server.films / unique / f"{name}.mkv"
        path.parent.mkdir(exist_ok=True)
        argv = [*sound.FFMPEG, "-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=2"]
        mapped = ["-map", "0:v", "-c:v", "mpeg4", "-c:a", "flac", "-ac", "2"]
        for number, (language, frequency) in enumerate(({"eng": 440} if hertz is None else hertz).items()):
            argv += ["-f", "lavfi", "-i", f"sine=frequency={frequency}:sample_rate=44100:duration={seconds}"]
            mapped += ["-map", f"{number + 1}:a", f"-metadata:s:a:{number}", f"language={language}"]
        subprocess.run([*argv, *mapped, str(path)], check=True, timeout=60)
        return path

    return make


async def paste(visit, *addresses: str) -> None:
    """Paste addresses as a person would, one a line."""
    await visit.page.evaluate("text => navigator.clipboard.writeText(text)", "\n".join(addresses))
    await visit.page.locator("#uris").focus()
    await visit.page.keyboard.press("Control+V")


async def add(visit, *films: Path) -> None:
    """Paste the films' addresses, and wait until their tracks are known."""
    before = await visit.page.locator(".clip").count()
    await paste(visit, *[film.as_uri() for film in films])
    await expect(visit.page.locator(".clip")).to_have_count(before + len(films))
    await expect(visit.page.locator(".clip [data-part=facts]:not(:empty)")).to_have_count(before + len(films))


async def press_extract(visit) -> None:
    await visit.page.get_by_role("button", name="Extract", exact=True).click()


async def choose(visit, field: str, value: str) -> None:
    """Choose an option, also one that is behind "More"."""
    select = visit.page.locator(f"#extract-form [name={field}]")
    if not await select.is_visible():
        await visit.page.locator("#extract-form .more").click()
    await select.select_option(value)


async def save(visit, link: Locator, folder: Path) -> Path:
    async with visit.page.expect_download() as started:
        await link.click()
    downloaded = await started.value
    path = folder / "downloads" / downloaded.suggested_filename
    await downloaded.save_as(path)
    return path


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=10) as reply:
        return reply.read()


def jobs(server) -> list[dict]:
    return json.loads(fetch(f"{server.url}/v1/extract/jobs?limit=100"))["jobs"]


async def status_of(visit, card: Locator) -> dict:
    """What the server says of a card's extraction."""
    return json.loads(
        await asyncio.to_thread(fetch, f"{visit.server.url}/status/{await card.get_attribute('data-id')}")
    )


async def names(visit) -> list[str]:
    return await visit.page.locator(".clip .job-name").all_inner_texts()


async def test_pasted_films_come_out_joined(visit, film, tmp_path: Path, unique: str) -> None:
    """Two pasted films become one file; what is downloaded is what the server has, byte for byte, under their name."""
    await add(visit, film(unique, seconds=2), film("two", seconds=3))
    await expect(visit.page.locator("#extract-form .outcome")).to_have_text("2 clips joined, 0:05, FLAC, lossless.")
    await press_extract(visit)
    card = await visit.state(f"{unique} and 1 more", "ready")
    await expect(card.locator(".job-facts")).to_contain_text("0:05")
    path = await save(visit, card.get_by_role("link", name=f"Download {unique}"), tmp_path)
    assert path.name == f"{unique} and 1 more.flac"
    told = await status_of(visit, card)
    assert path.read_bytes() == await asyncio.to_thread(fetch, told["audio_file"])
    assert len(await asyncio.to_thread(sound.decode, path)) == pytest.approx(5 * 44_100, abs=2)
    await expect(visit.page.locator("#announcer")).to_contain_text(f"{unique} and 1 more.flac: Ready.")


async def test_a_track_is_chosen_by_its_name(visit, film, tmp_path: Path, unique: str) -> None:
    """Tracks are offered in words and counted from 1, and the one that was chosen is what comes out."""
    await add(visit, film(unique, seconds=2, hertz={"eng": 440, "deu": 880}))
    track = visit.page.get_by_label("Track")
    await expect(track.locator("option")).to_have_text(["1: English, FLAC, stereo", "2: German, FLAC, stereo"])
    await track.select_option("2: German, FLAC, stereo")
    await choose(visit, "format", "mp3")
    await press_extract(visit)
    card = await visit.state(unique, "ready")
    await expect(card.locator(".job-facts")).to_contain_text("track 2")
    path = await save(visit, card.locator("a.save"), tmp_path)
    assert path.name == f"{unique}.mp3"
    assert sound.loudest_hertz(await asyncio.to_thread(sound.decode, path), 44_100) == pytest.approx(880, abs=5)


async def test_a_track_that_isnt_there_names_those_that_are(visit, film, unique: str) -> None:
    """When a clip lacks the track its card says which, what tracks there are and what to do."""
    visit.expect_error("status of 422")
    await add(visit, film(unique, hertz={"eng": 440, "deu": 880}), film("poor", hertz={"fra": 660}))
    await visit.page.get_by_label("Track").select_option("2: German, FLAC, stereo, not in 1 of 2 clips")
    await press_extract(visit)
    failed = await visit.state(f"{unique} and 1 more", "failed")
    await expect(failed.locator(".job-facts")).to_have_text("Clip 2, “poor.mkv”, has no track 2.")
    await expect(failed.locator(".job-advice")).to_contain_text("There is 1: French, FLAC, stereo. Choose one")
    await expect(visit.page.locator("#announcer")).to_contain_text("Failed. Clip 2")
    await expect(failed.locator(".pieces")).to_be_hidden()


@pytest.mark.thorough
async def test_a_silent_clip_is_what_was_chosen_for_it(visit, film, unique: str) -> None:
    """A clip without sound says so and what can be done; left out or made silence, the extraction goes through."""
    visit.expect_error("status of 422")
    await add(visit, film(unique, seconds=3), film("mime", hertz={}))
    await expect(visit.page.locator(".clip [data-part=facts]").nth(1)).to_contain_text("no sound in it")
    await press_extract(visit)
    failed = await visit.state(f"{unique} and 1 more", "failed")
    await expect(failed.locator(".job-facts")).to_have_text("Clip 2, “mime.mkv”, has no sound in it.")
    await expect(failed.locator(".job-advice")).to_contain_text("become silence or are left out")
    for choice, length in (("skip", "0:03"), ("silence", "0:05")):
        await choose(visit, "on_missing", choice)
        await press_extract(visit)
        ready = visit.page.locator('.job[data-state="ready"]', has_text=unique)
        await expect(ready.locator(".job-facts", has_text=length)).to_have_count(1)


async def test_a_clip_that_cant_be_used_is_pointed_at(visit, film, tmp_path: Path, unique: str) -> None:
    """An address that may not be read, or with nothing behind it, is told at its clip; the others are looked into."""
    visit.expect_error("status of 4")
    good, secret = film(unique), sound.tone(tmp_path / "secret.wav", seconds=1)
    gone = good.with_name("gone.mkv")
    await add(visit, gone, good, secret)
    facts = visit.page.locator(".clip [data-part=facts]")
    await expect(facts.nth(0)).to_contain_text("There is no such file.")
    await expect(facts.nth(1)).to_have_text("0:02")
    await expect(facts.nth(2)).to_contain_text("media roots")
    await expect(visit.page.locator(".clip.is-wrong")).to_have_count(2)
    await visit.page.get_by_role("button", name="Remove secret.wav").click()
    await press_extract(visit)
    card = await visit.state("gone and 1 more", "failed")
    await expect(card.locator(".job-facts")).to_contain_text("There is no such file.")
    await expect(card.locator(".job-advice")).not_to_be_empty()


async def test_a_refused_address_says_so(visit, tmp_path: Path) -> None:
    """What the server refuses at once is told in the form, in words, and no card appears."""
    visit.expect_error("status of 400")
    before = len(await asyncio.to_thread(jobs, visit.server))
    await paste(visit, "http://127.0.0.1/film.mp4")
    await press_extract(visit)
    await expect(visit.page.locator("#extract-error")).to_contain_text("No public web server answers there.")
    await visit.page.get_by_role("button", name="Remove film.mp4").click()
    await expect(visit.page.locator("#extract-error")).to_be_empty()
    assert len(await asyncio.to_thread(jobs, visit.server)) == before


async def test_what_is_no_address_stays_in_the_field(visit, film, unique: str) -> None:
    """Lines that are no addresses are neither added nor lost, and the page says how one begins."""
    await paste(visit, film(unique).as_uri(), "my holidays.mp4")
    await press_extract(visit)
    await expect(visit.page.locator("#uris")).to_have_value("my holidays.mp4")
    await expect(visit.page.locator("#uris")).to_be_focused()
    await expect(visit.page.locator("#uris-error")).to_contain_text("“my holidays.mp4” is no address. Begin it with")
    assert await names(visit) == [f"{unique}.mkv"]
    await expect(visit.page.locator(f'.job-name:text-is("{unique}")')).to_have_count(0)
    await visit.page.locator("#uris").fill("")
    await visit.page.get_by_role("button", name="Remove all").click()
    await press_extract(visit)
    await expect(visit.page.locator("#extract-error")).to_contain_text("Add a clip first")


async def test_films_are_chosen_from_the_servers_folders(visit, film, unique: str) -> None:
    """By keyboard alone: open a folder, go back, come again, add a film, close; then it is extracted."""
    film(unique)
    press, page = visit.page.keyboard.press, visit.page
    page_focus = "document.activeElement.textContent.trim()"
    await page.locator("#browse").focus()
    await press("Enter")
    await page.get_by_role("button", name=f"Open {visit.server.films}").press("Enter")
    await page.get_by_role("button", name=f"Open {unique}", exact=True).press("Enter")
    await expect(page.locator("#files-name")).to_have_text(unique)
    await visit.until(f"{page_focus}.startsWith('Add {unique}.mkv')")
    await press("Shift+Tab")
    await press("Shift+Tab")
    await expect(page.locator("#files-back")).to_be_focused()
    await press("Enter")
    await visit.until(f"{page_focus} === 'Open {unique}'")
    await press("Enter")
    await visit.until(f"{page_focus}.startsWith('Add {unique}.mkv')")
    await press("Enter")
    await expect(page.locator("#announcer")).to_contain_text(f"{unique}.mkv is clip 1.")
    await press("Escape")
    await expect(page.locator("#browse")).to_be_focused()
    await expect(page.locator("#files")).to_be_hidden()
    await press_extract(visit)
    await visit.state(unique, "ready")


async def test_without_roots_there_are_no_folders(open_page) -> None:
    """Where the server shows no folder, none is offered."""
    async with open_page() as visit:
        nothing: dict[str, Any] = {"folder": None, "parent": None, "entries": [], "more": False}
        await visit.page.route("**/v1/extract/files", lambda route: route.fulfill(json=nothing))
        async with visit.page.expect_response("**/v1/extract/files"):
            await visit.page.get_by_role("tab", name="Extract").click()
        await expect(visit.page.locator("#extract-task .jobs")).not_to_have_css("visibility", "hidden")
        await expect(visit.page.locator("#browse")).to_be_hidden()


async def test_clips_are_moved_and_removed(visit, film, unique: str) -> None:
    """By keyboard and by dragging; the focus stays with what was moved, and the order is that of the request."""
    page = visit.page
    await add(visit, film("a"), film("b"), film("c"))
    up = page.get_by_role("button", name="Move c.mkv up")
    await up.focus()
    await page.keyboard.press("Enter")
    await expect(up).to_be_focused()
    assert await names(visit) == ["a.mkv", "c.mkv", "b.mkv"]
    await page.keyboard.press("Enter")
    assert await names(visit) == ["c.mkv", "a.mkv", "b.mkv"]
    await expect(page.get_by_role("button", name="Move c.mkv down")).to_be_focused()
    await expect(page.locator("#announcer")).to_have_text("c.mkv is now clip 1 of 3.")
    handle, last = page.locator(".clip .handle").first, page.locator(".clip").last
    await handle.hover()
    await page.mouse.down()
    box = await last.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 40, box["y"] + box["height"] - 2, steps=8)
    await page.mouse.up()
    assert await names(visit) == ["a.mkv", "b.mkv", "c.mkv"]
    await page.mouse.move(0, 0)
    await page.get_by_role("button", name="Remove b.mkv").click()
    await expect(page.get_by_role("button", name="Remove c.mkv")).to_be_focused()
    async with page.expect_request("**/extract_audio") as asked:
        await press_extract(visit)
    sent = (await asked.value).post_data_json
    assert [urlsplit(uri).path.rsplit("/", 1)[1] for uri in sent["video_files"]] == ["a.mkv", "c.mkv"]
    await visit.state("a and 1 more", "ready")


async def test_segments_are_heard_before_the_whole_is_done(visit, film, unique: str) -> None:
    """The first segment plays while the whole is being made, the next one follows it; cancelling ends both."""
    await add(visit, film(unique, seconds=3000))
    await choose(visit, "segment_seconds", "5")
    await choose(visit, "format", "mp3")
    await press_extract(visit)
    card = visit.card(unique)
    await card.get_by_role("button", name="Listen from the start").click()
    await visit.until(PLAYS)
    assert await card.get_attribute("data-state") in {"waiting", "fetching", "working"}
    await expect(visit.page.locator("#dock-name")).to_have_text(f"1: {unique}.mkv")
    await expect(card.get_by_role("button", name="Pause segment 1, 0:00 – 0:05")).to_be_visible()
    await visit.page.locator("#seek").press("End")
    await expect(visit.page.locator("#dock-name")).to_have_text(f"2: {unique}.mkv")
    await visit.until(PLAYS)
    assert await visit.audio("error") is None
    await card.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")
    assert (await status_of(visit, card))["status"] == "Cancelled"
    said = await card.locator("[data-part=said]").inner_text()
    assert re.fullmatch(r"\d+ segments, up to \d+:\d\d", said)
    await card.get_by_role("button", name=f"Retry {unique}").click()
    card = await visit.state(unique, "working")
    await card.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")
    await expect(visit.card(unique)).to_have_count(1)


@pytest.mark.thorough
async def test_segments_are_asked_for_one_at_a_time(visit, film, unique: str) -> None:
    """Two walks take turns, and never is more than one request for a segment on its way; all of both come in."""
    under_way: set[Request] = set()
    most = []

    def began(request: Request) -> None:
        if request.url.endswith("/extract_audio_segment"):
            under_way.add(request)
            most.append(len(under_way))

    def ended(request: Request) -> None:
        under_way.discard(request)

    visit.page.on("request", began)
    visit.page.on("requestfinished", ended)
    await choose(visit, "segment_seconds", "5")
    await add(visit, film(unique, seconds=18))
    await press_extract(visit)
    await choose(visit, "format", "opus")
    await press_extract(visit)
    said = visit.page.locator(".job", has_text=unique).get_by_text("4 segments, up to 0:18", exact=True)
    await expect(said).to_have_count(2, timeout=80_000)
    assert max(most) == 1
    assert len(most) == 8


@pytest.mark.thorough
async def test_segments_joined_are_the_whole(visit, film, tmp_path: Path, unique: str) -> None:
    """The last few segments are shown, all on demand; downloaded and joined they are the whole, sample for sample."""
    await choose(visit, "segment_seconds", "5")
    await add(visit, film(unique, seconds=23))
    await press_extract(visit)
    card = await visit.state(unique, "ready")
    await expect(card.locator("[data-part=said]")).to_have_text("5 segments, up to 0:23")
    await expect(card.locator(".pieces li")).to_have_count(3)
    await card.get_by_role("button", name="Show all 5").click()
    links = await card.get_by_role("link", name="Download segment").all()
    assert len(links) == 5
    paths = [await save(visit, link, tmp_path) for link in links]
    assert [path.name for path in paths] == [f"{unique} {number}.flac" for number in range(1, 6)]
    whole = await save(visit, card.get_by_role("link", name=f"Download {unique}"), tmp_path)
    joined = b"".join([(await asyncio.to_thread(sound.decode, path)).tobytes() for path in paths])
    assert joined == (await asyncio.to_thread(sound.decode, whole)).tobytes()


async def test_a_busy_server_is_asked_again(visit, film, unique: str) -> None:
    """A walk that meets a busy server waits as long as it is told to, and goes on."""
    visit.expect_error("status of 503")
    refused = {"status": 503, "json": BUSY, "content_type": "application/problem+json", "headers": {"Retry-After": "1"}}
    await visit.page.route(SEGMENT, lambda route: route.fulfill(**refused), times=2)
    await add(visit, film(unique))
    await press_extract(visit)
    await expect(visit.card(unique).locator(".pieces li")).to_have_count(1)
    await visit.page.route("**/extract_audio", lambda route: route.fulfill(**refused), times=1)
    await choose(visit, "format", "wav")
    await press_extract(visit)
    await expect(visit.page.locator("#extract-error")).to_have_text("All places are taken. Try again in a moment.")
    await press_extract(visit)
    await expect(visit.page.locator("#extract-error")).to_be_empty()
    await expect(visit.card(unique)).to_have_count(2)


async def test_a_changed_source_ends_the_walk_in_words(visit, film, unique: str) -> None:
    """When a film changes between two segments, the walk says so and what to do."""
    visit.expect_error("status of 409")
    path = film(unique, seconds=20)
    calls = []

    async def change(route: Route) -> None:
        calls.append(route)
        if len(calls) == 2:
            await asyncio.to_thread(film, unique, seconds=20, hertz={"eng": 660})
        await route.continue_()

    await visit.page.route(SEGMENT, change)
    await choose(visit, "segment_seconds", "5")
    await add(visit, path)
    await press_extract(visit)
    said = visit.card(unique).locator("[data-part=said]")
    await expect(said).to_contain_text("Extract again, from what is there now.")
    await expect(said).to_contain_text("1 segment, up to 0:05.")


@pytest.mark.thorough
async def test_a_reload_restores_the_list(visit, film, unique: str) -> None:
    """After a reload the extraction is there, can be played, and walked along again on demand; removing it asks."""
    await choose(visit, "segment_seconds", "5")
    await add(visit, film(unique, seconds=12))
    await press_extract(visit)
    await visit.state(unique, "ready")
    await visit.page.reload()
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name=f"Play {unique}").click()
    await visit.until(PLAYS)
    assert await visit.audio("duration") == pytest.approx(12, abs=0.1)
    await expect(visit.page.locator("#dock-name")).to_have_text(f"{unique}.flac")
    await card.get_by_role("button", name=f"More about {unique}").click()
    await card.get_by_role("button", name="Show segments").click()
    await expect(card.locator("[data-part=said]")).to_have_text("3 segments, up to 0:12")
    for answer in ("Keep", "Remove"):
        await card.get_by_role("button", name=f"More about {unique}").click()
        await card.locator("[data-action=remove]").click()
        await card.get_by_text("Remove it and its file for good?").wait_for()
        await card.locator(".job-confirm").get_by_role("button", name=answer).click()
        await expect(card).to_have_count(1 if answer == "Keep" else 0)
    await expect(visit.page.locator("#dock")).to_be_hidden()
    await visit.page.reload()
    await opened(visit)
    await visit.page.locator("#extract-task:not(.unknown)").wait_for()
    await expect(visit.card(unique)).to_have_count(0)


async def test_the_same_request_is_the_same_extraction(visit, film, unique: str) -> None:
    """Pressing Extract again with nothing changed makes no second card, and the page says so."""
    await add(visit, film(unique))
    await press_extract(visit)
    await visit.state(unique, "ready")
    await press_extract(visit)
    await visit.page.get_by_text("This extraction is in the list already.").wait_for()
    await expect(visit.card(unique)).to_have_count(1)


async def test_links_and_commands_are_copied(visit, film, unique: str) -> None:
    """The copied link is the server's own, and the copied command is the same request, its track counted from 0."""
    it = film(f"{unique} it's", hertz={"eng": 440, "deu": 880})
    await add(visit, it)
    await choose(visit, "track", "1")
    await press_extract(visit)
    card = await visit.state(f"{unique} it's", "ready")
    read = "navigator.clipboard.readText()"
    await card.get_by_role("button", name="Copy the link").click()
    await visit.page.get_by_text("The link is copied.").wait_for()
    assert await visit.page.evaluate(read) == (await status_of(visit, card))["audio_file"]
    await card.get_by_role("button", name="More about").click()
    await card.locator("[data-action=curl]").click()
    await visit.page.get_by_text("The curl command is copied.").wait_for()
    argv = ["bash", "-c", await visit.page.evaluate(read) + " -s"]
    reply = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=True)
    assert " 202 " in reply.stdout
    assert f"/status/{await card.get_attribute('data-id')}" in reply.stdout


@pytest.mark.thorough
async def test_progress_comes_by_events(visit, film, unique: str) -> None:
    """A running extraction is followed by server-sent events, not only by asking again and again."""
    visit.expect_error("v1/extract/jobs|ERR_FAILED")
    await add(visit, film(unique, seconds=600))
    await choose(visit, "format", "mp3")
    async with visit.page.expect_request("**/status/*/events"):
        await press_extract(visit)
    await visit.page.route("**/v1/extract/jobs?**", lambda route: route.abort())
    await visit.state(unique, "ready", seconds=60)


@pytest.mark.thorough
async def test_another_public_address_is_no_other_origin(visit, film, unique: str) -> None:
    """Where links name the server's public address, the page still plays from its own origin."""
    await add(visit, film(unique, seconds=5))
    await press_extract(visit)
    await visit.state(unique, "ready")

    async def publish(route: Route) -> None:
        reply = await route.fetch()
        body = (await reply.text()).replace(visit.server.url, "https://audio.example.org")
        await route.fulfill(response=reply, body=body)

    await visit.page.route("**/v1/extract/jobs?**", publish)
    await visit.page.reload()
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name=f"Play {unique}").click()
    await visit.until(PLAYS)
    await card.get_by_role("button", name="Copy the link").click()
    await visit.page.get_by_text("The link is copied.").wait_for()
    assert (await visit.page.evaluate("navigator.clipboard.readText()")).startswith("https://audio.example.org/")


@pytest.mark.thorough
async def test_typing_is_no_command_to_the_player(visit, film, unique: str) -> None:
    """While something plays, letters, spaces and arrows in the field of addresses are text."""
    await add(visit, film(unique, seconds=60))
    await press_extract(visit)
    await (await visit.state(unique, "ready")).get_by_role("button", name=f"Play {unique}").click()
    await visit.until(PLAYS)
    await visit.page.locator("#uris").press_sequentially("m m")
    await visit.page.keyboard.press("ArrowLeft")
    await expect(visit.page.locator("#uris")).to_have_value("m m")
    assert not await visit.page.evaluate("document.getElementById('audio').paused")
    assert not await visit.page.evaluate("document.getElementById('audio').muted")


async def test_dropped_files_are_sent_elsewhere(visit, tone, unique: str) -> None:
    """A file of this computer can't be extracted here, and the page says where it goes instead."""
    await visit.drop(tone(f"{unique}.wav", seconds=1))
    await visit.page.get_by_text("Files of this computer go to Stream or Convert.").wait_for()


async def test_the_task_is_loaded_when_it_is_opened(open_page) -> None:
    """Who doesn't extract loads none of its code."""
    async with open_page() as visit:
        asked: list[str] = []
        visit.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        await visit.page.reload()
        await visit.page.locator("#stream-task:not(.unknown)").wait_for()
        assert not [path for path in asked if "extract" in path]
        await visit.page.get_by_role("tab", name="Extract").click()
        await opened(visit)
        assert "/static/extract.html" in asked


async def test_tabs_by_keyboard(open_page) -> None:
    """Extract is the last of the tabs, reached by arrows and by End; its address opens it."""
    async with open_page() as visit:
        extract = visit.page.get_by_role("tab", name="Extract")
        await visit.page.get_by_role("tab", name="Stream").focus()
        for key in ("ArrowLeft", "Home", "End"):
            await visit.page.keyboard.press(key)
            await expect(extract).to_have_attribute("aria-selected", "false" if key == "Home" else "true")
        await expect(extract).to_be_focused()
        await expect(visit.page.get_by_role("tabpanel", name="Extract")).to_be_visible()
        assert visit.page.url.endswith("/#extract")


@pytest.mark.parametrize("scheme", ["light", *thoroughly("dark")])
async def test_axe_finds_nothing(open_page, film, unique: str, scheme: str) -> None:
    """No violation with nothing there, folders and options open, cards in several states, and while a segment plays."""
    settings = {"color_scheme": scheme, "reduced_motion": "reduce", "permissions": CLIPBOARD}
    async with open_page(task="#extract", **settings) as visit:
        visit.expect_error("status of 422")
        await opened(visit)
        assert await visit.violations() == []
        await add(visit, film(unique, seconds=20, hertz={"eng": 440, "deu": 880}), film("b", hertz={}))
        await visit.page.locator("#browse").click()
        await visit.page.get_by_role("button", name=f"Open {visit.server.films}").click()
        await visit.page.locator("#extract-form .more").click()
        await visit.page.locator("#uris").fill("soon")
        await visit.page.keyboard.press("Tab")
        await visit.page.get_by_role("button", name="Add", exact=True).click()
        assert await visit.violations() == []
        await visit.page.locator("#uris").fill("")
        await press_extract(visit)
        await visit.state(f"{unique} and 1 more", "failed")
        await choose(visit, "on_missing", "skip")
        await choose(visit, "segment_seconds", "5")
        await press_extract(visit)
        card = await visit.state(f"{unique} and 1 more", "ready")
        await card.get_by_role("button", name="Listen from the start").click()
        await visit.until(PLAYS)
        await card.get_by_role("button", name="More about").click()
        assert await visit.violations() == []


@pytest.mark.parametrize("width", thoroughly(360, 768, 1280, 2560))
async def test_nothing_is_wider_than_the_window(open_page, film, unique: str, width: int) -> None:
    """From a phone to a wide desk the task never scrolls sideways, with everything open and long names in it."""
    long = f"{unique} {'with a long name ' * 8}"
    async with open_page(task="#extract", width=width, permissions=CLIPBOARD) as visit:
        await opened(visit)
        await add(visit, film(long, seconds=20), film("b"))
        await visit.page.locator("#browse").click()
        await visit.page.get_by_role("button", name=f"Open {visit.server.films}").click()
        await visit.page.get_by_role("button", name=f"Open {unique}", exact=True).click()
        await choose(visit, "segment_seconds", "5")
        await press_extract(visit)
        card = visit.page.locator('.job[data-state="ready"]').filter(has_text=unique)
        await card.get_by_role("button", name="Show all").click()
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for button in await visit.page.locator(":is(button, .button, .clip, .pieces):visible").all():
            box = await button.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
