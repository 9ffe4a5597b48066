"""Clips as chunks on a shelf: decoded once, counted as they come, kept by content."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.sound import decode, tone

from streamsrv.errors import InternalError, SourceChanged, UnusableFile
from streamsrv.extract.clips import Clip, Clips, clip_key
from streamsrv.extract.decode import ClipTask
from streamsrv.extract.identity import Identity
from streamsrv.extract.sources import SourceFile
from streamsrv.extract.timeline import Reach
from streamsrv.media.arguments import Pcm
from streamsrv.media.feed import FilePart
from streamsrv.media.film import Film, Track
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import STRICT
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.shelf import Shelf
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

RATE = 44100
SECONDS = 60.0
GRID = Pcm(sample_rate=RATE, layout="stereo", channels=2, depth_bits=16)


@pytest.fixture
async def clips(tmp_path: Path) -> AsyncIterator[Clips]:
    async with opened(tmp_path) as clips:
        yield clips


@asynccontextmanager
async def opened(tmp_path: Path, *, workers: int = 2) -> AsyncIterator[Clips]:
    shelf = Shelf(tmp_path / "shelf", max_bytes=1 << 30, survives_reboot=False)
    async with shelf, DevicePool(cpu_devices(workers)) as pool, Clips(shelf, pool) as clips:
        yield clips


@pytest.fixture
def task(tools: FfmpegTools) -> Callable[..., ClipTask]:
    def make_task(source: Path, chunk_samples: int = RATE) -> ClipTask:
        track = Track(0, "flac", RATE, 2, 16, None)
        return ClipTask(
            tools=tools,
            source=source,
            identity=Identity.of(source.stat()),
            film=Film(None, (track,)),
            track=track,
            terms=STRICT,
            grid=GRID,
            folder=Path(),
            stop=Path(),
            chunk_samples=chunk_samples,
            max_seconds=4000.0,
        )

    return make_task


class Lend:
    """Takes clips until the test ends, or until `stack` is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def __call__(self, clips: Clips, task: ClipTask, sha256: str = "") -> Clip:
        source = source_of(task)
        return self.stack.enter_context(clips.lend(task, source, sha256 or digest(task.source), 0))


@pytest.fixture
async def lend() -> AsyncIterator[Lend]:
    with ExitStack() as stack:
        yield Lend(stack)


def source_of(task: ClipTask) -> SourceFile:
    @asynccontextmanager
    async def held() -> AsyncIterator[Path]:
        yield task.source

    return SourceFile(task.source.as_uri(), task.source, task.identity, held)


def an_hour(folder: Path) -> Path:
    """A file that is made quickly and takes seconds to be decoded, since it is brought to another grid."""
    return tone(folder / "hour.wav", seconds=3600, rate=8000, channels=1)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bytes_of(part: FilePart) -> bytes:
    return part.path.read_bytes()[part.offset : part.offset + part.count]


def sound_of(clip: Clip, start: int, stop: int) -> np.ndarray:
    data = b"".join(bytes_of(part) for part in clip.read(start, stop))
    return np.frombuffer(data, dtype="<i2").reshape(-1, 2)


@pytest.mark.parametrize("chunk_samples", [10_000, RATE, 66_150, 10**7])
async def test_any_samples_can_be_read(tmp_path: Path, clips: Clips, task, lend, chunk_samples: int) -> None:
    """Whatever the chunks' size, each range of samples is what a decode in one pass has there."""
    path = tone(tmp_path / "a.flac", seconds=3)
    whole = decode(path)
    clip = lend(clips, task(path, chunk_samples))
    assert await clip.wait(10**9) == Reach(len(whole), is_whole=True)
    for start, stop in [(0, len(whole)), (0, 1), (RATE, 2 * RATE), (9_999, 10_001), (len(whole) - 1, len(whole))]:
        assert np.array_equal(sound_of(clip, start, stop), whole[start:stop])


async def test_many_who_ask_share_one_decode(tmp_path: Path, clips: Clips, task, lend) -> None:
    """Twenty who ask at once get the same clip, which is decoded once."""
    todo = task(tone(tmp_path / "a.flac", seconds=3))
    asked = [lend(clips, todo) for _ in range(20)]
    assert len({id(clip) for clip in asked}) == 1
    await asyncio.gather(*(clip.wait(10**9) for clip in asked))


async def test_the_first_samples_are_there_before_the_last(tmp_path: Path, clips: Clips, task, lend) -> None:
    """Of an hour, the first seconds can be read while the rest is still being decoded."""
    clip = lend(clips, task(an_hour(tmp_path)), "an-hour")
    async with asyncio.timeout(SECONDS):
        reach = await clip.wait(5 * RATE)
    assert not reach.is_whole
    assert reach.samples > 5 * RATE
    assert len(sound_of(clip, 0, 5 * RATE)) == 5 * RATE


