"""Clips as chunks in storage: decoded once, counted as they come, kept by content."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from support.sound import decode, tone

from streamsrv.errors import UnusableFile
from streamsrv.extract.clips import Clip, Clips, clip_key
from streamsrv.extract.decode import ClipTask
from streamsrv.extract.timeline import Reach
from streamsrv.media.arguments import Pcm
from streamsrv.media.tools import FfmpegTools, find_tools
from streamsrv.storage.local import LocalStorage
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

RATE = 44100
SECONDS = 60.0


@pytest.fixture
async def tools() -> FfmpegTools:
    return await find_tools("ffmpeg", "ffprobe", "auto")


@pytest.fixture
async def clips(tmp_path: Path) -> AsyncIterator[Clips]:
    async with opened(tmp_path) as clips:
        yield clips


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Clips]:
    async with DevicePool(cpu_devices(2)) as pool, Clips(LocalStorage(tmp_path / "data"), pool) as clips:
        yield clips


@pytest.fixture
def task(tools: FfmpegTools) -> Callable[..., ClipTask]:
    def make_task(source: Path, chunk_samples: int = RATE) -> ClipTask:
        return ClipTask(
            tools=tools,
            source=source,
            track=0,
            source_rate=RATE,
            start_seconds=0.0,
            declared=None,
            pcm=Pcm(sample_rate=RATE, layout="stereo", depth_bits=16, max_samples=10**9),
            channels=2,
            folder=Path(),
            chunk_samples=chunk_samples,
            max_seconds=4000.0,
        )

    return make_task


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def sound_of(clip: Clip, start: int, stop: int) -> np.ndarray:
    data = b"".join([part async for part in clip.read(start, stop)])
    return np.frombuffer(data, dtype="<i2").reshape(-1, 2)


@pytest.mark.parametrize("chunk_samples", [10_000, RATE, 66_150, 10**7])
async def test_any_samples_can_be_read(tmp_path: Path, clips: Clips, task, chunk_samples: int) -> None:
    """Whatever the chunks' size, each range of samples is what a decode in one pass has there."""
    path = tone(tmp_path / "a.flac", seconds=3)
    whole = decode(path)
    clip = await clips.clip(task(path, chunk_samples), digest(path))
    assert await clip.wait(10**9) == Reach(len(whole), is_whole=True)
    for start, stop in [(0, len(whole)), (0, 1), (RATE, 2 * RATE), (9_999, 10_001), (len(whole) - 1, len(whole))]:
        assert np.array_equal(await sound_of(clip, start, stop), whole[start:stop])


async def test_many_who_ask_share_one_decode(tmp_path: Path, clips: Clips, task) -> None:
    """Twenty who ask at once get the same clip, which is decoded once."""
    path = tone(tmp_path / "a.flac", seconds=3)
    todo = task(path)
    asked = await asyncio.gather(*(clips.clip(todo, digest(path)) for _ in range(20)))
    assert len({id(clip) for clip in asked}) == 1
    await asyncio.gather(*(clip.wait(10**9) for clip in asked))


async def test_the_first_samples_are_there_before_the_last(tmp_path: Path, clips: Clips, task) -> None:
    """Of an hour, the first seconds can be read while the rest is still being decoded."""
    path = tone(tmp_path / "hour.wav", seconds=3600)
    clip = await clips.clip(task(path), "an-hour")
    async with asyncio.timeout(SECONDS):
        reach = await clip.wait(5 * RATE)
    assert not reach.is_whole
    assert reach.samples > 5 * RATE
    assert len(await sound_of(clip, 0, 5 * RATE)) == 5 * RATE


async def test_what_was_decoded_is_kept(tmp_path: Path, task) -> None:
    """After a restart nothing is decoded again: the source may even be gone."""
    path = tone(tmp_path / "a.flac", seconds=2.5)
    todo, sha256 = task(path), digest(path)
    async with opened(tmp_path) as clips:
        clip = await clips.clip(todo, sha256)
        await clip.wait(10**9)
        before = await sound_of(clip, 0, clip.reach.samples)
    path.unlink()
    async with opened(tmp_path) as clips:
        clip = await clips.clip(todo, sha256)
        await clip.wait(10**9)
        assert np.array_equal(await sound_of(clip, 0, clip.reach.samples), before)


async def test_half_a_decode_counts_for_nothing(tmp_path: Path, task) -> None:
    """Chunks without the mark of the end were left by a server that was killed: the clip is decoded anew."""
    path = tone(tmp_path / "a.flac", seconds=3)
    todo, sha256 = task(path), digest(path)
    async with opened(tmp_path) as clips:
        await (await clips.clip(todo, sha256)).wait(10**9)
    (tmp_path / "data/files" / clip_key(todo, sha256) / "end.json").unlink()
    async with opened(tmp_path) as clips:
        clip = await clips.clip(todo, sha256)
        assert await clip.wait(10**9) == Reach(3 * RATE, is_whole=True)
        assert np.array_equal(await sound_of(clip, 0, 3 * RATE), decode(path))
    mark = tmp_path / "data/files" / clip_key(todo, sha256) / "end.json"
    assert json.loads(mark.read_text()) == {"samples": 3 * RATE}


async def test_all_who_wait_hear_what_is_wrong(tmp_path: Path, clips: Clips, task) -> None:
    """A clip that can't be decoded fails for everyone who waits, in words; asked for again, it is tried again."""
    path = tmp_path / "broken.wav"
    path.write_bytes(b"no sound at all")
    todo = task(path)
    clip = await clips.clip(todo, "broken")
    heard = await asyncio.gather(*(clip.wait(0) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in heard] == [UnusableFile] * 3
    tone(path, seconds=1)
    again = await clips.clip(todo, "broken")
    assert (await again.wait(10**9)).samples == RATE


async def test_nothing_is_left_after_a_stop(tmp_path: Path, task) -> None:
    """Who stops in the middle leaves no child, no scratch folder and no mark of an end."""
    path = tone(tmp_path / "hour.wav", seconds=3600)
    todo = task(path)
    async with opened(tmp_path) as clips:
        await (await clips.clip(todo, "an-hour")).wait(0)
    assert not list((tmp_path / "data/scratch").iterdir())
    assert not (tmp_path / "data/files" / clip_key(todo, "an-hour") / "end.json").exists()
