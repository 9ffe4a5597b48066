"""Clips decoded into chunks by a process of the pool, against one pass of ffmpeg's own."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.deadline import eventually
from support.server import descendants
from support.sound import FFMPEG
from support.traces.processes import alive, command_of

from streamsrv.errors import InternalError, SourceChanged, UnusableFile
from streamsrv.extract.decode import ClipTask, Ended, chunk_name, decode_clip
from streamsrv.extract.identity import Identity
from streamsrv.media.arguments import Pcm
from streamsrv.media.film import Film, probe_film
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import STRICT
from streamsrv.media.tools import FfmpegTools
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

PICTURE = "-f lavfi -i testsrc=size=64x48:rate=10:duration=4"
NOISE = "aevalsrc=0.3*sin(880*2*PI*t)+0.1*random(0)|0.3*sin(660*2*PI*t):s=44100:d=3"
FILMS = {
    "two tracks.mp4": f"-f lavfi -i {NOISE} -f lavfi -i sine=d=3:r=48000 {PICTURE} -map 2:v -map 0:a -map 1:a "
    "-c:v libx264 -preset ultrafast -c:a aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu",
    "two tracks.mkv": f"-f lavfi -i {NOISE} -f lavfi -i sine=d=3:r=48000 {PICTURE} -map 2:v -map 0:a -map 1:a "
    "-c:v libx264 -preset ultrafast -c:a aac",
    "opus.webm": f"-f lavfi -i {NOISE} {PICTURE} -map 1:v -map 0:a -c:v libvpx -deadline realtime -c:a libopus",
    "mp3.avi": f"-f lavfi -i {NOISE} {PICTURE} -map 1:v -map 0:a -c:v mpeg4 -c:a libmp3lame",
    "pcm.mov": f"-f lavfi -i {NOISE} {PICTURE} -map 1:v -map 0:a -c:v mpeg4 -c:a pcm_s24le",
    "flac.mkv": f"-f lavfi -i {NOISE} {PICTURE} -map 1:v -map 0:a -c:v mpeg4 -c:a flac",
    "song.ogg": f"-f lavfi -i {NOISE} -c:a libvorbis",
}
LATE = f"{PICTURE} -itsoffset 0.5 -f lavfi -i sine=d=2:r=44100 -map 0:v -map 1:a -c:v mpeg4 -c:a pcm_s16le"
HOLED = "-f lavfi -i sine=d=3:r=44100 -af aselect='not(between(t,{start},{end}))' -c:a flac"


@pytest.fixture
async def pool() -> AsyncIterator[DevicePool]:
    async with DevicePool(cpu_devices(2)) as pool:
        yield pool


def make(path: Path, options: str) -> Path:
    subprocess.run([*FFMPEG, *options.split(), str(path)], check=True, timeout=60)
    return path


@pytest.fixture
def task(tools: FfmpegTools, tmp_path: Path) -> Callable[..., ClipTask]:
    """The task that decodes a film's track at its own rate, into chunks of a second in a folder of its own."""

    def make_task(path: Path, film: Film, number: int = 0, **changes: object) -> ClipTask:
        track = film.tracks[number]
        folder = tmp_path / f"{path.name}.{number}.chunks"
        folder.mkdir()
        settings: dict[str, Any] = {
            "track": track,
            "terms": STRICT,
            "grid": Pcm(sample_rate=track.sample_rate, layout="stereo", channels=2, depth_bits=16),
            "chunk_samples": track.sample_rate,
            "max_seconds": 1000.0,
            **changes,
        }
        identity = Identity.of(path.stat())
        stop = tmp_path / "stop"
        return ClipTask(tools=tools, source=path, identity=identity, film=film, folder=folder, stop=stop, **settings)

    return make_task


def joined(task: ClipTask) -> np.ndarray:
    """All chunks one after the other, int16 [samples, channels]."""
    names = sorted(path.name for path in task.folder.glob("*.pcm"))
    assert names == [chunk_name(number) for number in range(len(names))]
    data = b"".join((task.folder / name).read_bytes() for name in names)
    return np.frombuffer(data, dtype="<i2").reshape(-1, 2)


def one_pass(path: Path, track: int, rate: int) -> np.ndarray:
    argv = [*FFMPEG, "-i", str(path), "-map", f"0:a:{track}", "-ac", "2", "-ar", str(rate), "-f", "s16le", "pipe:1"]
    raw = subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout
    return np.frombuffer(raw, dtype="<i2").reshape(-1, 2)


