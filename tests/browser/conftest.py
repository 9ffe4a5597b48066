"""A real server process, a real browser, sound made in place, and what no test may leave behind on the page."""

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright
from support.page.chromium import CHROMIUM, FLAGS
from support.page.visit import WAIT_SECONDS, Server, Visit
from support.server import serving
from support.wire.link import Link, linked
from support.wire.messages import closed, file_part, new_id


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as `python -m streamsrv serve` starts it, on a port and a data directory of its own."""
    folder = tmp_path_factory.mktemp("browser")
    films = folder / "films"
    films.mkdir()
    with serving(folder / "data", environment={"STREAMSRV_EXTRACT__MEDIA_ROOTS": str(films)}) as running:
        yield Server(running.url, int(running.url.rpartition(":")[2]), films)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def _open_page(
    browser: Browser, server: Server, *, width: int = 1280, task: str = "", **settings: Any
) -> AsyncIterator[Visit]:
    context = await browser.new_context(viewport={"width": width, "height": 900}, **settings)
    context.set_default_timeout(WAIT_SECONDS * 1000)
    page = await context.new_page()
    visit = Visit(page, server)
    page.on("console", visit.note_console)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("request", visit.note_request)
    await page.goto(f"{server.url}/{task}")
    await page.locator('#server[data-state="reachable"]').wait_for()
    yield visit
    await context.close()
    assert visit.unexpected() == []
    assert visit.outside == []


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Callable[..., AbstractAsyncContextManager[Visit]]:
    """Opens the page: `async with open_page(width=360, color_scheme="dark", task="#convert") as visit`.

    No test may see a console error that it doesn't expect, nor a request that leaves the server's origin.
    """
    return partial(_open_page, browser, server)


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_page: Callable[..., AbstractAsyncContextManager[Visit]]) -> AsyncIterator[Visit]:
    """The page in a window of 1280 x 900."""
    async with open_page() as visit:
        yield visit


@pytest.fixture
def unique() -> str:
    """A name that no other test's job has."""
    return f"tone {uuid.uuid4().hex[:8]}"


@pytest.fixture
def tone(tmp_path: Path) -> Callable[..., Path]:
    """Makes a file of two mixed tones: `tone("name.flac", seconds=3)`; the suffix decides the format."""

    def make(name: str, *, seconds: float) -> Path:
        path = tmp_path / name
        source = f"aevalsrc=0.3*sin(440*2*PI*t)|0.3*sin(660*2*PI*t):s=44100:d={seconds}"
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-y", str(path)],
            check=True,
            timeout=60,
        )
        return path

    return make


@dataclass(frozen=True)
class Trickle:
    """An upload by another client that goes at a set pace: the job's id, and how to end it."""

    job_id: str
    link: Link
    sending: asyncio.Task[None]

    async def finish(self) -> None:
        """Send what is left at full speed; it is taken."""
        await self.stop()
        assert (await self.link.finish()).status == 200

    async def stop(self) -> None:
        self.sending.cancel()
        await asyncio.gather(self.sending, return_exceptions=True)


@asynccontextmanager
async def _slow_upload(server: Server, path: Path, *, bytes_per_second: int) -> AsyncIterator[Trickle]:
    """Sends the file as a named upload with its options in the query, until `finish()` or the end of the block."""
    job_id, body = new_id(), closed(file_part(path.name, await asyncio.to_thread(path.read_bytes)))
    async with linked(server.port) as link:
        await link.post(f"/v1/stream/transcode?job_id={job_id}&quality_profile=high", body)
        trickle = Trickle(job_id, link, asyncio.create_task(link.send_at(bytes_per_second)))
        try:
            yield trickle
        finally:
            await trickle.stop()


@pytest.fixture
def slow_upload(server: Server) -> Callable[..., AbstractAsyncContextManager[Trickle]]:
    """Another client's upload: `async with slow_upload(path, bytes_per_second=200_000) as upload`."""
    return partial(_slow_upload, server)
