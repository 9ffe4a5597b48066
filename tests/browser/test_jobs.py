"""The list of jobs: what each card says and does, and that it survives."""

import asyncio
import base64
from pathlib import Path

import pytest
from playwright.async_api import Request, Route, expect
from support.page.visit import Gate

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASTE = """([name, base64]) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData }));
}"""


async def test_a_reload_restores_the_list(visit, tone, unique: str) -> None:
    """What was sent is still there, and playable, after the page was loaded anew."""
    await visit.send(tone(f"{unique}.flac", seconds=2))
    await visit.state(unique, "ready")
    await visit.page.reload()
    card = await visit.state(unique, "ready")
    await expect(card.get_by_role("button", name=f"Play {unique}")).to_be_visible()
    assert await visit.page.locator("#list h3").first.inner_text() == "Today"


async def test_cancel_ends_a_job_that_is_being_sent(visit, tone, unique: str) -> None:
    """Cancelling stops the upload, and the server agrees that the job was cancelled."""
    visit.expect_error("409")  # the server's answer to the upload that it stopped reading
    file = tone(f"{unique}.wav", seconds=60)
    await visit.throttle(300_000)
    await visit.send(file)
    card = await visit.state(unique, "sending")
    await card.locator(".job-chip", has_text="AAC").wait_for()  # from here on the server knows the job
    await card.get_by_role("button", name=f"Cancel {unique}").click()
    await visit.state(unique, "cancelled")
    await visit.page.reload()
    await visit.state(unique, "cancelled")


async def test_cancel_ends_another_clients_job(visit, slow_upload, tone, unique: str) -> None:
    """A job that comes from elsewhere is in the list, and can be cancelled here."""
    async with slow_upload(tone(f"{unique}.wav", seconds=30), bytes_per_second=200_000):
        await visit.page.reload()
        card = await visit.state(unique, "sending")
        await card.get_by_role("button", name=f"Cancel {unique}").click()
        await visit.state(unique, "cancelled")


async def test_a_broken_file_fails_with_a_sentence_and_a_way_on(visit, tmp_path: Path, unique: str) -> None:
    """A file that is no sound says so in words, never by a code, and can be sent again."""
    visit.expect_error("status of 400")
    file = tmp_path / f"{unique}.mp3"
    file.write_bytes(b"This is text and no sound at all. " * 4000)
    await visit.send(file)
    card = await visit.state(unique, "failed")
    said = await card.locator(".job-facts").inner_text()
    assert len(said.split()) > 4
    assert said.endswith(".")
    await expect(card.locator(".job-advice")).to_contain_text("plays on your computer, or choose another one.")
    await expect(visit.page.locator("#announcer")).to_contain_text(f"{unique}.mp3: Failed.")
    first = await card.get_attribute("data-id")
    await card.get_by_role("button", name=f"Retry {unique}").click()
    await visit.page.locator(f'.job[data-id="{first}"]').wait_for(state="detached")
    await visit.state(unique, "failed")
    await expect(visit.card(unique)).to_have_count(1)


async def test_an_empty_file_is_not_even_sent(visit, tmp_path: Path, unique: str) -> None:
    """What can be known here is told at once."""
    file = tmp_path / f"{unique}.wav"
    file.touch()
    sent: list[str] = []

    def note(request: Request) -> None:
        sent.append(request.method)

    visit.page.on("request", note)
    await visit.send(file)
    card = await visit.state(unique, "failed")
    await expect(card.locator(".job-facts")).to_have_text("The file is empty. Choose one that has sound in it.")
    assert "POST" not in sent


async def test_three_uploads_are_in_flight_and_the_rest_wait(visit, tone, unique: str) -> None:
    """Of five files three are sent at once, the others as those get through; leaving the page asks meanwhile."""
    gate = Gate()
    await visit.page.route("**/v1/stream/transcode**", gate)
    files = [tone(f"{unique} {i}.flac", seconds=1) for i in range(5)]
    await visit.send(*files)
    await expect(visit.page.locator('.job[data-state="queued"]')).to_have_count(2)
    await gate.reached_by(3)
    assert gate.waiting == 3
    assert await visit.asks_before_leaving()
    gate.open()
    for i in range(5):
        await visit.state(f"{unique} {i}", "ready")
    assert not await visit.asks_before_leaving()


async def test_removing_asks_and_removes(visit, tone, unique: str) -> None:
    """Removing a stream asks first; "Keep" keeps it, "Remove" removes it for good."""
    await visit.send(tone(f"{unique}.ogg", seconds=1))
    card = await visit.state(unique, "ready")
    for answer in ("Keep", "Remove"):
        await card.get_by_role("button", name=f"More about {unique}").click()
        await card.locator("[data-action=remove]").click()
        await card.locator(".job-confirm").get_by_role("button", name=answer).click()
        await expect(card).to_have_count(1 if answer == "Keep" else 0)
    await visit.page.reload()
    await visit.page.locator("#stream-task:not(.unknown)").wait_for()
    await expect(visit.card(unique)).to_have_count(0)