async def test_what_was_decoded_is_kept(tmp_path: Path, task) -> None:
    """After a restart nothing is decoded again: the source may even be gone."""
    path = tone(tmp_path / "a.flac", seconds=2.5)
    todo, sha256 = task(path), digest(path)
    for _ in range(2):
        async with opened(tmp_path) as clips:
            with clips.lend(todo, source_of(todo), sha256, 0) as clip:
                assert await clip.wait(10**9) == Reach(int(2.5 * RATE), is_whole=True)
                assert len(sound_of(clip, 0, clip.reach.samples)) == int(2.5 * RATE)
        path.unlink(missing_ok=True)


async def test_half_a_decode_counts_as_far_as_it_came(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """Chunks that a killed server left can be read at once; the end comes once all was decoded again."""
    path = tone(tmp_path / "a.flac", seconds=3)
    todo, sha256 = task(path), digest(path)
    async with opened(tmp_path) as clips:
        with clips.lend(todo, source_of(todo), sha256, 0) as clip:
            await clip.wait(10**9)
    folder = tmp_path / "shelf" / clip_key(todo, sha256)
    (folder / "end.json").unlink()
    (folder / "000002.pcm").unlink()
    async with opened(tmp_path) as clips:
        with clips.lend(todo, source_of(todo), sha256, 0) as clip:
            assert await clip.wait(0) == Reach(2 * RATE, is_whole=False)
            assert await clip.wait(10**9) == Reach(3 * RATE, is_whole=True)
            assert np.array_equal(sound_of(clip, 0, 3 * RATE), decode(path))
    assert json.loads((folder / "end.json").read_text()) == {"samples": 3 * RATE, "lost_seconds": 0.0}


async def test_all_who_wait_hear_what_is_wrong(tmp_path: Path, clips: Clips, task, lend) -> None:
    """A clip that can't be decoded fails for everyone who waits, in words; asked for again, it is tried again."""
    path = tmp_path / "broken.wav"
    path.write_bytes(b"no sound at all")
    clip = lend(clips, task(path), "broken")
    heard = await asyncio.gather(*(clip.wait(0) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in heard] == [UnusableFile] * 3
    tone(path, seconds=1)
    again = lend(clips, task(path), "broken")
    assert (await again.wait(10**9)).samples == RATE


async def test_a_source_that_changes_leaves_nothing(tmp_path: Path, clips: Clips, task, lend) -> None:
    """What was decoded of a file that became another one meanwhile isn't taken for the one it was."""
    path = tone(tmp_path / "a.flac", seconds=3)
    todo, sha256 = task(path), digest(path)
    tone(path, seconds=3, hertz=880)
    with pytest.raises(SourceChanged):
        await lend(clips, todo, sha256).wait(10**9)
    assert not (tmp_path / "shelf" / clip_key(todo, sha256)).exists()


async def test_what_nobody_waits_for_is_given_up_or_ended(tmp_path: Path, task, lend) -> None:
    """When nobody has a clip any more, one that hasn't begun leaves the queue; one that has begun comes to its end."""
    long, short = an_hour(tmp_path), tone(tmp_path / "short.wav", seconds=1)
    async with opened(tmp_path, workers=1) as clips:
        begun = lend(clips, task(long), "long")
        await begun.wait(0)
        waiting = lend(clips, task(short), "short")
        lend.stack.close()
        with pytest.raises(InternalError, match="given up"):
            await waiting.wait(0)
        assert (await begun.wait(10**9)).is_whole


async def test_what_nobody_has_is_given_up_after_a_while(
    tmp_path: Path, clips: Clips, task, lend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that was begun and left isn't decoded to its end for nobody; its worker is free again."""
    monkeypatch.setattr("streamsrv.extract.clips._LEAD_SECONDS", 0.0)
    todo = task(an_hour(tmp_path))
    clip = lend(clips, todo, "an-hour")
    await clip.wait(0)
    lend.stack.close()
    with pytest.raises(InternalError, match="given up"):
        await clip.wait(10**9)
    again = lend(clips, todo, "an-hour")
    assert (await again.wait(10**9)).samples == pytest.approx(3600 * RATE, abs=100)


async def test_what_came_before_a_failure_can_be_had(tmp_path: Path, clips: Clips, task, lend) -> None:
    """A clip that breaks off gives the samples before that to everyone who asks for them, and then its error."""
    path = tone(tmp_path / "a.wav", seconds=3)
    todo = task(path)
    cut = replace(todo, track=replace(todo.track, declared=Declared(9.0, 0.0)))
    clip = lend(clips, cut)
    for _ in range(3):
        assert (await clip.wait(2 * RATE)).samples == 3 * RATE
        with pytest.raises(UnusableFile, match="ends in the middle"):
            await clip.wait(3 * RATE)


async def test_nothing_is_left_after_a_stop(tmp_path: Path, task, lend) -> None:
    """Who stops in the middle leaves no child and no mark of an end."""
    todo = task(an_hour(tmp_path))
    async with opened(tmp_path) as clips:
        await lend(clips, todo, "an-hour").wait(0)
        lend.stack.close()
    assert not (tmp_path / "shelf" / clip_key(todo, "an-hour") / "end.json").exists()
