"""Pages of others, in a browser that reaches the server: by picture, sound, script, frame, form and link."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import requests
from playwright.async_api import Browser, Page, async_playwright
from support.neighbours.answering import Answer, answering
from support.page.chromium import CHROMIUM, FLAGS
from support.page.visit import WAIT_SECONDS
from support.server import Server, serving
from support.traces.log import events

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Names that lead to this machine for this browser alone, as those of a server whose owner means harm would.
RULES = "--host-resolver-rules=MAP *.example 127.0.0.1, MAP box 127.0.0.1"
NAS = "nas.example"
REMOVE = f"/apiv1/remove/{'a' * 64}/drums"
PAGE = b"<!doctype html><title>elsewhere</title>"
# What comes of it: "load" or "error" for an element.
ELEMENT = """([name, url]) => new Promise((resolve) => {
    const element = document.createElement(name);
    for (const event of ["load", "loadeddata", "error"]) element.addEventListener(event, () => resolve(event));
    element.src = url;
    document.body.append(element);
})"""
REFERRER = """(policy) => {
    const referrer = document.createElement("meta");
    Object.assign(referrer, { name: "referrer", content: policy });
    document.head.append(referrer);
}"""
FETCH = """async ([url, options]) => {
    try { const reply = await fetch(url, options); return [reply.status, await reply.text()]; }
    catch (error) { return [error.name, ""]; }
}"""
FORM = """([url, method]) => {
    document.body.innerHTML = `<form action="${url}" method="${method}" enctype="multipart/form-data">
        <input name="quality_profile" value="low"><input type="file" name="file"></form>`;
    const files = new DataTransfer();
    files.items.add(new File(["no sound"], "a.wav"));
    document.querySelector("[type=file]").files = files.files;
    document.querySelector("form").submit();
}"""


@dataclass(frozen=True)
class World:
    """A server with a sound that it plays, a page that may use it, and one that may not."""

    server: Server
    sound: str
    friend: str
    evil: str

    def at(self, host: str, path: str = "/") -> str:
        """An address of the server by one of its names."""
        return f"http://{host}:{urlsplit(self.server.url).port}{path}"

    def statuses(self, path: str) -> set[int]:
        """How requests for this path, which the log tells of, were answered."""
        return {int(event["status"]) for event in events(self.server, "request", path=path)}

    def jobs(self) -> int:
        return len(self.server.jobs())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "media").mkdir()
    tone = ["-f", "lavfi", "-i", "sine=duration=1", str(folder / "media" / "tone.flac")]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *tone], check=True, timeout=60)
    with ExitStack() as stack:
        friend, evil = (
            stack.enter_context(answering(lambda _: Answer(200, {"Content-Type": "text/html"}, PAGE))).replace(
                "127.0.0.1", host
            )
            for host in ("friend.example", "evil.example")
        )
        settings = {
            "ALLOWED_ORIGINS": friend,
            "STREAMSRV_SERVER__HOSTS_ALLOWED": NAS,
            "STREAMSRV_EXTRACT__MEDIA_ROOTS": str(folder / "media"),
            "STREAMSRV_LOG__LEVEL": "debug",
        }
        server = stack.enter_context(serving(folder / "data", environment=settings))
        yield World(server, extracted(server, folder / "media" / "tone.flac"), friend, evil)


def extracted(server: Server, file: Path) -> str:
    """Where a sound lies that a browser plays."""
    asked = {"video_files": [file.as_uri()], "format": "flac"}
    reply = requests.post(f"{server.url}/extract_audio_segment", json=asked, timeout=WAIT_SECONDS)
    return urlsplit(reply.json()["audio_file"]).path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def misled() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, RULES])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(misled: Browser) -> AsyncIterator[Page]:
    context = await misled.new_context()
    context.set_default_timeout(WAIT_SECONDS * 1000)
    yield await context.new_page()
    await context.close()


async def fetched(page: Page, url: str, **options: Any) -> list[Any]:
    """Status and text of what a script on the page gets; the name of the error where that is nothing."""
    return list(await page.evaluate(FETCH, [url, options]))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", NAS, "0.0.0.0", "box"])
@pytest.mark.parametrize("referrer", ["origin", "no-referrer"])
async def test_a_foreign_page_gets_nothing(world: World, page: Page, host: str, referrer: str) -> None:
    """No sound plays on it, no picture, script or frame tells whether something is there, and no script reads."""
    await page.goto(world.evil)
    await page.evaluate(REFERRER, referrer)
    for name in ("audio", "img", "script"):
        for path in (world.sound, "/", "/static/main.js", "/health", "/v1/stream/jobs"):
            assert await page.evaluate(ELEMENT, [name, world.at(host, path)]) == "error"
    for path in (world.sound, "/", "/v1/stream/jobs"):
        for mode in ("cors", "no-cors"):
            assert await fetched(page, world.at(host, path), mode=mode) == ["TypeError", ""]


@pytest.mark.parametrize("host", ["localhost", NAS])
async def test_an_allowed_page_gets_all(world: World, page: Page, host: str) -> None:
    """What the test above tries comes to something where the page's origin is allowed."""
    await page.goto(world.friend)
    assert await page.evaluate(ELEMENT, ["audio", world.at(host, world.sound)]) == "loadeddata"
    assert await fetched(page, world.at(host, "/v1/stream/jobs")) == [200, '{"jobs":[],"next":null}']
    status, _ = await fetched(
        page, world.at(host, "/v1/stream/job/00000000-0000-4000-8000-000000000000"), method="DELETE"
    )
    assert status == 404


