"""A real server process, a real browser, sound made in place, and what no test may leave behind on the page."""

import asyncio
import base64
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, async_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]
ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules/axe-core/axe.min.js"
DROP = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, base64] of files) {
        transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    }
    const target = document.querySelector("main");
    for (const type of ["dragenter", "dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: transfer }));
    }
}"""
START_SECONDS = 30
STOP_SECONDS = 15


@dataclass(frozen=True)
class Server:
    """`films` is the folder whose files the server may read."""

    url: str
    port: int
    films: Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_health(url: str, child: subprocess.Popen, log: Path) -> None:
    deadline = monotonic() + START_SECONDS
    while True:
        assert child.poll() is None, f"the server ended with {child.returncode}:\n{log.read_text()}"
        try:
            with urlopen(f"{url}/health", timeout=5) as reply:
                assert reply.status == 200
                return
        except (URLError, ConnectionError):
            assert monotonic() < deadline, f"the server didn't answer in time:\n{log.read_text()}"
            child_ended(child, seconds=0.1)


def child_ended(child: subprocess.Popen, *, seconds: float) -> bool:
    """Wait so long at most for the child's end."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as `python -m streamsrv serve` starts it, on a port and a data directory of its own."""
    folder = tmp_path_factory.mktemp("browser")
    films = folder / "films"
    films.mkdir()
    port, log = _free_port(), folder / "server.log"
    argv = [sys.executable, "-m", "streamsrv", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*argv, "--data-dir", str(folder / "data")],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, "STREAMSRV_EXTRACT__MEDIA_ROOTS": str(films)},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_health(url, child, log)
        yield Server(url, port, films)
    finally:
        child.terminate()
        if not child_ended(child, seconds=STOP_SECONDS):
            child.kill()
            child.wait()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


# The page asks how far a conversion is; of one that ended in that instant nothing is known any more.
LOOKED_TOO_LATE = r"status of 404 .*/convert/[0-9a-f-]{36}\)$"


@dataclass
class Visit:
    """A page that is open, with what it said and asked for."""

    page: Page
    server: Server
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect_error(self, pattern: str) -> None:
        """This test provokes console errors like this one: browsers log each refused request."""
        self.expected.append(pattern)

    def card(self, name: str) -> Locator:
        return self.page.locator(
            ".job", has=self.page.locator(".job-name", has_text=re.compile(f"^{re.escape(name)}$"))
        )

    async def state(self, name: str, state: str, *, seconds: float = 30) -> Locator:
        """The card of that name, once it is in that state."""
        card = self.page.locator(f'.job[data-state="{state}"]').and_(self.card(name))
        await card.wait_for(timeout=seconds * 1000)
        return card

    async def send(self, *files: Path) -> None:
        await self.page.locator("#file").set_input_files([str(file) for file in files])

    async def drop(self, *files: Path) -> None:
        """Drop the files on the page as a file manager would."""
        encoded = [[file.name, base64.b64encode(await asyncio.to_thread(file.read_bytes)).decode()] for file in files]
        await self.page.evaluate(DROP, encoded)

    async def throttle(self, bytes_per_second: int) -> None:
        """Let the page send at this pace from now on; -1 is as fast as it can."""
        network = await self.page.context.new_cdp_session(self.page)
        await network.send("Network.enable")
        pace = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
        await network.send("Network.emulateNetworkConditions", pace)

    async def asks_before_leaving(self) -> bool:
        leave = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"
        return not await self.page.evaluate(leave)

    async def violations(self) -> list[str]:
        """What axe-core finds on the page as it is now."""
        # The page's own policy keeps foreign scripts out, so axe comes in through the browser's debugger.
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(await asyncio.to_thread(AXE.read_text))
        found = await self.page.evaluate("axe.run().then(({ violations }) => violations)")
        return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]

    async def until(self, script: str, *, seconds: float = 30) -> None:
        """Wait until the JavaScript expression is true. (Playwright's own way needs eval, which CSP bars.)"""
        deadline = monotonic() + seconds
        while not await self.page.evaluate(script):
            assert monotonic() < deadline, f"never came true: {script}"
            await self.page.wait_for_timeout(50)

    async def audio(self, name: str) -> float:
        return await self.page.evaluate(f"document.getElementById('audio').{name}")

    def note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def note_request(self, request: Request) -> None:
        if not request.url.startswith((self.server.url, "blob:", "data:")):
            self.outside.append(request.url)

    def unexpected(self) -> list[str]:
        expected = [*self.expected, LOOKED_TOO_LATE]
        return [error for error in self.errors if not any(re.search(pattern, error) for pattern in expected)]


@asynccontextmanager
async def _open_page(
    browser: Browser, server: Server, *, width: int = 1280, task: str = "", **settings: object
) -> AsyncIterator[Visit]:
    context = await browser.new_context(viewport={"width": width, "height": 900}, **settings)
    context.set_default_timeout(10_000)
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


@dataclass
class Trickle:
    """An upload by another client that goes at a set pace: the job's id, and how to end it."""

    job_id: str
    rest: asyncio.Event

    def finish(self) -> None:
        """Send what is left at full speed."""
        self.rest.set()


async def _trickle(writer: asyncio.StreamWriter, body: bytes, *, bytes_per_second: int, rest: asyncio.Event) -> None:
    step = bytes_per_second // 10
    for start in range(0, len(body), step):
        writer.write(body[start : start + step])
        await writer.drain()
        try:
            await asyncio.wait_for(rest.wait(), 0.1)
        except TimeoutError:
            continue
        writer.write(body[start + step :])
        await writer.drain()
        return


@asynccontextmanager
async def _slow_upload(server: Server, path: Path, *, bytes_per_second: int) -> AsyncIterator[Trickle]:
    """Sends the file as a named upload with its options in the query, until `finish()` or the end of the block."""
    trickle = Trickle(str(uuid.uuid4()), asyncio.Event())
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    body = head.encode() + await asyncio.to_thread(path.read_bytes) + f"\r\n--{boundary}--\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"POST /v1/stream/transcode?job_id={trickle.job_id}&quality_profile=high HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nConnection: close\r\n\r\n".encode()
    )
    sending = asyncio.create_task(_trickle(writer, body, bytes_per_second=bytes_per_second, rest=trickle.rest))
    try:
        yield trickle
        if trickle.rest.is_set():
            await sending
            assert b" 200 " in await reader.readline()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


@pytest.fixture
def slow_upload(server: Server) -> Callable[..., AbstractAsyncContextManager[Trickle]]:
    """Another client's upload: `async with slow_upload(path, bytes_per_second=200_000) as upload`."""
    return partial(_slow_upload, server)
