"""Small films with sound that gives away a shifted sample, and their audio as bare ffmpeg decodes it.

Nothing here knows the server. The reference of a clip is one run of ffmpeg, from its start, onto the grid; where
silence belongs is read from the times of its frames, by a rule of its own.
"""

import json
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from support.sound import FFMPEG

PICTURE = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10")
H264 = "-c:v libx264 -preset ultrafast"
MPEG4 = "-c:v mpeg4"
VP8 = "-c:v libvpx -deadline realtime"
HOLE_SECONDS = Fraction(50, 1000)
BACK_SECONDS = 1
LEAP_SECONDS = 10
# Raw samples that lose nothing of what a decoder gives.
RAW = {"fltp": "f32le", "flt": "f32le", "s16": "s16le", "s16p": "s16le", "s32": "s32le", "s32p": "s32le"}
RAW_BYTES = {"f32le": 4, "s16le": 2, "s24le": 3, "s32le": 4}


@dataclass(frozen=True)
class Sound:
    """Sweeps and noise, others for each seed and channel."""

    seed: int
    samples: int
    rate: int = 44100
    channels: int = 2

    def raw(self) -> bytes:
        """float32, interleaved."""
        random = np.random.default_rng(self.seed)
        seconds = np.arange(self.samples) / self.rate
        columns = []
        for channel in range(self.channels):
            low, slope = 150 + 37 * self.seed + 110 * channel, 90 + 40 * channel
            sweep = np.sin(2 * np.pi * (low + slope * seconds) * seconds)
            columns.append(0.3 * sweep + 0.05 * random.standard_normal(self.samples))
        return np.clip(np.stack(columns, axis=1), -0.99, 0.99).astype("<f4").tobytes()


@dataclass(frozen=True)
class Recipe:
    """A film: the codec of its sounds, of which each is a track, and of its picture, which is three seconds long.

    The sound begins `late_seconds` after the picture. From the first second of `hole` on all times are later by the
    other one.
    """

    name: str
    codec: str
    sounds: tuple[Sound, ...]
    picture: str = MPEG4
    late_seconds: float = 0.0
    hole: tuple[float, float] | None = None


FLAC16 = "-c:a flac -sample_fmt s16"
FILMS = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "aac.mp4", "-c:a aac -metadata:s:a:0 language=eng", (Sound(1, 130_000), Sound(2, 110_001, 48000, 1)), H264
        ),
        Recipe("aac.mkv", "-c:a aac", (Sound(3, 120_011), Sound(4, 125_000, 48000)), H264),
        # Transport streams begin at 1.4 s by their own clock.
        Recipe("aac.ts", "-c:a aac", (Sound(16, 100_500),), H264),
        Recipe("opus.webm", "-c:a libopus", (Sound(5, 140_000, 48000),), VP8),
        Recipe("mp3.avi", "-c:a libmp3lame", (Sound(6, 110_000),)),
        Recipe("pcm24.mov", "-c:a pcm_s24le", (Sound(7, 100_003, 48000),)),
        Recipe("flac.mkv", FLAC16, (Sound(8, 95_000),)),
        Recipe("vorbis.mkv", "-c:a libvorbis", (Sound(9, 99_999),)),
        Recipe("ac3.mkv", "-c:a ac3", (Sound(10, 120_000, 48000, 6),)),
        Recipe("mono8k.mkv", "-c:a pcm_s16le", (Sound(11, 20_001, 8000, 1),)),
        Recipe("late.mkv", "-c:a pcm_s16le", (Sound(12, 100_000),), late_seconds=0.5),
        Recipe("late.mp4", "-c:a aac", (Sound(13, 100_000),), H264, late_seconds=0.5),
        Recipe("hole.mkv", FLAC16, (Sound(14, 100_000),), hole=(1.0, 0.7)),
        Recipe("hole_aac.mkv", "-c:a aac", (Sound(17, 100_000),), hole=(1.0, 0.7)),
        Recipe("small_hole.mkv", FLAC16, (Sound(15, 90_000),), hole=(1.0, 0.03)),
        # A sample more than frames of a power of two.
        Recipe("tail.mkv", FLAC16, (Sound(18, 100 * 1024 + 1),)),
        # Long enough that nobody keeps it in one piece.
        Recipe("long.mkv", "-c:a libvorbis", (Sound(19, 200_003, 16000, 1),)),
        Recipe("silent.mp4", "", (), H264),
    )
}


@dataclass(frozen=True)
class Grid:
    """What all clips are brought to: Hz, ffmpeg's name of the layout, its channels, bits of a sample."""

    rate: int
    layout: str
    channels: int
    depth_bits: int

    @property
    def raw(self) -> str:
        return f"s{self.depth_bits}le"


