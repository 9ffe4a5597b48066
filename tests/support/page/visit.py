"""A page that a test visits: what is done on it, what it says, and what it asks for."""

import asyncio
import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import ConsoleMessage, Locator, Page, Request, Route, expect

from support.checkout import ROOT
from support.deadline import eventually

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
# The seconds that the mixer's clock shows.
CLOCK = "document.getElementById('mix-now').textContent.split(':').reduce((minutes, part) => 60 * minutes + +part, 0)"
# Where two workers share a machine, a browser may have to wait long for its turn.
WAIT_SECONDS = 30
expect.set_options(timeout=WAIT_SECONDS * 1000)


@dataclass(frozen=True)
class Server:
    """`films` is the folder whose files the server may read."""

    url: str
    port: int
    films: Path


# The page asks how far a conversion is; of one that ended in that instant nothing is known any more.
LOOKED_TOO_LATE = r"status of 404 .*/convert/[0-9a-f-]{36}\)$"


@dataclass
class Gate:
    """Keeps the requests that come to it waiting until it is opened."""

    waiting: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, route: Route) -> None:
        self.waiting += 1
        await self._open.wait()
        await route.continue_()

    async def reached_by(self, count: int) -> None:
        await eventually(lambda: self.waiting >= count, what=lambda: f"{self.waiting} requests have come")

    def open(self) -> None:
        self._open.set()


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

    async def state(self, name: str, state: str, *, seconds: float = WAIT_SECONDS) -> Locator:
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

    async def until(self, script: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the JavaScript expression is true. (Playwright's own way needs eval, which CSP bars.)"""
        await eventually(lambda: self.page.evaluate(script), seconds=seconds, what=lambda: script)

    async def heard(self, seconds: int) -> None:
        """Wait until the mixer's clock shows that second, or a later one."""
        await self.until(f"{CLOCK} >= {seconds}")

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
