"""The mixer against a server of its own, which gives real fMP4 FLAC stems segment by segment, when the test says so."""

import base64
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import expect
from support import sound
from support.page.mixer import NEW_MIX, RATE, RENDER
from support.page.visit import CLOCK
from support.spread import thoroughly

from streamsrv.web.pages import Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATIC = Path(__file__).parents[2] / "static"
SECONDS = 20.25
HASH = "5" * 64
STEMS = {"vocals": 1, "drums": -1}

# Keeps the loudest sample that it was given since it was last asked.
RECORDER = """
registerProcessor("recorder", class extends AudioWorkletProcessor {
    constructor() {
        super();
        this.peak = 0;
        this.port.onmessage = () => { this.port.postMessage(this.peak); this.peak = 0; };
    }
    process([channels]) {
        for (const samples of channels) for (const sample of samples) this.peak = Math.max(this.peak, Math.abs(sample));
        return true;
    }
});
"""
LISTEN = """async () => {
    const { context, master } = window.mix;
    await context.audioWorklet.addModule("/test/recorder.js");
    const recorder = new AudioWorkletNode(context, "recorder");
    master.connect(recorder);
    window.peak = () => new Promise((resolve) => {
        recorder.port.onmessage = ({ data }) => resolve(data);
        recorder.port.postMessage(null);
    });
}"""


@dataclass
class Song:
    """A song whose stems lie in `folder`, of which `made` segments are there; `repeats` makes it longer."""

    folder: Path
    made: int
    segments: list[tuple[str, float]]
    repeats: int = 1
    status: str = "Processing"
    removed: set[str] = field(default_factory=set)
    revision: int = 1

    @property
    def total(self) -> int:
        return len(self.segments) * self.repeats

    def playlist(self) -> str:
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2", "#EXT-X-PLAYLIST-TYPE:EVENT"]
        lines.append('#EXT-X-MAP:URI="job/init.mp4"')
        for number in range(self.made):
            name, seconds = self.segments[number % len(self.segments)]
            lines += [f"#EXTINF:{seconds:.6f},", f"job/{name}?{number}"]
        return "\n".join([*lines, "#EXT-X-ENDLIST"] if self.made == self.total else lines) + "\n"

    def describe(self, origin: str) -> dict:
        tracks = []
        for name in [*STEMS, "instrumental"]:
            is_here, is_whole = name not in self.removed, self.status == "Completed" and name not in self.removed
            base = f"{origin}/apiv1"
            urls = {
                f"{suffix}_url": f"{base}/track/{HASH}/{name}.{suffix}?model=tiny" if is_whole else None
                for suffix in ("mp3", "flac", "wav")
            }
            playlist = f"{base}/stems/{HASH}/{name}/index.m3u8?model=tiny" if is_here and self.made else None
            mixed = {"is_mix": name == "instrumental", "clipped_samples": 0, "removed": not is_here}
            tracks.append({"name": name, "playlist_url": playlist, **urls, **mixed})
        is_over = self.status == "Completed"
        return {
            "hash": HASH,
            "song_name": "Song.flac",
            "status": self.status,
            "phase": "ended" if is_over else "separating",
            "progress": 100 * self.made / self.total,
            "error": None,
            "created_at": "2026-01-01T00:00:00Z",
            "queue_position": None,
            "eta_seconds": None if is_over else 41,
            "model": "tiny",
            "overlap": 0.25,
            "shifts": 0,
            "precision": "float32",
            "devices": ["cpu:0"],
            "duration_seconds": sum(seconds for _, seconds in self.segments) * self.repeats,
            "sample_rate": RATE,
            "segment_seconds": 1,
            "revision": self.revision,
            "master_url": f"{origin}/apiv1/stems/{HASH}/master.m3u8" if self.made else None,
            "archive_url": f"{origin}/apiv1/archive/{HASH}.zip?model=tiny" if is_over else None,
            "tracks": tracks,
            "callbacks": [],
        }


