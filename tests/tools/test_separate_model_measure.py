"""The first pass over a song, by the real ffmpeg: its length and moments are those of what the second pass reads."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sound import FFMPEG, tone

from streamsrv.errors import DamagedFile, InternalError, UnusableFile
from streamsrv.media.integrity.loss import TOLERANT
from streamsrv.media.material import whole_material
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.measure import Measured, MeasureTask, measure_song
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

RATE = 44100


@pytest.fixture
def task(tools: FfmpegTools) -> Callable[..., Awaitable[MeasureTask]]:
    """The task that measures a file for a model of 44.1 kHz and two channels, or what is said instead."""

    async def make_task(path: Path, **changes: object) -> MeasureTask:
        material = await whole_material(tools, path)
        settings: dict[str, Any] = {
            "sample_rate": RATE,
            "channels": 2,
            "max_seconds": 1000.0,
            "terms": material.terms,
            **changes,
        }
        return MeasureTask(
            tools=tools,
            source=path,
            clock=material.source.clock,
            source_channels=material.source.channels,
            wav=None,
            raw=None,
            declared=material.declared,
            examined=material.examined,
            memory_bytes=material.memory_bytes,
            **settings,
        )

    return make_task


def noise(path: Path, *, seconds: float = 2.5, rate: int = RATE, channels: int = 2, options: str = "") -> Path:
    shape = "|".join(f"0.1+{0.1 * (number + 1)}*random({number})" for number in range(channels))
    source = f"aevalsrc={shape}:s={rate}:d={seconds}"
    subprocess.run([*FFMPEG, "-f", "lavfi", "-i", source, *options.split(), str(path)], check=True, timeout=60)
    return path


def second_pass(task: MeasureTask) -> np.ndarray:
    raw = subprocess.run(task.arguments(), check=True, timeout=60, capture_output=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, task.channels).T


def assert_moments(measured: Measured, song: np.ndarray) -> None:
    mono = song.astype(np.float64).mean(axis=0)
    assert measured.samples == len(mono)
    assert measured.mean == pytest.approx(mono.mean(), abs=1e-7)
    assert measured.std == pytest.approx(mono.std(ddof=1), rel=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("song.wav", {}),
        ("song.flac", {"rate": 48000}),
        ("song.mp3", {}),
        ("song.m4a", {"channels": 1}),
        ("song.ogg", {"options": "-c:a libvorbis", "rate": 22050}),
        ("surround.flac", {"channels": 6}),
        ("short.wav", {"seconds": 0.01}),
    ],
)
async def test_both_passes_hear_the_same(tmp_path: Path, task, name: str, made: dict, channels: int) -> None:
    """Length, mean and deviation are those of the samples that the second pass gives, whatever the file is."""
    todo = await task(noise(tmp_path / name, **made), channels=channels)
    song = second_pass(todo)
    assert_moments(await asyncio.to_thread(measure_song, todo), song)
    assert song.shape[-1] == pytest.approx(made.get("seconds", 2.5) * RATE, abs=1200)
    assert np.array_equal(song, second_pass(todo))


async def test_one_channel_is_heard_from_both_sides(tmp_path: Path, task) -> None:
    """A song of one channel is as loud on both sides as it is; so are its stems."""
    path = noise(tmp_path / "mono.wav", channels=1, options="-c:a pcm_f32le")
    both = second_pass(await task(path))
    alone = second_pass(await task(path, channels=1))
    assert np.array_equal(both, np.concatenate([alone, alone]))
    assert np.abs(alone).max() == pytest.approx(0.2, abs=0.01)


async def test_samples_of_the_file_stay_as_they_are(tmp_path: Path, task) -> None:
    """At the model's own rate and channels nothing is made of the samples, not even where they are too loud."""
    chance = np.random.default_rng(0).normal(0, 1, (2, 3000)).astype("<f4")
    raw = tmp_path / "raw.f32"
    raw.write_bytes(chance.T.tobytes())
    path = tmp_path / "loud.wav"
    subprocess.run(
        [*FFMPEG, "-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", str(raw), "-c:a", "pcm_f32le", str(path)],
        check=True,
    )
    assert np.array_equal(second_pass(await task(path)), chance)


async def test_a_pool_measures_and_hears_errors(tmp_path: Path, task) -> None:
    """In a process of the pool it is the same, and what is wrong comes back in words."""
    whole = await task(noise(tmp_path / "song.flac"))
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.source.read_bytes()[:-100_000])
    broken = await task(cut)
    async with DevicePool(cpu_devices(1)) as pool:
        assert await pool.run(0, measure_song, whole) == await asyncio.to_thread(measure_song, whole)
        with pytest.raises(UnusableFile, match="ends in the middle"):
            await pool.run(0, measure_song, broken)


async def test_too_long_a_song_is_refused(tmp_path: Path, task) -> None:
    """A song that is just as long as is allowed passes, a longer one doesn't."""
    path = tone(tmp_path / "song.flac", seconds=3.0)
    fits = await asyncio.to_thread(measure_song, await task(path, max_seconds=3.0))
    assert fits.samples == 3 * RATE
    with pytest.raises(UnusableFile, match="longer than"):
        await asyncio.to_thread(measure_song, await task(path, max_seconds=2.9))
    with pytest.raises(UnusableFile, match="longer than"):
        await asyncio.to_thread(measure_song, await task(path, max_seconds=1.0))


async def test_what_is_no_number_is_refused(tmp_path: Path, task) -> None:
    """A file of floats may hold what isn't a number, of which nothing could be made but silence."""
    path = noise(tmp_path / "odd.wav", options="-c:a pcm_f32le")
    data = bytearray(path.read_bytes())
    data[-4000:-3996] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    with pytest.raises(UnusableFile, match="aren't numbers"):
        await asyncio.to_thread(measure_song, await task(path))


@pytest.mark.parametrize("name", ["stop", "gone/stop"])
async def test_it_is_given_up_when_nobody_wants_it(tmp_path: Path, task, name: str) -> None:
    """Once the stop file is there, or its folder isn't any more, the song isn't decoded to its end."""
    (tmp_path / "stop").touch()
    with pytest.raises(InternalError, match="Nobody"):
        measure_song(await task(noise(tmp_path / "song.wav"), stop=tmp_path / name))


async def test_what_is_missing_is_told_or_counted(tmp_path: Path, task: Any) -> None:
    """A song with a hole in it is refused in words; whoever tolerates that is told how long it is."""
    path = noise(tmp_path / "hole.mp3", options="-c:a libmp3lame -b:a 128k")
    data = path.read_bytes()
    path.write_bytes(data[:20_000] + bytes(2500) + data[22_500:])
    with pytest.raises(DamagedFile, match="missing in the middle"):
        await asyncio.to_thread(measure_song, await task(path))
    measured = await asyncio.to_thread(measure_song, await task(path, terms=TOLERANT))
    assert 0.1 < measured.lost_seconds < 0.3
    assert measured.samples / RATE == pytest.approx(2.5 - measured.lost_seconds, abs=0.06)
