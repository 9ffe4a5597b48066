"""Separating on the page, with the real server and small models: from a dropped song to its stems."""

import asyncio
import json
import re
import subprocess
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect
from support.server import Server
from support.songs import music, song_server
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIPBOARD = ["clipboard-read", "clipboard-write"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that separates one song at a time; the model `slow` takes a quarter of a second for a second."""
    folder = tmp_path_factory.mktemp("separating")
    with song_server(folder, window_seconds=0.25, SEPARATE__SONGS="1", WORKERS__PROCESSES="2") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_page) -> AsyncIterator:
    """The page with the task "Separate" open, once it knows the models."""
    async with open_page(task="#separate", permissions=CLIPBOARD) as visit:
        await visit.page.locator("#separate-form option[value=tiny]").wait_for(state="attached")
        yield visit


@pytest.fixture
def song(tmp_path: Path, unique: str) -> Callable[..., Path]:
    """Makes a song that no other test has: `song(seconds=3)`, `song("b", seconds=3)` for another one."""

    def make(more: str = "", *, seconds: float) -> Path:
        name = f"{unique} {more}".strip()
        return music(tmp_path / f"{name}.flac", seconds=seconds, seed=int.from_bytes(name.encode()[-6:]))

    return make


async def send(visit, *files: Path, model: str = "tiny") -> None:
    await visit.page.locator("#separate-form [name=model]").select_option(model)
    await visit.page.locator("#separate-file").set_input_files([str(file) for file in files])


def ask(server: Server, path: str) -> dict:
    with urlopen(f"{server.url}{path}", timeout=10) as reply:
        return json.loads(reply.read())


async def told(visit, card: Locator) -> dict:
    """What the server says of a card's song."""
    card_id = await card.get_attribute("data-id")
    assert card_id is not None
    song, _, model = card_id.partition("~")
    return await asyncio.to_thread(ask, visit.server, f"/apiv1/song/{song}?model={model}")


async def test_a_dropped_song_becomes_stems(visit, song, unique: str, tmp_path: Path) -> None:
    """From dropping to downloading: a card tells each step, the mixer plays, and the zip has all tracks whole."""
    page = visit.page
    await visit.drop(song(seconds=7))
    card = await visit.state(unique, "ready")
    await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^0:07 · \d\d:\d\d$"))
    async with page.expect_download() as started:
        await card.get_by_role("link", name=f"Download {unique}").click()
    archive = tmp_path / "tracks.zip"
    await (await started.value).save_as(archive)
    with zipfile.ZipFile(archive) as tracks:
        assert sorted(tracks.namelist()) == [
            f"{name}.mp3" for name in ("bass", "drums", "instrumental", "other", "vocals")
        ]
    await card.get_by_role("button", name=f"Play {unique}").click()
    await visit.heard(2)
    await expect(page.locator("#mix-stems .stem-name")).to_have_text(["Vocals", "Drums", "Bass", "Other"])
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Download drums as WAV").click()
    downloaded = await started.value
    assert downloaded.suggested_filename == f"{unique} (drums).wav"
    assert (await asyncio.to_thread(Path(await downloaded.path()).read_bytes))[:4] == b"RIFF"
    await expect(page.locator("#mix-now")).to_have_text("0:07")
    await expect(page.locator("#mixer")).to_have_attribute("data-state", "ended")


async def test_it_plays_while_it_is_separated(visit, song, unique: str) -> None:
    """The mixer opens with the first segment, plays what there is, and goes on as more comes, to the very end."""
    page = visit.page
    await page.locator("#separate-form .more").click()
    await page.locator("#separate-form [name=shifts]").select_option("2")
    await send(visit, song(seconds=20), model="slow")
    card = await visit.state(unique, "working")
    await expect(card.locator("b")).to_have_text("Separating")
    await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^\d+ % · \d:\d\d left · on cpu:0, cpu:1$"))
    await card.get_by_role("button", name=f"Play what is ready of {unique}").click()
    await visit.heard(1)
    assert (await told(visit, card))["status"] == "Processing"
    await expect(page.locator("#mix-state")).to_have_text(re.compile("while it is being separated|to be separated"))
    await expect(page.locator("#mix-total")).to_have_text("0:20")
    await visit.state(unique, "ready", seconds=60)
    await expect(page.locator("#mix-now")).to_have_text("0:20", timeout=40_000)
    await expect(page.locator("#mix-state")).to_have_text("")


@pytest.mark.thorough
async def test_what_is_cancelled_stops_playing(visit, song, unique: str) -> None:
    """When a song is cancelled while it plays, the mixer says so, and its card can no longer be played."""
    visit.expect_error("status of 404")
    page = visit.page
    await send(visit, song(seconds=100), model="slow")
    await visit.card(unique).get_by_role("button", name=f"Play what is ready of {unique}").click()
    await visit.heard(1)
    await page.get_by_role("button", name=f"Cancel {unique}").click()
    await expect(page.locator("#mix-state")).to_have_text("The separation was cancelled.")
    card = await visit.state(unique, "cancelled")
    await expect(card.get_by_role("button", name="Play")).to_have_count(0)
    await page.get_by_role("button", name="Close the mixer").click()
    await expect(page.locator("#mixer")).to_be_hidden()


@pytest.mark.thorough
async def test_songs_wait_for_their_turn(visit, song, unique: str) -> None:
    """Several at once: one is separated, the others say their place; what was cancelled can be sent again."""
    page = visit.page
    first, *others = song("a", seconds=100), song("b", seconds=2), song("c", seconds=2)
    await send(visit, first, model="slow")
    await visit.state(f"{unique} a", "working")
    await send(visit, *others, model="slow")
    second, third = await visit.state(f"{unique} b", "waiting"), await visit.state(f"{unique} c", "waiting")
    await expect(second.or_(third).locator(".job-facts", has_text=re.compile("^next in line"))).to_be_visible()
    await expect(second.or_(third).locator(".job-facts", has_text=re.compile("^number 2 in line"))).to_be_visible()
    await page.get_by_role("button", name=f"Cancel {unique} a").click()
    cancelled = await visit.state(f"{unique} a", "cancelled")
    await visit.state(f"{unique} c", "ready", seconds=60)
    await cancelled.get_by_role("button", name="Retry").click()
    await visit.state(f"{unique} a", "working")
    await page.get_by_role("button", name=f"Cancel {unique} a").click()
    await visit.state(f"{unique} a", "cancelled")


@pytest.mark.thorough
async def test_a_reload_loses_nothing(visit, song, unique: str) -> None:
    """What is being separated and what is ready are there again after a reload, and go on."""
    await send(visit, song("a", seconds=2))
    await visit.state(f"{unique} a", "ready")
    await send(visit, song("b", seconds=40), model="slow")
    await visit.state(f"{unique} b", "working")
    await visit.page.reload()
    await visit.state(f"{unique} a", "ready")
    await visit.state(f"{unique} b", "working")
    await visit.state(f"{unique} b", "ready", seconds=60)
    assert (await told(visit, visit.card(f"{unique} b")))["model"] == "slow"


@pytest.mark.thorough
async def test_sending_shows_how_far_it_is(visit, song, unique: str) -> None:
    """While a song is sent its card counts bytes, leaving asks first, and cancelling stops it."""
    await visit.throttle(200_000)
    await send(visit, song(seconds=10))
    card = await visit.state(unique, "sending")
    await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^[\d.]+ [kM]B of 2\.\d MB · [\d.]+ kB/s"))
    assert await visit.asks_before_leaving()
    await card.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")
    assert not await visit.asks_before_leaving()
    await visit.throttle(-1)
    await visit.card(unique).get_by_role("button", name="Retry").click()
    await visit.state(unique, "ready")


@pytest.mark.thorough
async def test_failures_are_sentences(visit, unique: str, tmp_path: Path, song) -> None:
    """What is no sound, and a model that kills its process: each says why in words, and can be tried again."""
    visit.expect_error("status of 4")
    text = tmp_path / f"{unique}.mp3"
    text.write_text("no sound at all\n" * 500)
    await send(visit, text)
    card = await visit.state(unique, "failed")
    await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^[A-Z].+\.$"))
    await expect(card.get_by_role("button", name="Retry")).to_be_visible()
    await send(visit, song("deadly", seconds=2), model="deadly")
    card = await visit.state(f"{unique} deadly", "failed", seconds=60)
    await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^[A-Z].+\.$"))
    await visit.page.reload()
    await expect(visit.card(f"{unique} deadly").get_by_role("button", name="Choose again")).to_be_visible()


@pytest.mark.thorough
async def test_the_same_song_is_not_separated_twice(visit, song, unique: str) -> None:
    """The same file again is the song that is there; by another model it is another card that goes alone."""
    page, file = visit.page, song(seconds=2)
    await send(visit, file)
    await visit.state(unique, "ready")
    await send(visit, file)
    await expect(page.locator("#toast")).to_have_text("This song is in the list already.")
    await expect(visit.card(unique)).to_have_count(1)
    await send(visit, file, model="tiny6")
    await expect(visit.card(unique)).to_have_count(2)
    await expect(page.locator('.job[data-state="ready"]').and_(visit.card(unique))).to_have_count(2)
    card = visit.card(unique).filter(has=page.locator(".job-chip", has_text=re.compile("^tiny6$")))
    await card.get_by_role("button", name="Play").click()
    await expect(page.locator("#mix-stems .stem-name")).to_have_text(
        ["Vocals", "Drums", "Bass", "Guitar", "Piano", "Other"]
    )
    await card.get_by_role("button", name="More about").click()
    await card.get_by_role("button", name="Remove", exact=True).click()
    await expect(card.locator("[data-part=question]")).to_have_text("Remove it and all its tracks for good?")
    await card.get_by_role("button", name="Remove", exact=True).last.click()
    await expect(visit.card(unique)).to_have_count(1)
    await expect(page.locator("#mixer")).to_be_hidden()
    await page.reload()
    await page.locator("#separate-form option[value=tiny]").wait_for(state="attached")
    await expect(visit.card(unique)).to_have_count(1)
    await expect(visit.card(unique).locator(".job-chip").first).to_have_text("tiny")


@pytest.mark.thorough
async def test_copies_that_fail_at_once_all_say_so(visit, song, unique: str) -> None:
    """The same file twice at a time, each of them over before its answer is read: no card waits for ever."""
    one, two = song(seconds=2), song(seconds=2).with_name(f"{unique} copy.flac")
    two.write_bytes(one.read_bytes())
    await send(visit, one, two, model="deadly")
    failed = visit.page.locator('.job[data-state="failed"]', has_text=unique)
    await expect(visit.page.locator(".job", has_text=unique)).to_have_count(1, timeout=60_000)
    await expect(failed.locator(".job-facts")).to_have_text(re.compile(r"^[A-Z].+\.$"), timeout=60_000)


@pytest.mark.parametrize("is_retried", [True, *thoroughly(False)])
async def test_an_answer_from_before_it_was_sent_is_no_news(visit, song, unique: str, is_retried: bool) -> None:
    """A song that was cancelled and is sent again is on its way, whatever an answer that took long says of it."""
    page, file = visit.page, song(seconds=100)
    await send(visit, file, model="slow")
    await visit.state(unique, "working")
    await page.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")
    old = await asyncio.to_thread(ask, visit.server, "/apiv1/songs?limit=50")
    await page.route(re.compile("/apiv1/songs"), lambda route: route.fulfill(json=old))
    if is_retried:
        await page.get_by_role("button", name=f"Retry {unique}").click()
    else:
        await send(visit, file, model="slow")
    await visit.state(unique, "working")
    await expect(page.locator("#toast")).to_be_empty()
    await page.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")


async def test_options_reach_the_server(visit, song, unique: str) -> None:
    """Model, overlap, shifts and precision are as chosen, are remembered, and the copied command says the same."""
    page, file = visit.page, song(seconds=2)
    await page.locator("#separate-form .more").click()
    for name, value in (("overlap", "0.5"), ("shifts", "2"), ("precision", "float32")):
        await page.locator(f"#separate-form [name={name}]").select_option(value)
    await expect(page.locator("#separate-form .outcome")).to_have_text("2 passes take 2 times as long.")
    await send(visit, file)
    card = await visit.state(unique, "ready")
    song_told = await told(visit, card)
    assert {name: song_told[name] for name in ("model", "overlap", "shifts", "precision")} == {
        "model": "tiny",
        "overlap": 0.5,
        "shifts": 2,
        "precision": "float32",
    }
    await card.get_by_role("button", name="More about").click()
    await card.get_by_role("button", name="Copy curl command").click()
    await expect(page.locator("#toast")).to_have_text("The curl command is copied.")
    command = await page.evaluate("navigator.clipboard.readText()")
    answer = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", f"{command} -s"], cwd=file.parent, capture_output=True, check=True, timeout=60
    )
    assert json.loads(answer.stdout) == {"hash": song_told["hash"], "reason": "Song was separated already"}
    await page.reload()
    assert await page.locator("#separate-form [name=shifts]").input_value() == "2"