def make_film(folder: Path, recipe: Recipe) -> Path:
    """Write the film into the folder."""
    path, work = folder / recipe.name, folder / "work"
    work.mkdir(exist_ok=True)
    inputs, maps = ["-t", "3", *PICTURE], ["-map", "0:v"]
    for number, sound in enumerate(recipe.sounds, 1):
        raw = work / f"{recipe.name}.{number}.raw"
        raw.write_bytes(sound.raw())
        inputs += ["-itsoffset", str(recipe.late_seconds), "-f", "f32le"]
        inputs += ["-ar", str(sound.rate), "-ac", str(sound.channels), "-i", str(raw)]
        maps += ["-map", f"{number}:a"]
    options = [*maps, *recipe.picture.split(), *recipe.codec.split()]
    whole = work / recipe.name if recipe.hole else path
    subprocess.run([*FFMPEG, *inputs, *options, str(whole)], check=True, timeout=60)
    if recipe.hole:
        start, length = recipe.hole
        later = f"setts=ts=TS+if(gte(TS*TB\\,{start})\\,{length}/TB\\,0)"
        subprocess.run([*FFMPEG, "-i", str(whole), "-c", "copy", "-bsf:a", later, str(path)], check=True, timeout=60)
    return path


class Library:
    """Films in a folder, and their references; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._films: dict[str, Path] = {}
        self._references: dict[tuple[str, int, Grid], np.ndarray] = {}

    def film(self, name: str) -> Path:
        if name not in self._films:
            self._films[name] = make_film(self.folder, FILMS[name])
        return self._films[name]

    def uris(self, names: tuple[str, ...]) -> list[str]:
        return [self.film(name).as_uri() for name in names]

    def reference(self, names: tuple[str, ...], grid: Grid, track: int = 0) -> np.ndarray:
        """All clips one after the other: bytes, a row for each sample of all channels."""
        for name in names:
            if (name, track, grid) not in self._references:
                self._references[name, track, grid] = one_pass(self.film(name), track, grid)
        return np.concatenate([self._references[name, track, grid] for name in names])


def one_pass(path: Path, track: int, grid: Grid) -> np.ndarray:
    """The track as ffmpeg decodes it in one run, silence put in where it is owed. Rows as in `decode`."""
    stream, silences = find_silences(path, track)
    rate = int(stream["sample_rate"])
    mapped = ["-i", str(path), "-map", f"0:a:{track}"]
    onto_grid = ["-af", f"aresample={grid.rate},aformat=channel_layouts={grid.layout}"]
    if rate == grid.rate or not silences:
        return put_in(decode([*mapped, *onto_grid], grid.raw, grid.channels), silences)
    # A resampler hears the silence, too, so it has to be there before.
    raw, channels = RAW[stream["sample_fmt"]], int(stream["channels"])
    sound = put_in(decode(mapped, raw, channels), silences)
    source = ["-f", raw, "-ar", str(rate), "-ac", str(channels), "-i", "pipe:0"]
    return decode([*source, *onto_grid], grid.raw, grid.channels, sound.tobytes())


def find_silences(path: Path, track: int) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """The track by ffprobe, and (sample of the decoder, samples of silence before it), by the rule of time.

    Silence is owed where a frame is more than 50 ms later than what came before ends, or than another track begins. One
    more than a second too early is of another recording, and so is one after a leap in MPEG's streams.
    """
    shown = "format=start_time,format_name,nb_streams:stream=sample_rate,sample_fmt,channels:frame=pts_time,nb_samples"
    argv = ["ffprobe", "-loglevel", "error", "-select_streams", f"a:{track}", "-show_entries", shown, "-show_frames"]
    report = json.loads(subprocess.check_output([*argv, "-of", "json", str(path)], timeout=60))
    stream, file = report["streams"][0], report["format"]
    rate = int(stream["sample_rate"])
    leap = LEAP_SECONDS * rate if file["format_name"] in ("mpegts", "mpeg") else float("inf")
    begin = next((Fraction(frame["pts_time"]) for frame in report["frames"] if "pts_time" in frame), Fraction(0))
    late = begin - Fraction(file["start_time"]) if file["nb_streams"] > 1 else Fraction(0)
    begin -= late if late > HOLE_SECONDS else 0
    decoded, silent, silences = 0, 0, []
    for frame in report["frames"]:
        if "pts_time" in frame:
            ahead = (Fraction(frame["pts_time"]) - begin) * rate - decoded - silent
            if ahead > leap or ahead < -BACK_SECONDS * rate:
                begin += ahead / rate
            elif ahead > HOLE_SECONDS * rate:
                silences.append((decoded, int(ahead + Fraction(1, 2))))
                silent += silences[-1][1]
        decoded += int(frame["nb_samples"])
    return stream, silences


def put_in(sound: np.ndarray, silences: list[tuple[int, int]]) -> np.ndarray:
    """Zeros before these samples."""
    parts, at = [], 0
    for place, count in silences:
        parts += [sound[at:place], np.zeros((count, sound.shape[1]), sound.dtype)]
        at = place
    return np.concatenate([*parts, sound[at:]])


def decode(source: list[str], raw: str, channels: int, data: bytes = b"") -> np.ndarray:
    """What ffmpeg makes of it, as bytes [samples, bytes of all channels]."""
    argv = [*FFMPEG[:1], *FFMPEG[2:], *source, "-f", raw, "-c:a", f"pcm_{raw}", "pipe:1"]
    done = subprocess.run(argv, input=data, check=True, timeout=60, capture_output=True)
    return np.frombuffer(done.stdout, dtype="u1").reshape(-1, channels * RAW_BYTES[raw])