@pytest.mark.parametrize("name", FILMS)
async def test_chunks_joined_are_the_sound(name: str, tmp_path: Path, task, tools: FfmpegTools) -> None:
    """The chunks of each track are its decode in one pass, sample for sample, but for silence where it begins late."""
    path = make(tmp_path / name, FILMS[name])
    film = await probe_film(tools, path)
    assert len(film.tracks) == (2 if name.startswith("two") else 1)
    for track in film.tracks:
        todo = task(path, film, track.number)
        ended = await asyncio.to_thread(decode_clip, todo)
        sound, plain = joined(todo), one_pass(path, track.number, track.sample_rate)
        late = len(sound) - len(plain)
        assert ended == Ended(len(sound))
        assert 0 <= late < 0.03 * track.sample_rate
        assert not sound[:late].any()
        assert np.array_equal(sound[late:], plain)


async def test_tracks_say_what_they_are(tmp_path: Path, tools: FfmpegTools) -> None:
    """A film lists its audio tracks by number, with language, codec, rate and channels."""
    film = await probe_film(tools, make(tmp_path / "two.mp4", FILMS["two tracks.mp4"]))
    seen = [(track.number, track.language, track.codec, track.sample_rate, track.channels) for track in film.tracks]
    assert seen == [(0, "eng", "aac", 44100, 2), (1, "deu", "aac", 48000, 1)]


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
async def test_a_late_start_is_silence(suffix: str, tmp_path: Path, task, tools: FfmpegTools) -> None:
    """Sound that begins half a second after the picture comes half a second after the start, whatever the container."""
    path = make(tmp_path / f"late.{suffix}", LATE)
    film = await probe_film(tools, path)
    todo = task(path, film)
    await asyncio.to_thread(decode_clip, todo)
    sound = joined(todo)
    first = int(np.argmax(np.abs(sound[:, 0]) > 0))
    assert abs(first - 22050) < 60
    assert abs(len(sound) - 2.5 * 44100) < 60


@pytest.mark.parametrize(("start", "end", "filled"), [(1.0, 1.5, True), (1.0, 1.03, False)])
async def test_holes_are_filled(start: float, end: float, filled: bool, tmp_path: Path, task, tools) -> None:
    """A hole of more than 50 ms in the timestamps is silence, a smaller one is left out."""
    path = make(tmp_path / "holed.mkv", HOLED.format(start=start, end=end))
    todo = task(path, await probe_film(tools, path))
    await asyncio.to_thread(decode_clip, todo)
    sound, plain = joined(todo), one_pass(path, 0, 44100)
    more = len(sound) - len(plain)
    assert (more > 0.05 * 44100) if filled else (more == 0)
    silent = int((np.abs(sound).max(axis=1) == 0).sum())
    assert (silent > 0.9 * more) if filled else np.array_equal(sound, plain)