class StemServer:
    """The page's own files as the real server gives them, and one song as `song` says."""

    def __init__(self, song: Song) -> None:
        self.song = song
        self.url = ""
        self.asked: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/test/recorder.js", self.recorder),
                web.get("/apiv1/models", self.models),
                web.get("/apiv1/songs", self.songs),
                web.get(f"/apiv1/song/{HASH}", self.one),
                web.get(f"/apiv1/song/{HASH}/events", self.events),
                web.get(f"/apiv1/stems/{HASH}/{{track}}/index.m3u8", self.playlist),
                web.get(f"/apiv1/stems/{HASH}/{{track}}/job/{{name}}", self.segment),
                web.get(f"/apiv1/track/{HASH}/{{track}}.wav", self.wav),
                *Pages(STATIC).routes(),
            ]
        )
        return app

    def grow(self, made: int, *, status: str | None = None) -> None:
        self.song.made = made
        self.song.status = status or self.song.status
        self.song.revision += 1

    async def health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def recorder(self, request: web.Request) -> web.Response:
        return web.Response(text=RECORDER, content_type="text/javascript")

    async def models(self, request: web.Request) -> web.Response:
        model = {"name": "tiny", "sources": list(STEMS), "state": "available", "detail": ""}
        return web.json_response({"default": "tiny", "default_reason": None, "models": [model]})

    async def songs(self, request: web.Request) -> web.Response:
        return web.json_response({"songs": [self.song.describe(self.url)], "next": None})

    async def one(self, request: web.Request) -> web.Response:
        return web.json_response(self.song.describe(self.url))

    async def events(self, request: web.Request) -> web.Response:
        return web.Response(text="retry: 60000\n\n", content_type="text/event-stream")

    async def playlist(self, request: web.Request) -> web.Response:
        track = request.match_info["track"]
        self.asked["playlist"] += 1
        if track in self.song.removed:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache"}
        return web.Response(text=self.song.playlist(), content_type="application/vnd.apple.mpegurl", headers=headers)

    async def segment(self, request: web.Request) -> web.FileResponse:
        track, name = request.match_info["track"], request.match_info["name"]
        self.asked[f"{track} {request.query_string or name}"] += 1
        headers = {"Content-Type": "video/mp4", "Cache-Control": "public, immutable, max-age=31536000"}
        return web.FileResponse(self.song.folder / track / name, headers=headers)

    async def wav(self, request: web.Request) -> web.FileResponse:
        self.asked[f"wav {request.headers['Range']}"] += 1
        return web.FileResponse(self.song.folder / f"{request.match_info['track']}.wav")


