"""Separating on the page of a server that has no model but the one that came along."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect
from support.server import Server, serving
from support.songs import music
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHY = "htdemucs isn't on this server, which may not download it"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One as it is without any settings, on a machine where nothing was ever downloaded."""
    folder = tmp_path_factory.mktemp("built in")
    with serving(folder / "data") as server:
        yield server


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), *thoroughly((360, "dark"))])
async def test_the_page_says_which_model_was_used_and_why(
    open_page, tmp_path: Path, unique: str, width: int, scheme: str
) -> None:
    """Before a song is sent the form says what it gets; its card says so from then on, also after a reload."""
    async with open_page(task="#separate", width=width, color_scheme=scheme) as visit:
        form = visit.page.locator("#separate-form")
        await expect(form.locator("[name=model] option").first).to_have_text("Default: streamsrv-small")
        outcome = form.locator(".outcome")
        await expect(outcome).to_have_text(re.compile(f"^{WHY}. Drums, bass.* never heard a real record.$"))
        await visit.drop(music(tmp_path / f"{unique}.flac", seconds=2, seed=width))
        card = await visit.state(unique, "ready", seconds=60)
        await visit.page.reload()
        await card.wait_for()
        await expect(card.locator(".job-chip")).to_have_text("streamsrv-small")
        await expect(card.locator(".job-advice")).to_have_text(f"{WHY}; used the small built-in model.")
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert await visit.violations() == []
        await form.locator("[name=model]").select_option("streamsrv-small")
        await expect(outcome).to_have_text(re.compile("^Drums, bass.* never heard a real record.$"))


async def test_the_demo_song_is_sent_like_a_chosen_file(open_page) -> None:
    """A newcomer without a song separates and plays one that comes with the page, and is loaded only now."""
    async with open_page(task="#separate") as visit:
        page, loaded = visit.page, []
        page.on("request", lambda request: loaded.append(request.url))
        await page.reload()
        await expect(page.locator("#separate-form [name=model] option").first).to_have_text(re.compile("^Default: "))
        assert not [url for url in loaded if url.endswith(".mp3")]
        async with page.expect_request("**/apiv1/separate?*") as sending:
            await page.get_by_role("button", name="Try it with a sample").click()
        assert (await sending.value).method == "POST"
        assert [url for url in loaded if url.endswith(".mp3")] == [f"{visit.server.url}/static/demo/song.mp3"]
        card = await visit.state("Demo song", "ready", seconds=60)
        await expect(card.locator(".job-facts")).to_have_text(re.compile(r"^0:20 · "))
        await card.get_by_role("button", name="Play Demo song").click()
        await visit.heard(1)
        await expect(page.locator("#mix-stems .stem-name")).to_have_text(["Vocals", "Drums", "Bass", "Other"])


async def test_a_demo_song_that_is_missing_is_told(open_page) -> None:
    """Where it can't be loaded the page says so in a sentence, and sends nothing."""
    async with open_page(task="#separate") as visit:
        visit.expect_error("status of 404 .*song.mp3")
        sent: list[str] = []
        visit.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        await visit.page.route("**/demo/song.mp3", lambda route: route.fulfill(status=404))
        await visit.page.get_by_role("button", name="Try it with a sample").click()
        await expect(visit.page.locator("#toast")).to_have_text(re.compile("^The demo song couldn’t be loaded. This"))
        assert sent == []
