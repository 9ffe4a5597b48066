"""Decode one clip, once, from its start, into chunks of raw samples. Runs in a process of the pool.

Seeking isn't exact in most containers, so nothing ever seeks: what a segment needs of a clip is in its chunks. A chunk
counts as soon as it is there under its name, so a first segment doesn't wait for the end of a long clip.
"""

from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import UnusableFile
from streamsrv.media.arguments import Input, Pcm, pcm_arguments
from streamsrv.media.blocking import running_ffmpeg
from streamsrv.media.checks import check_decoded
from streamsrv.media.child import ChildLimits
from streamsrv.media.declared import Declared
from streamsrv.media.tools import FfmpegTools


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTask:
    """The track `track` of `source`, as `pcm`, into chunks of `chunk_samples` in `folder`.

    `source_rate` in Hz is the track's own, `start_seconds` when its file begins, `declared` what that promises.
    """

    tools: FfmpegTools
    source: Path
    track: int
    source_rate: int
    start_seconds: float
    declared: Declared | None
    pcm: Pcm
    channels: int
    folder: Path
    chunk_samples: int
    max_seconds: float

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.pcm.depth_bits // 8


def chunk_name(number: int) -> str:
    return f"{number:06}.pcm"


def decode_clip(task: ClipTask) -> int:
    """Write all chunks, of which the last may be shorter; gives the clip's samples.

    Raises UnusableFile for a clip that can't be decoded to the end that it promises, OSError where the disk fails.
    """
    argv = pcm_arguments(
        task.tools.ffmpeg,
        Input(path=task.source),
        track=task.track,
        start_seconds=task.start_seconds,
        pcm=task.pcm,
    )
    limits = ChildLimits.for_sound(task.max_seconds)
    written_bytes = 0
    with running_ffmpeg(task.tools, argv, readable=(task.source,), limits=limits) as child:
        number = 0
        while data := child.output.read(task.chunk_samples * task.frame_bytes):
            _write(task.folder, chunk_name(number), data)
            number, written_bytes = number + 1, written_bytes + len(data)
        outcome = child.outcome()
    check_decoded(outcome, source_rate=task.source_rate, declared=task.declared, max_seconds=task.max_seconds)
    if written_bytes % task.frame_bytes:
        raise UnusableFile("The clip's sound ends in the middle of a sample.")
    return written_bytes // task.frame_bytes


def _write(folder: Path, name: str, data: bytes) -> None:
    """By rename, so that nobody sees half a chunk."""
    part = folder / f"{name}.part"
    part.write_bytes(data)
    part.replace(folder / name)
