"""Hearing what was sent, as a listener would: through hls.js, while it is made, and where hls.js is missing."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import expect
from support import sound
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDED = "document.getElementById('audio').ended"
PLAY_MASTER = """(url) => {
    const audio = new Audio();
    const hls = new Hls();
    window.heard = { audio, error: null };
    hls.on(Hls.Events.ERROR, (event, data) => { if (data.fatal) window.heard.error = data.details; });
    hls.loadSource(new URL(url).pathname);
    hls.attachMedia(audio);
    audio.play();
}"""


@pytest.mark.parametrize("codec", ["aac", "flac", *thoroughly("mp3", "opus")])
async def test_a_dropped_file_is_played_to_its_end(visit, tone, unique: str, codec: str) -> None:
    """Each codec, chosen on the page, plays to its end through hls.js."""
    file = tone(f"{unique}.wav", seconds=3)
    await visit.page.select_option("#codec", codec)
    await visit.drop(file)
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name=f"Play {unique}").click()
    await visit.until(ENDED)
    assert await visit.page.evaluate("Boolean(window.Hls)")
    assert await visit.audio("currentTime") == pytest.approx(3, abs=0.2)
    assert await visit.audio("error") is None


async def test_a_song_plays_while_it_is_still_being_sent(visit, slow_upload, tone, unique: str) -> None:
    """It plays before the upload has ended; seeking past what exists says so; then it plays to the end."""
    file = tone(f"{unique}.wav", seconds=40)
    async with slow_upload(file, bytes_per_second=250_000) as upload:
        await visit.page.reload()
        card = await visit.state(unique, "sending")
        await card.get_by_role("button", name=f"Play what is ready of {unique}").click()
        await visit.until("document.getElementById('audio').currentTime > 1.5")
        assert await card.get_attribute("data-state") == "sending"
        await expect(visit.page.locator("#dock-state")).to_have_text("Playing while it is being made")

        await visit.page.locator("#seek").press("End")
        made = await visit.audio("currentTime")
        assert made < 39
        for _ in range(9):
            await visit.page.locator("#seek").press("ArrowRight")
        await visit.page.get_by_text("That part isn’t made yet.").wait_for()
        await upload.finish()
        await visit.state(unique, "ready")
    await visit.until("document.getElementById('dock-total').textContent === '0:40'")
    await visit.page.locator("#seek").press("End")
    await visit.until(ENDED)
    assert await visit.audio("error") is None


@pytest.mark.thorough
async def test_the_page_plays_what_it_is_still_sending_itself(visit, tone, unique: str) -> None:
    """The page names its uploads, so that its own slow upload can be heard before it is through."""
    file = tone(f"{unique}.wav", seconds=120)
    await visit.throttle(700_000)
    await visit.send(file)
    card = await visit.state(unique, "sending")
    await card.get_by_role("button", name=f"Play what is ready of {unique}").click()
    await visit.until("document.getElementById('audio').currentTime > 1")
    assert await card.get_attribute("data-state") == "sending"
    await visit.throttle(-1)
    await visit.state(unique, "ready")


@pytest.mark.thorough
async def test_an_hour_long_song_plays_before_its_job_is_done(visit, tmp_path: Path, unique: str) -> None:
    """The page plays the first seconds of an hour while most of it is still to be encoded."""
    file = await asyncio.to_thread(sound.tone, tmp_path / f"{unique}.flac", seconds=3600, channels=1)
    await visit.send(file)
    await visit.page.get_by_role("button", name=f"Play what is ready of {unique}").click()
    await visit.until("document.getElementById('audio').currentTime > 1")
    card = visit.card(unique)
    assert await card.get_attribute("data-state") in ("sending", "working")
    assert await visit.audio("error") is None
    # Enough was shown; the rest of the hour would only keep the machine busy.
    await card.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")


@pytest.mark.parametrize("codec", ["mp3", "opus", *thoroughly("aac", "flac")])
async def test_the_master_playlist_plays_through_hls_js(visit, tone, unique: str, codec: str) -> None:
    """A player that is given master.m3u8 understands its CODECS, and plays the rendition to its end."""
    await visit.page.select_option("#codec", codec)
    await visit.send(tone(f"{unique}.wav", seconds=2))
    await visit.state(unique, "ready")
    job = await visit.page.evaluate("fetch('/v1/stream/jobs?limit=1').then((reply) => reply.json())")
    await visit.page.add_script_tag(url="/static/vendor/hls.min.js")
    await visit.page.evaluate(PLAY_MASTER, job["jobs"][0]["master_url"])
    await visit.until("window.heard.audio.ended || window.heard.error")
    assert await visit.page.evaluate("window.heard.error") is None
    assert await visit.page.evaluate("window.heard.audio.currentTime") == pytest.approx(2, abs=0.2)


async def test_without_hls_js_the_browser_plays_by_itself(visit, tone, unique: str) -> None:
    """A server without the vendored script still plays where the browser knows HLS."""
    visit.expect_error("hls.min.js")
    await visit.page.route("**/vendor/hls.min.js", lambda route: route.fulfill(status=404))
    await visit.send(tone(f"{unique}.wav", seconds=3))
    card = await visit.state(unique, "ready")
    await card.get_by_role("button", name=f"Play {unique}").click()
    await visit.until(ENDED)
    assert await visit.page.evaluate("window.Hls === undefined")
    assert await visit.audio("currentTime") == pytest.approx(3, abs=0.3)


async def test_the_sample_is_made_sent_and_played(visit) -> None:
    """A newcomer hears something without owning a file."""
    await visit.page.locator("#sample").click()
    card = await visit.state("Sample arpeggio", "ready")
    await card.get_by_role("button", name="Play Sample arpeggio").click()
    await visit.until("document.getElementById('audio').currentTime > 0.5")
    await visit.until("document.querySelector('#wave path').getAttribute('d')?.length > 100")
    assert await visit.audio("duration") == pytest.approx(12.6, abs=0.3)