def write_stem(folder: Path, name: str, samples: np.ndarray) -> None:
    """Write a stem as WAV and as HLS of about a second each."""
    (folder / name).mkdir()
    raw = ["-f", "s16le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0"]
    wav = folder / f"{name}.wav"
    subprocess.run([*sound.FFMPEG, *raw, str(wav)], input=samples.astype("<i2").tobytes(), check=True, timeout=60)
    hls = ["-f", "hls", "-hls_time", "1", "-hls_segment_type", "fmp4", "-hls_list_size", "0"]
    encoded = ["-c:a", "flac", "-sample_fmt", "s16", "-strict", "-2"]
    names = ["-hls_segment_filename", str(folder / name / "segment_%05d.m4s"), str(folder / name / "index.m3u8")]
    subprocess.run([*sound.FFMPEG, "-i", str(wav), *encoded, *hls, *names], check=True, timeout=60)


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Stems of noise with opposite signs: together they are silent, as long as they play at the very same time."""
    folder = tmp_path_factory.mktemp("stems")
    samples = np.random.default_rng(7).integers(-16000, 16000, (int(SECONDS * RATE), 2), dtype=np.int16)
    for name, sign in STEMS.items():
        write_stem(folder, name, sign * samples)
    return folder, samples


@pytest_asyncio.fixture(loop_scope="session")
async def server(stems: tuple[Path, np.ndarray]) -> AsyncIterator[StemServer]:
    """In the place of the real server: `open_page` opens the page from here."""
    folder, _ = stems
    lines = (folder / "vocals/index.m3u8").read_text().splitlines()
    seconds = [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    names = [line for line in lines if not line.startswith("#")]
    seconds[-1] = SECONDS - sum(seconds[:-1])  # ffmpeg counts a packet more
    song = Song(folder, len(names), list(zip(names, seconds, strict=True)))
    server = StemServer(song)
    runner = web.AppRunner(server.app(), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_page) -> AsyncIterator:
    async with open_page(task="#separate") as visit:
        yield visit


async def new_mix(visit, *, offline_seconds: float = 0, wav: bool = False) -> None:
    """Put a mix of the stems at `window.mix`; no more of the page is used than its modules."""
    base = visit.server.url + "/apiv1"
    tracks = [
        {
            "name": name,
            "playlist": f"{base}/stems/{HASH}/{name}/index.m3u8",
            "wav": f"{base}/track/{HASH}/{name}.wav" if wav else None,
        }
        for name in STEMS
    ]
    await visit.page.evaluate(NEW_MIX, {"tracks": tracks, "rate": RATE, "offlineSeconds": offline_seconds})


async def heard_seconds(visit, seconds: float) -> float:
    """The loudest sample of the next seconds, in dBFS."""
    await visit.page.evaluate("peak()")
    start = await visit.page.evaluate("mix.context.currentTime")
    await visit.until(f"mix.context.currentTime > {start + seconds}")
    peak = await visit.page.evaluate("peak()")
    return 20 * np.log10(max(peak, 1e-9))


async def rendered(visit) -> np.ndarray:
    """What an offline context makes of what was handed to it, the left channel."""
    return np.frombuffer(base64.b64decode(await visit.page.evaluate(RENDER)), dtype="<f4")


async def test_opposite_stems_cancel_out(visit) -> None:
    """All stems play at the very same sample: through three seeks and muting, opposite ones leave nothing to hear."""
    await new_mix(visit)
    await visit.page.evaluate(LISTEN)
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.state === 'playing' && mix.time > 0.5")
    residuals = [await heard_seconds(visit, 1.5)]
    for seconds in (11.3, 3.217, 16.004):
        assert await visit.page.evaluate(f"mix.seek({seconds})")
        await visit.until(f"mix.state === 'playing' && mix.time > {seconds}")
        residuals.append(await heard_seconds(visit, 1.5))
        assert 1 < await visit.page.evaluate("mix.time") - seconds < 4
    await visit.page.evaluate("mix.adjust('drums', { isMuted: true })")
    assert await heard_seconds(visit, 0.5) > -10
    await visit.page.evaluate("mix.adjust('drums', { isMuted: false })")
    await visit.until("mix.state === 'playing'")
    await heard_seconds(visit, 0.1)
    residuals.append(await heard_seconds(visit, 0.7))
    assert max(residuals) < -60


async def test_each_sample_is_played_once(visit, stems) -> None:
    """Segments follow each other without a gap or a double sample: a stem alone comes out as it went in."""
    _, samples = stems
    await new_mix(visit, offline_seconds=4)
    await visit.page.evaluate("mix.adjust('drums', { isMuted: true })")
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.decoded.length >= 5")
    await visit.until("mix.state === 'playing'")
    played = await rendered(visit)
    assert_begins_at(played, samples[:, 0], start=0)


async def test_a_loop_comes_back_to_its_first_sample(visit, stems) -> None:
    """Between two marks it goes round and round, each time from the very sample of the first one."""
    _, samples = stems
    await new_mix(visit, offline_seconds=4)
    await visit.page.evaluate("mix.adjust('drums', { isMuted: true })")
    assert await visit.page.evaluate("mix.repeat(0.25, 0.5)") is False  # too short to be meant
    assert await visit.page.evaluate("mix.repeat(0.7, 1.4)") is True
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.decoded.length >= 2 && mix.state === 'playing'")
    played = await rendered(visit)
    left = samples[:, 0]
    first, last = round(0.7 * RATE), round(1.4 * RATE)
    assert_begins_at(played, np.concatenate([left[:last], *[left[first:last]] * 5]), start=0)


def assert_begins_at(played: np.ndarray, samples: np.ndarray, *, start: int) -> None:
    """Whether the samples from `start` on were played, after a moment of silence and a fade."""
    lead, fade = round(0.04 * RATE), round(0.06 * RATE)
    expected = samples[start : start + len(played) - lead].astype(float) / 32768
    assert np.abs(played[:lead]).max() == 0
    assert np.abs(played[lead + fade :] - expected[fade : len(played) - lead]).max() < 1e-4


@pytest.mark.thorough
async def test_it_waits_at_the_edge_and_goes_on(visit) -> None:
    """A song that is still separated plays up to its edge, says that it waits, and goes on by itself from there."""
    page = visit.page
    visit.server.grow(2)
    await page.get_by_role("button", name="Play what is ready of Song").click()
    await expect(page.locator("#mix-state")).to_have_text("Can be played while it is being separated")
    await expect(page.locator("#mix-state")).to_have_text("Waiting for the rest to be separated")
    await expect(page.locator("#mix-now")).to_have_text("0:02")
    visit.server.grow(4)
    await visit.heard(3)
    visit.server.grow(visit.server.song.total, status="Completed")
    await visit.heard(5)
    await expect(page.locator("#mix-state")).to_have_text("")
    asked = visit.server.asked["playlist"]
    await visit.heard(8)
    assert visit.server.asked["playlist"] == asked  # what is whole isn't asked for again


async def test_what_is_not_there_yet_is_said(visit) -> None:
    """Seeking beyond what is separated stays where it is and says so."""
    page = visit.page
    visit.server.grow(12)
    await page.get_by_role("button", name="Play what is ready of Song").click()
    await expect(page.locator("#mixer")).to_have_attribute("data-state", "playing")
    rail = await page.locator("#mix-seek").bounding_box()
    await page.mouse.move(rail["x"] + rail["width"] * 0.9, rail["y"] + rail["height"] / 2)
    await expect(page.locator("#mix-bubble")).to_have_text(re.compile("^0:1[78], not separated yet$"))
    await page.mouse.down()
    await page.mouse.up()
    await expect(page.locator("#toast")).to_have_text(
        "That part isn’t separated yet. So far there are 0:12, and more is coming."
    )
    await expect(page.locator("#mix-now")).to_have_text(re.compile("^0:0[0-4]$"))


async def test_a_long_song_costs_no_more_than_a_short_one(visit) -> None:
    """Of an hour only the segments around the playhead are kept, at first, after each seek, and while it plays on."""
    visit.server.song.repeats = 180
    visit.server.grow(visit.server.song.total, status="Completed")
    await new_mix(visit)
    assert await visit.page.evaluate("mix.madeSeconds") == pytest.approx(3645, abs=0.01)
    await visit.page.evaluate("mix.play()")
    for seconds in (3000.5, 120.25, 1800):
        await visit.page.evaluate(f"mix.seek({seconds})")
        await visit.until(f"mix.time > {seconds + 2.5}")
    assert 5 <= await visit.page.evaluate("window.most") <= 6
    assert len(visit.server.asked) < 100


async def test_the_end_is_the_end(visit) -> None:
    """At its end it stops; played again it begins anew."""
    await new_mix(visit)
    await visit.page.evaluate("mix.seek(19.5)")
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.state === 'ended'")
    assert await visit.page.evaluate("mix.time") == pytest.approx(SECONDS, abs=0.001)
    assert await visit.page.evaluate("mix.seek(1000)") is True  # all there is, so that is its end
    await visit.page.evaluate("mix.pause()")
    await visit.page.evaluate("mix.seek(0)")
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.time > 0.2 && mix.time < 2")


async def test_the_keyboard_mixes(visit) -> None:
    """Space plays, arrows seek, digits mute and with Shift solo, 0 lets all be heard; fields keep their keys."""
    page = visit.page
    visit.server.grow(visit.server.song.total, status="Completed")
    await page.get_by_role("button", name="Play Song").click()
    await expect(page.locator("#mixer")).to_have_attribute("data-state", "playing")
    await page.locator("#separate-task h1").click()
    await page.keyboard.press("Space")
    await expect(page.locator("#mixer")).to_have_attribute("data-state", "paused")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#mix-now")).to_have_text(re.compile("^0:0[5-9]$"))
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator("#mix-now")).to_have_text(re.compile("^0:0[0-4]$"))
    pressed = {"1": "Mute vocals", "2": "Mute drums", "Shift+Digit1": "Solo vocals", "Shift+Digit2": "Solo drums"}
    for key, name in pressed.items():
        await page.keyboard.press(key)
        await expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("button", name="Karaoke")).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("0")
    await expect(page.locator("#mixer [aria-pressed=true]")).to_have_count(0)
    await page.locator("#separate-form [name=model]").focus()
    await page.keyboard.press("1")
    await expect(page.locator("#mixer [aria-pressed=true]")).to_have_count(0)


async def test_who_is_soloed_is_heard_alone(visit) -> None:
    """Of all stems those that are soloed sound, and else all that aren't muted; what is muted never does."""
    loudness = """async (stems) => {
        const { loudness } = await import("/static/mix-plan.js");
        const all = stems.map(([isMuted, isSoloed]) => ({ isMuted, isSoloed, volumeDb: 0 }));
        return all.map((stem) => loudness(stem, all));
    }"""
    for stems, heard in (
        ([(False, False), (False, False), (True, False)], [1, 1, 0]),
        ([(False, True), (False, False), (True, False)], [1, 0, 0]),
        ([(False, True), (False, True), (False, False)], [1, 1, 0]),
        ([(True, True), (False, False), (False, False)], [0, 0, 0]),
    ):
        assert await visit.page.evaluate(loudness, [list(stem) for stem in stems]) == heard


