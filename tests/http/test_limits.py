"""What nobody may ask for: queues without an end, more samples than a server takes, the last of its disk."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import FormData
from aiohttp.test_utils import TestClient
from support.odd_files import fmt, samples, wav

Start = Callable[..., Awaitable[TestClient[Any, Any]]]
SONG = wav(samples(0.5))


def form(body: bytes = SONG, **fields: str) -> FormData:
    data = FormData(quote_fields=False, default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, value)
    data.add_field("file", io.BytesIO(body), filename="song.wav")
    return data


async def answer(client: TestClient[Any, Any], route: str, data: FormData) -> tuple[int, dict[str, Any], str]:
    async with client.post(route, data=data) as reply:
        return reply.status, await reply.json(), reply.headers.get("Retry-After", "")


async def test_a_queue_has_an_end(start: Start) -> None:
    """As many jobs wait as the settings say; the next one is told to come again, before its bytes are taken."""
    client = await start(jobs={"max_waiting": 2, "concurrency": 1})
    long = form(wav(samples(1.0) * 900))
    running = (await (await client.post("/v1/stream/transcode", data=long)).json())["job_id"]
    for _ in range(2):
        await client.post("/v1/stream/transcode", data=form(priority="background"))
    status, problem, retry_after = await answer(client, "/v1/stream/transcode", form())
    assert (status, retry_after) == (503, "30")
    assert "waiting already" in problem["detail"]
    await client.delete(f"/v1/stream/job/{running}")


async def test_uploads_at_a_time_are_bounded(start: Start) -> None:
    """While as many arrive as are taken in, the next one is told to come again; then there is room again."""
    client = await start(hls={"max_requests": 1})

    async def slowly() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + SONG[:1000]
        arrived.set()
        await refused.wait()
        yield SONG[1000:] + b"\r\n--x--\r\n"

    arrived, refused = asyncio.Event(), asyncio.Event()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    sending = asyncio.create_task(client.post("/v1/stream/transcode", data=slowly(), headers=headers))
    await arrived.wait()
    until_taken = [await answer(client, "/v1/stream/transcode", form()) for _ in range(5)]
    assert until_taken[-1][0] == 503
    refused.set()
    assert (await sending).status == 200
    assert (await answer(client, "/v1/stream/transcode", form()))[0] == 200


async def test_more_samples_than_a_server_takes_are_refused(start: Start) -> None:
    """Seconds say little of what a sound costs: rates and channels count, too, and words say so."""
    client = await start(limits={"max_samples": 30_000})
    status, problem, _ = await answer(client, "/convert", form(format="flac"))
    assert (status, "of 2 channels at 44100 Hz" in problem["detail"]) == (422, True)
    async with client.post("/convert", data=form(wav(samples(0.3)), format="flac")) as reply:
        assert reply.status == 200
    async with client.post("/v1/stream/transcode", data=form()) as reply:
        job = (await reply.json())["job_id"]
    async with client.get(f"/v1/stream/job/{job}/events") as events:
        assert "of 2 channels at 44100 Hz" in await events.text()


async def test_no_work_begins_without_room(start: Start) -> None:
    """A file that would be larger than the disk is refused before it is written."""
    client = await start()
    hours = b"\x80" * (12 * 3600 * 1000 - 1000)
    long = wav(hours, fmt(rate=1000, channels=1, bits=8))
    data = form(long, format="wv", sample_rate="192000", channels="8")
    status, problem, _ = await answer(client, "/convert", data)
    assert (status, "no space left" in problem["detail"]) == (507, True)


async def test_more_passes_than_a_server_makes_are_refused(start: Start) -> None:
    """A song of a minute would keep a device for hours; what is within is taken."""
    client = await start()
    status, problem, _ = await answer(client, "/apiv1/separate", form(shifts="20", overlap="0.95"))
    assert (status, "400 passes over the song; this server makes 16 at most" in problem["detail"]) == (400, True)
