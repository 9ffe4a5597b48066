"""Files that aren't what they seem: kinds of sound that change, headers that are wrong, ends that are missing."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from support.sound import decode, tone

Start = Callable[..., Awaitable[TestClient[Any, Any]]]


async def convert(start: Start, data: bytes, form: str) -> tuple[int, bytes]:
    client = await start()
    body = aiohttp.FormData({"format": form})
    body.add_field("file", io.BytesIO(data), filename="song")
    async with client.post("/convert", data=body) as reply:
        return reply.status, await reply.read()


@pytest.mark.parametrize("form", ["wav", "flac", "m4a"])
async def test_sound_that_changes_its_kind_is_refused(start: Start, tmp_path: Path, form: str) -> None:
    """Where the sample rate changes in the middle, samples would be lost: that is said, and never answered with 200."""
    one = await asyncio.to_thread(tone, tmp_path / "a.mp3", seconds=2, options="-write_xing 0")
    two = await asyncio.to_thread(tone, tmp_path / "b.mp3", seconds=2, rate=22050, channels=1, options="-write_xing 0")
    status, body = await convert(start, one.read_bytes() + two.read_bytes(), form)
    assert (status, b"changes its sample rate" in body) == (422, True)


async def test_wide_flac_is_whole(start: Start, tmp_path: Path) -> None:
    """FLAC of many channels at a high rate comes back, sample for sample."""
    path = await asyncio.to_thread(
        tone, tmp_path / "wide.wav", seconds=1, rate=192000, channels=6, options="-c:a pcm_s24le"
    )
    status, body = await convert(start, path.read_bytes(), "flac")
    assert status == 200
    made = tmp_path / "made.flac"
    made.write_bytes(body)
    assert (decode(made) == decode(path)).all()


@pytest.mark.parametrize("samples", [1, 1025, 102_401])
async def test_any_length_fits_into_an_m4a(start: Start, tmp_path: Path, samples: int) -> None:
    """Sound that ends a sample behind a frame of AAC loses nothing."""
    options = f"-af atrim=end_sample={samples}"
    path = await asyncio.to_thread(tone, tmp_path / "a.wav", seconds=3, options=options)
    status, body = await convert(start, path.read_bytes(), "m4a")
    assert status == 200
    (tmp_path / "made.m4a").write_bytes(body)
    assert len(decode(tmp_path / "made.m4a")) >= samples


@pytest.mark.parametrize(
    ("name", "options"), [("a.avi", "-c:a pcm_s16le"), ("a.flv", "-c:a libmp3lame"), ("a.wma", ""), ("a.au", "")]
)
async def test_half_a_file_is_refused(start: Start, tmp_path: Path, name: str, options: str) -> None:
    """What states its length is held to it, whichever way it does."""
    path = await asyncio.to_thread(tone, tmp_path / name, seconds=6, options=options)
    data = path.read_bytes()
    assert (await convert(start, data, "wav"))[0] == 200
    status, body = await convert(start, data[: len(data) // 2], "wav")
    assert (status, b"in the middle" in body) == (422, True)


async def test_more_frames_than_the_header_counts(start: Start, tmp_path: Path) -> None:
    """An MP3 with a frame more than its header says gives the same sound, whichever way it is sent."""
    path = await asyncio.to_thread(tone, tmp_path / "a.mp3", seconds=100, options="-b:a 320k")
    data = path.read_bytes()
    at = data.index(b"Info") if b"Info" in data[:8192] else data.index(b"Xing")
    data = data[: at + 8] + (int.from_bytes(data[at + 8 : at + 12]) - 1).to_bytes(4) + data[at + 12 :]
    client = await start()
    made = []
    for early in (True, False):
        body = aiohttp.FormData()
        if early:
            body.add_field("format", "wav")
        body.add_field("file", slowly(data), filename="song.mp3")
        if not early:
            body.add_field("format", "wav")
        async with client.post("/convert", data=body) as reply:
            assert reply.status == 200
            made.append(await reply.read())
    assert made[0] == made[1]


async def slowly(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1 << 18):
        yield data[at : at + (1 << 18)]
        await asyncio.sleep(0.05)  # this is how a slow sender sends


async def test_a_part_without_a_sample_is_said(start: Start, tmp_path: Path) -> None:
    """A duration so short that no sample is in it is the request's fault, not the file's."""
    client = await start()
    path = await asyncio.to_thread(tone, tmp_path / "a.wav", seconds=1)
    body = aiohttp.FormData({"format": "wav", "duration": "0.0001", "sample_rate": "8000"})
    body.add_field("file", path.read_bytes(), filename="a.wav")
    async with client.post("/convert", data=body) as reply:
        assert (reply.status, "too short" in (await reply.json())["detail"]) == (400, True)