async def test_volumes_are_in_decibels(visit) -> None:
    """A slider says its decibels, and a double click leads back to none."""
    page = visit.page
    await (
        page.get_by_role("button", name="Play what is ready of Song")
        .or_(page.get_by_role("button", name="Play Song"))
        .first.click()
    )
    slider = page.get_by_role("slider", name="Volume of drums")
    await slider.focus()
    for _ in range(6):
        await page.keyboard.press("ArrowLeft")
    await expect(slider).to_have_attribute("aria-valuetext", "−6 dB")
    await slider.dblclick(position={"x": 5, "y": 10})
    await expect(slider).to_have_attribute("aria-valuetext", "0 dB")
    plan = "import('/static/mix-plan.js').then(({ gainOf }) => [gainOf(-6), gainOf(0), gainOf(-48)])"
    assert await visit.page.evaluate(plan) == [pytest.approx(0.5012, abs=1e-4), 1, 0]


@pytest.mark.thorough
async def test_a_loop_is_marked_on_the_rail(visit) -> None:
    """From here to here it goes round; a loop that is over plays on."""
    page = visit.page
    visit.server.grow(visit.server.song.total, status="Completed")
    await page.get_by_role("button", name="Play Song").click()
    await visit.heard(1)
    await page.get_by_role("button", name="Loop from here").click()
    await visit.heard(5)
    await page.get_by_role("button", name="to here", exact=True).click()
    for _ in range(2):
        await visit.until(f"{CLOCK} < 4")
        await visit.heard(4)
    await page.get_by_role("button", name="No loop").click()
    await expect(page.locator("#mix-loop")).to_be_hidden()
    await visit.heard(8)


