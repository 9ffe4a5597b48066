"""The page of a server that nobody gave the extra `separate`: it speaks of nothing that can't be done there."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Locator, expect
from support.page.visit import Visit
from support.server import Server, serving
from support.songs import WITHOUT
from support.spread import thoroughly

pytestmark = pytest.mark.asyncio(loop_scope="session")

TABS = ["Stream", "Convert", "Extract"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("without") / "data", environment=WITHOUT) as server:
        yield server


def tabs(visit: Visit) -> Locator:
    return visit.page.get_by_role("tab")


@pytest.mark.parametrize("width", [1280, *thoroughly(360)])
async def test_there_is_no_tab_for_songs(open_page, width: int) -> None:
    """Neither a tab nor a form for songs is there, nor a word of separating, and no error."""
    async with open_page(width=width) as visit:
        await expect(tabs(visit)).to_have_text(TABS)
        assert await visit.page.locator("[id^=separate]").count() == 0
        for task in ("stream", "convert", "extract"):
            await visit.page.locator(f"#{task}-tab").click()
            await visit.page.locator(f"#{task}-task form").first.wait_for()
            assert "separat" not in (await visit.page.locator("body").inner_text()).lower()
        assert await visit.violations() == []


async def test_its_address_leads_to_the_first_tab(open_page, unique: str, tone) -> None:
    """Who comes by a link to "#separate" finds the first task open, and may use it."""
    async with open_page(task="#separate") as visit:
        await expect(visit.page.locator("[role=tab][aria-selected=true]")).to_have_text(TABS[0])
        await expect(visit.page).to_have_title("Stream · streamsrv")
        assert await visit.page.locator(".task:visible").count() == 1
        await visit.drop(tone(f"{unique}.flac", seconds=1))
        await visit.state(unique, "ready")


async def test_keys_go_through_what_is_there(open_page) -> None:
    """The arrows go from each tab to the next one that there is, and round."""
    async with open_page() as visit:
        await tabs(visit).first.focus()
        for name in [*TABS[1:], TABS[0]]:
            await visit.page.keyboard.press("ArrowRight")
            await expect(visit.page.locator("[role=tab][aria-selected=true]")).to_have_text(name)