async def test_another_grid_is_resampled_in_the_same_pass(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """Rate, channels and depth of the grid are the decode's own: 24 bit at 48 kHz of a 44.1 kHz clip."""
    path = make(tmp_path / "pcm.mov", FILMS["pcm.mov"])
    grid = Pcm(sample_rate=48000, layout="stereo", channels=2, depth_bits=24)
    todo = task(path, await probe_film(tools, path), grid=grid, chunk_samples=10_000)
    assert (await asyncio.to_thread(decode_clip, todo)).samples == pytest.approx(3 * 48000, abs=2)
    sizes = [path.stat().st_size for path in sorted(todo.folder.iterdir())]
    assert sizes[:-1] == [60_000] * (len(sizes) - 1)


async def test_less_than_promised_is_refused(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """A clip that ends before its file's promise, or that is no sound at all, is the source's fault."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    film = await probe_film(tools, path)
    todo = task(path, film, track=replace(film.tracks[0], declared=Declared(9.0, 0.25)))
    with pytest.raises(UnusableFile, match="ends in the middle"):
        await asyncio.to_thread(decode_clip, todo)


async def test_a_hole_keeps_a_promise(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """A track with a hole lasts as long as its container says: what is missing in it was never there."""
    path = make(tmp_path / "holed.mkv", HOLED.format(start=1.0, end=2.0))
    film = await probe_film(tools, path)
    assert film.tracks[0].declared is not None
    assert film.tracks[0].declared.seconds == pytest.approx(3.0, abs=0.1)
    assert (await asyncio.to_thread(decode_clip, task(path, film))).samples == pytest.approx(3 * 44100, abs=4096)


async def test_what_is_there_is_not_written_again(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """An interrupted decode goes on: full chunks that it left stay as they are, the others are written."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    todo = task(path, await probe_film(tools, path))
    await asyncio.to_thread(decode_clip, todo)
    before = joined(todo)
    kept, half = todo.folder / chunk_name(0), todo.folder / chunk_name(1)
    inode = kept.stat().st_ino
    half.write_bytes(half.read_bytes()[:1000])
    (todo.folder / chunk_name(2)).unlink()
    await asyncio.to_thread(decode_clip, todo)
    assert kept.stat().st_ino == inode
    assert np.array_equal(joined(todo), before)


async def test_a_file_that_changes_is_noticed(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """A file that isn't the one any more that was looked into gives no chunk."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    todo = task(path, await probe_film(tools, path))
    os.utime(path, ns=(0, 0))
    with pytest.raises(SourceChanged):
        await asyncio.to_thread(decode_clip, todo)
    assert list(todo.folder.iterdir()) == []


async def test_a_file_that_goes_away_is_noticed(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """A file that was removed while it is decoded is a changed one, and leaves no half chunk."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    todo = task(path, await probe_film(tools, path))
    path.unlink()
    with pytest.raises(SourceChanged, match="went away"):
        await asyncio.to_thread(decode_clip, todo)
    assert list(todo.folder.iterdir()) == []


async def test_a_decode_is_given_up_when_nobody_wants_it(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """Once the stop file is there, no more chunks come than the one in hand."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    todo = task(path, await probe_film(tools, path))
    todo.stop.touch()
    with pytest.raises(InternalError, match="Nobody"):
        await asyncio.to_thread(decode_clip, todo)
    assert [path.name for path in todo.folder.iterdir()] == [chunk_name(0)]


async def test_two_decodes_of_one_clip_do_no_harm(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """One that was given up may not have ended when the next one begins in the same folder: both make the same."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    todo = task(path, await probe_film(tools, path), chunk_samples=200)
    async with DevicePool(cpu_devices(2)) as pool:
        both = await asyncio.gather(*(pool.run(0, decode_clip, todo) for _ in range(2)))
    assert both == [Ended(3 * 44100)] * 2 == [Ended(len(joined(todo)))] * 2


async def test_silence_may_not_cost_all_memory(
    tmp_path: Path, task, tools: FfmpegTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A track that begins so late that its silence doesn't fit into a decoder's memory is refused in words."""
    late = f"{PICTURE} -itsoffset 2000 -f lavfi -i sine=d=1:r=44100 -map 0:v -map 1:a -c:v mpeg4 -c:a pcm_s16le"
    path = make(tmp_path / "late.mkv", late)
    todo = task(path, await probe_film(tools, path), max_seconds=100_000.0)
    monkeypatch.setattr("streamsrv.media.memory.MOST_BYTES", 256 << 20)
    with pytest.raises(UnusableFile, match="memory"):
        await asyncio.to_thread(decode_clip, todo)


async def test_too_long_a_clip_is_refused(tmp_path: Path, task, tools: FfmpegTools) -> None:
    """More sound than the server takes is the source's fault; one that just fits isn't."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    film = await probe_film(tools, path)
    assert await asyncio.to_thread(decode_clip, task(path, film, max_seconds=3.0)) == Ended(3 * 44100)
    longer = make(tmp_path / "longer.flac", "-f lavfi -i sine=d=3.1:r=44100")
    with pytest.raises(UnusableFile, match="longer than"):
        await asyncio.to_thread(decode_clip, task(longer, await probe_film(tools, longer), max_seconds=3.0))


async def test_a_pool_decodes_and_hears_errors(tmp_path: Path, task, tools: FfmpegTools, pool: DevicePool) -> None:
    """In a process of the pool it is the same: the samples come back, and so does what is wrong, in words."""
    path = make(tmp_path / "song.ogg", FILMS["song.ogg"])
    film = await probe_film(tools, path)
    todo = task(path, film)
    assert await pool.run(0, decode_clip, todo) == Ended(len(joined(todo))) == Ended(3 * 44100)
    path.write_bytes(b"no sound at all")
    with pytest.raises(UnusableFile, match="can't be decoded"):
        await pool.run(0, decode_clip, replace(todo, identity=Identity.of(path.stat())))


async def test_a_killed_worker_takes_its_ffmpeg_along(tmp_path: Path, task, tools: FfmpegTools, pool) -> None:
    """A worker that is killed leaves no ffmpeg, and the clip is decoded again from its start: the same chunks."""
    path = make(tmp_path / "long.wav", "-f lavfi -i sine=d=900:r=44100 -ac 2")
    film = await probe_film(tools, path)
    todo = task(path, film)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        decoding = tasks.create_task(pool.run(0, decode_clip, todo))
        await eventually((todo.folder / chunk_name(2)).exists)
        worker = next(pid for pid in descendants(os.getpid()) if "spawn_main" in command_of(pid))
        below = descendants(worker)
        os.kill(worker, signal.SIGKILL)
        await eventually(lambda: not alive(below))
    assert decoding.result().samples == 900 * 44100 == len(joined(todo))