async def test_links_and_commands_are_copied(visit, tone, unique: str) -> None:
    """The copied link plays elsewhere, and the copied command sends the same file with the same options."""
    await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visit.page.get_by_role("radio", name="Low").check()
    await visit.send(tone(f"{unique}.flac", seconds=1))
    card = await visit.state(unique, "ready")
    job_id = await card.get_attribute("data-id")
    await card.get_by_role("button", name=f"Copy the m3u8 link of {unique}").click()
    await visit.page.get_by_text("The m3u8 link is copied.").wait_for()
    read = "navigator.clipboard.readText()"
    assert await visit.page.evaluate(read) == f"{visit.server.url}/v1/stream/hls/{job_id}/index.m3u8"
    await card.get_by_role("button", name=f"More about {unique}").click()
    await card.locator("[data-action=curl]").click()
    await visit.page.get_by_text("The curl command is copied.").wait_for()
    command = await visit.page.evaluate(read)
    assert command.startswith("curl -F quality_profile=low -F priority=normal -F ")
    assert f'-F "file=@{unique}.flac" {visit.server.url}/v1/stream/transcode' in command


async def test_the_filter_shows_what_it_names(visit, tone, tmp_path: Path, unique: str) -> None:
    """Each filter shows its jobs and no others."""
    empty = tmp_path / f"{unique} empty.wav"
    empty.touch()
    await visit.send(tone(f"{unique}.mp3", seconds=1), empty)
    await visit.state(unique, "ready")
    await visit.page.get_by_role("radio", name="Failed").check()
    await expect(visit.card(f"{unique} empty")).to_be_visible()
    await expect(visit.card(unique)).to_have_count(0)
    await visit.page.get_by_role("radio", name="Ready").check()
    await expect(visit.card(unique)).to_be_visible()
    await expect(visit.card(f"{unique} empty")).to_have_count(0)


async def test_more_jobs_are_loaded_on_demand(visit) -> None:
    """A list longer than a page can be read to its end."""

    def job(number: int) -> dict:
        made = f"2020-01-01T00:{59 - number:02}:00Z"
        base = {"id": f"00000000-0000-4000-8000-{number:012}", "status": "Cancelled", "phase": "ended", "progress": 0}
        return {**base, "source_name": f"old {number}.wav", "created_at": made, "live_url": None, "codec": "aac"}

    async def reply(route: Route) -> None:
        first = 30 if "before=next" in route.request.url else 0
        jobs = [job(number) for number in range(first, min(first + 30, 40))]
        await route.fulfill(json={"jobs": jobs, "next": None if first else "next"})

    await visit.page.route("**/v1/stream/jobs?**", reply)
    await visit.page.reload()
    await expect(visit.page.locator(".job")).to_have_count(30)
    await visit.page.get_by_role("button", name="Load more").click()
    await expect(visit.page.locator(".job")).to_have_count(40)
    await expect(visit.page.get_by_role("button", name="Load more")).to_be_hidden()


async def test_progress_comes_by_events(visit, slow_upload, tone, unique: str) -> None:
    """A running job is followed by server-sent events, not only by asking again and again."""
    visit.expect_error("v1/stream/jobs")
    async with slow_upload(tone(f"{unique}.wav", seconds=20), bytes_per_second=300_000) as upload:
        async with visit.page.expect_request(f"**/v1/stream/job/{upload.job_id}/events"):
            await visit.page.reload()
        await visit.page.route("**/v1/stream/jobs?**", lambda route: route.fulfill(status=503, json={}))
        await visit.page.route(f"**/v1/stream/job/{upload.job_id}", lambda route: route.abort())
        await upload.finish()
        await visit.state(unique, "ready")


async def test_without_events_the_page_asks_again(visit, tone, unique: str) -> None:
    """Where a proxy lets no event stream through, the list is polled."""
    visit.expect_error("/events")
    await visit.page.route("**/events", lambda route: route.fulfill(status=502))
    await visit.send(tone(f"{unique}.flac", seconds=30))
    await visit.state(unique, "ready")


async def test_a_pasted_file_is_sent(visit, tone, unique: str) -> None:
    """Files come in by pasting, too."""
    file = tone(f"{unique}.ogg", seconds=1)
    data = base64.b64encode(await asyncio.to_thread(file.read_bytes)).decode()
    await visit.page.evaluate(PASTE, [file.name, data])
    await visit.state(unique, "ready")