async def test_a_removed_track_is_said_and_the_others_play_on(visit) -> None:
    """When a track is removed while it plays, its row says so, and nobody waits for it."""
    visit.expect_error("status of 404")
    page = visit.page
    visit.server.grow(10)
    await page.get_by_role("button", name="Play what is ready of Song").click()
    await visit.heard(1)
    visit.server.song.removed.add("drums")
    visit.server.grow(visit.server.song.total, status="Completed")
    row = page.locator(".stem", has_text="Drums")
    await expect(row).to_contain_text("This track was removed.")
    await expect(row.get_by_role("button")).to_have_count(0)
    await visit.heard(12)
    links = page.locator("#mixer .stems a:visible")
    assert [await link.get_attribute("download") for link in await links.all()] == [
        f"Song (vocals).{suffix}" for suffix in ("mp3", "flac", "wav")
    ]


async def test_downloads_come_from_the_page_itself(visit) -> None:
    """Each stem, the instrumental and all in a zip can be had in each format, once the song is separated."""
    page = visit.page
    visit.server.grow(12)
    await page.get_by_role("button", name="Play what is ready of Song").click()
    await expect(page.locator("#mixer a:visible")).to_have_count(0)
    await expect(page.locator("#mix-later")).to_be_visible()
    visit.server.grow(visit.server.song.total, status="Completed")
    await expect(page.locator("#mixer a:visible")).to_have_count(12)
    await expect(page.locator(".stem", has_text="Instrumental")).to_have_count(0)
    link = page.get_by_role("link", name="Download all tracks as FLAC")
    assert await link.get_attribute("href") == f"/apiv1/archive/{HASH}.zip?model=tiny&format=flac"
    link = page.get_by_role("link", name="Download the instrumental as WAV")
    assert await link.get_attribute("href") == f"/apiv1/track/{HASH}/instrumental.wav?model=tiny"