async def test_models_are_offered_in_words(visit) -> None:
    """What isn't there can't be chosen and says what to do; what is downloaded first says so."""
    page = visit.page
    models = [
        {"name": "a", "sources": ["drums", "vocals"], "state": "available", "detail": "Small."},
        {"name": "b", "sources": None, "state": "needs download", "detail": ""},
        {"name": "c", "sources": ["drums", "vocals"], "state": "missing", "detail": "Fetch it: pull c."},
    ]
    told = {"default": "a", "default_reason": "b could not be downloaded", "models": models}
    await page.route("**/apiv1/models", lambda route: route.fulfill(json=told))
    await page.reload()
    options = page.locator("#separate-form [name=model] option")
    await expect(options).to_have_text(
        ["Default: a", "a, 2 stems", "b, is downloaded first", "c, 2 stems, isn’t there"]
    )
    assert [await option.is_disabled() for option in await options.all()] == [False, False, False, True]
    outcome = page.locator("#separate-form .outcome")
    await expect(outcome).to_have_text("b could not be downloaded. Drums and vocals. Small.")
    await page.locator("#separate-form [name=model]").select_option("a")
    await expect(outcome).to_have_text("Drums and vocals. Small.")
    await page.locator("#separate-form [name=model]").select_option("b")
    await expect(page.locator("#separate-form .outcome")).to_have_text(
        "The model is downloaded first, which takes a while."
    )


@pytest.mark.parametrize(("width", "scheme"), thoroughly((1280, "light"), (360, "dark")))
async def test_the_task_is_for_everybody(open_page, song, unique: str, width: int, scheme: str) -> None:
    """No violation that axe can find with cards, options and a question, and nothing wider than the window."""
    async with open_page(task="#separate", width=width, color_scheme=scheme, reduced_motion="reduce") as visit:
        await send(visit, song("a", seconds=2))
        card = await visit.state(f"{unique} a", "ready")
        await send(visit, song("b", seconds=100), model="slow")
        await visit.state(f"{unique} b", "working")
        await visit.page.locator("#separate-form .more").click()
        assert await visit.violations() == []
        await card.get_by_role("button", name="More about").click()
        await card.get_by_role("button", name="Remove", exact=True).click()
        assert await visit.violations() == []
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        await card.get_by_role("button", name="Keep").click()
        await visit.page.get_by_role("button", name=f"Cancel {unique} b").click()
        await visit.state(f"{unique} b", "cancelled")
