"""Hear a song through once: how long it is, its mean and its deviation. Runs in a process of the pool.

The windows are decoded by a second pass, with the same arguments, so that both have the very same samples.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import numpy as np

from streamsrv.errors import InternalError, UnusableFile
from streamsrv.media.arguments import Input, compiled, input_stream, timing
from streamsrv.media.blocking import running_ffmpeg
from streamsrv.media.checks import NOT_NUMBERS, check_decoded, check_heard
from streamsrv.media.child import ChildLimits
from streamsrv.media.clock import Clock
from streamsrv.media.integrity.damage import find_damage_here
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import Terms
from streamsrv.media.integrity.structure import Examined
from streamsrv.media.raw import RawKind
from streamsrv.media.tools import FfmpegTools
from streamsrv.media.wav import Wav
from streamsrv.separate.overlap import Moments

_CHUNK_SAMPLES = 1 << 18
_LAYOUTS = {1: "mono", 2: "stereo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTask:
    """The first audio track of `source`, as a model wants it: `sample_rate` in Hz and `channels`, 1 or 2.

    The track itself has the rate of its `clock` and `source_channels`; `wav` is a file as it is meant, `raw`
    its kind where only its name tells. All that is
    `declared` must be there, but for what `terms` tolerate, and `examined` tells what is missing in the middle. ffmpeg
    may have `memory_bytes`. Once
    there is a file `stop`, or its folder is gone, it is given up.
    """

    tools: FfmpegTools
    source: Path
    clock: Clock
    source_channels: int
    wav: Wav | None
    raw: RawKind | None
    declared: Declared | None
    examined: Examined | None
    terms: Terms
    memory_bytes: int
    sample_rate: int
    channels: int
    max_seconds: float
    stop: Path | None = None

    @property
    def input(self) -> Input:
        codec = self.examined.codec if self.examined is not None else ""
        return Input.of_file(self.source, clock=self.clock, codec=codec, wav=self.wav, raw=self.raw)

    def arguments(self) -> list[str]:
        """What ffmpeg is called with, by this pass and by the next one."""
        return song_arguments(
            self.tools.ffmpeg,
            self.input,
            source_channels=self.source_channels,
            sample_rate=self.sample_rate,
            channels=self.channels,
            max_samples=self.max_samples,
        )

    @property
    def is_given_up(self) -> bool:
        return self.stop is not None and (self.stop.exists() or not self.stop.parent.exists())

    @property
    def max_samples(self) -> int:
        """A second more than is allowed, so that too long a song can be told from one that just fits."""
        return int((self.max_seconds + 1) * self.sample_rate)


@dataclass(frozen=True, slots=True)
class Measured:
    """A song of `samples` at the model's rate; mean and deviation are of the mean of its channels.

    `lost_seconds` of it are missing.
    """

    samples: int
    mean: float
    std: float
    lost_seconds: float = 0.0

    def facts(self, sample_rate: int) -> dict[str, float]:
        """What clients are told of it."""
        return {"duration_seconds": self.samples / sample_rate, "lost_seconds": round(self.lost_seconds, 3)}


def measure_song(task: MeasureTask) -> Measured:
    """Decode the song to its end. UnusableFile where it can't be, or where it isn't all that the file promises."""
    limits = ChildLimits.for_sound(task.max_seconds, memory_bytes=task.memory_bytes)
    frame_bytes = task.channels * np.dtype("<f4").itemsize
    moments = Moments()
    with running_ffmpeg(
        task.tools, task.arguments(), readable=(task.source,), feed=task.input.parts, limits=limits
    ) as child:
        while data := child.output.read(_CHUNK_SAMPLES * frame_bytes):
            whole = len(data) - len(data) % frame_bytes
            moments.add(np.frombuffer(data[:whole], "<f4").reshape(-1, task.channels).T)
            if task.is_given_up:
                raise InternalError("Nobody wants this song any more.")
        outcome = child.outcome()
    damage = find_damage_here(
        task.tools,
        task.examined,
        outcome,
        declared=task.declared,
        max_seconds=task.max_seconds,
        is_given_up=lambda: task.is_given_up,
    )
    lost_seconds = check_decoded(
        outcome, declared=task.declared, max_seconds=task.max_seconds, damage=damage, terms=task.terms
    )
    if not moments.count:
        raise UnusableFile("There is no sound in this file.")
    if not math.isfinite(moments.mean) or not math.isfinite(moments.std):
        raise UnusableFile(NOT_NUMBERS)
    check_heard(outcome, moments.count / task.sample_rate)
    return Measured(moments.count, moments.mean, moments.std, lost_seconds)


def song_arguments(
    program: str, source: Input, *, source_channels: int, sample_rate: int, channels: int, max_samples: int
) -> list[str]:
    """Decode the first audio track to raw floats on stdout. It ends after `max_samples`."""
    # Both sides of one channel are the channel itself. By layouts ffmpeg makes it 3 dB quieter.
    timed = timing(source, max_samples / sample_rate)
    spread = "pan=stereo|c0=c0|c1=c0," if (source_channels, channels) == (1, 2) else ""
    form = f"aformat=sample_fmts=flt:channel_layouts={_LAYOUTS[channels]}"
    options: dict[str, object] = {
        "format": "f32le",
        "acodec": "pcm_f32le",
        "af": f"{timed}{spread}aresample={sample_rate},{form},atrim=end_sample={max_samples}",
    }
    return compiled(program, ffmpeg.output(input_stream(source)["a:0"], "pipe:1", **options))