NO_FLAC = """() => {
    const decode = BaseAudioContext.prototype.decodeAudioData;
    BaseAudioContext.prototype.decodeAudioData = function (data) {
        const isMp4 = new TextDecoder().decode(data.slice(4, 8)) === "ftyp";
        return isMp4 ? Promise.reject(new DOMException("no", "EncodingError")) : decode.call(this, data);
    };
}"""


async def test_without_flac_it_plays_the_finished_files(visit) -> None:
    """Where FLAC in MP4 can't be decoded, ranges of the WAV files are played, just as exactly."""
    await visit.page.evaluate(NO_FLAC)
    await new_mix(visit, wav=True)
    await visit.page.evaluate(LISTEN)
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.time > 0.2")
    assert await heard_seconds(visit, 0.5) < -60
    await visit.page.evaluate("mix.seek(13)")
    await visit.until("mix.time > 13.2")
    assert await heard_seconds(visit, 0.5) < -60
    await visit.page.evaluate("mix.adjust('vocals', { volumeDb: -48 })")
    assert await heard_seconds(visit, 0.5) > -10


async def test_what_cannot_be_decoded_is_said(visit) -> None:
    """Where there are no files yet, the mixer says in words that this browser has to wait for them."""
    await visit.page.evaluate(NO_FLAC)
    visit.server.grow(12)
    await visit.page.get_by_role("button", name="Play what is ready of Song").click()
    await expect(visit.page.locator("#mix-state")).to_have_text(
        "This browser can’t play a song while it is being separated. Open it again once it is ready."
    )


@pytest.mark.parametrize(("width", "scheme"), thoroughly((360, "dark"), (1280, "light")))
async def test_the_mixer_is_for_everybody(open_page, server, width: int, scheme: str) -> None:
    """No violation that axe can find, and nothing wider than the window, while it is separated and afterwards."""
    async with open_page(task="#separate", width=width, color_scheme=scheme, reduced_motion="reduce") as visit:
        visit.server.grow(12)
        await visit.page.get_by_role("button", name="Play what is ready of Song").click()
        await visit.heard(1)
        await visit.page.keyboard.press("1")
        await visit.page.get_by_role("button", name="Loop from here").click()
        assert await visit.violations() == []
        visit.server.song.removed.add("drums")
        visit.expect_error("status of 404")
        visit.server.grow(visit.server.song.total, status="Completed")
        await expect(visit.page.locator("#mix-all")).to_be_visible()
        assert await visit.violations() == []
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for button in await visit.page.locator("#mixer button:visible, #mixer a:visible").all():
            box = await button.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