@pytest.mark.parametrize("host", ["localhost", NAS])
async def test_a_foreign_page_changes_nothing(world: World, page: Page, host: str) -> None:
    """A form that it sends, by itself or by a script, is refused, and makes no job."""
    await page.goto(world.evil)
    upload = world.at(host, "/v1/stream/transcode")
    script = """async (url) => {
        const form = new FormData();
        form.append("file", new File(["no sound"], "a.wav"));
        await fetch(url, { method: "POST", mode: "no-cors", body: form }).catch(() => undefined);
    }"""
    await page.evaluate(script, upload)
    assert await fetched(page, world.at(host, "/v1/stream/jobs"), method="DELETE") == ["TypeError", ""]
    async with page.expect_navigation(url=upload):
        await page.evaluate(FORM, [upload, "post"])
    assert "/problems/foreign-page" in await page.content()
    assert world.statuses("/v1/stream/transcode") == {403}
    assert world.jobs() == 0


@pytest.mark.parametrize("host", ["localhost", NAS, "0.0.0.0", "box"])
@pytest.mark.parametrize("referrer", ["origin", "no-referrer"])
async def test_a_foreign_page_removes_nothing(world: World, page: Page, host: str, referrer: str) -> None:
    """The GET that removes a track is refused as a picture, and as a link that somebody follows."""
    url = world.at(host, REMOVE)
    await page.goto(world.evil)
    await page.evaluate(REFERRER, referrer)
    assert await page.evaluate(ELEMENT, ["img", url]) == "error"
    async with page.expect_navigation(url=url):
        await page.evaluate("(url) => { location = url; }", url)
    assert world.statuses(REMOVE) == {403}


@pytest.mark.parametrize("host", ["localhost", NAS])
async def test_a_link_leads_to_the_page(world: World, page: Page, host: str) -> None:
    """From another site one comes to the page, which works, and to what it links to."""
    await page.goto(world.evil)
    async with page.expect_navigation():
        await page.evaluate("(url) => { location = url; }", world.at(host))
    await page.locator('#server[data-state="reachable"]').wait_for()
    await page.goto(world.evil)
    async with page.expect_navigation() as reached:
        await page.evaluate("(url) => { location = url; }", world.at(host, world.sound))
    reply = await reached.value
    assert reply is not None
    assert reply.status == 200


@pytest.mark.parametrize("host", ["localhost", NAS])
async def test_its_own_form_is_taken_without_scripts(world: World, misled: Browser, host: str, tmp_path: Path) -> None:
    """The page's own form is known as its own, also where the browser says nothing but its origin."""
    (tmp_path / "a.wav").write_bytes(b"no sound")
    context = await misled.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(world.at(host))
    await page.locator("#file").set_input_files(tmp_path / "a.wav")
    await page.get_by_role("button", name="Send").click()
    await page.wait_for_url("**/v1/stream/transcode")
    assert "/problems/refused-upload" in await page.content()
    await context.close()


async def test_a_rebound_page_gets_nothing(world: World, page: Page) -> None:
    """A page whose own name leads to the server by now, so that all there is of its origin, is told 421."""
    reply = await page.goto(world.at("evil.example"))
    assert reply is not None
    assert reply.status == 421
    paths = {"/v1/stream/jobs": "GET", world.sound: "GET", "/extract_audio": "POST", "/health": "GET"}
    for path, method in paths.items():
        status, text = await fetched(page, path, method=method)
        assert (status, "/problems/misdirected" in text) == (421, True)
