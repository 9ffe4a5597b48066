"""Decode one clip, once, from its start, into chunks of raw samples. Runs in a process of the pool.

Seeking isn't exact in most containers, so nothing ever seeks: what a segment needs of a clip is in its chunks. A chunk
counts as soon as it is there under its name, so a first segment doesn't wait for the end of a long clip, and what an
interrupted decode has left isn't written again.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from streamsrv.errors import InternalError, SourceChanged, UnusableFile
from streamsrv.extract.identity import Identity
from streamsrv.files import disk_errors, written_aside
from streamsrv.media.arguments import Input, Pcm, pcm_arguments
from streamsrv.media.blocking import running_ffmpeg
from streamsrv.media.checks import check_decoded, check_heard
from streamsrv.media.child import ChildLimits
from streamsrv.media.film import Film, Track
from streamsrv.media.tools import FfmpegTools

# The resampler keeps all silence that goes in at one place: half an hour of 5.1 takes so much.
_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTask:
    """The track `track` of the file `source`, which is `identity` and `film`, as `grid` has it.

    It goes into chunks of `chunk_samples` in `folder`, and is no longer than `max_seconds`. Once there is a file
    `stop`, it is given up.
    """

    tools: FfmpegTools
    source: Path
    identity: Identity
    film: Film
    track: Track
    grid: Pcm
    folder: Path
    stop: Path
    chunk_samples: int
    max_seconds: float

    @property
    def chunk_bytes(self) -> int:
        return self.chunk_samples * self.grid.frame_bytes


def chunk_name(number: int) -> str:
    return f"{number:06}.pcm"


def decode_clip(task: ClipTask) -> int:
    """Write all chunks, of which the last may be shorter; gives the clip's samples.

    Raises UnusableFile for a clip that can't be decoded to the end that it promises, SourceChanged for a file that
    isn't the one any more that was looked into, DiskFull, and OSError where the folder is gone: nobody wants it then.
    """
    _check_source(task)
    track = task.track
    source = Input.of_file(task.source, clock=track.clock, is_float=track.is_float, wav=track.wav)
    argv = pcm_arguments(
        task.tools.ffmpeg,
        source,
        track=track.number,
        pcm=task.grid,
        # One more than is allowed, so that too long a clip can be told from one that just fits.
        max_samples=int(task.max_seconds * task.grid.sample_rate) + task.grid.sample_rate,
    )
    limits = replace(ChildLimits.for_sound(task.max_seconds), memory_bytes=_MEMORY_BYTES)
    written_bytes = 0
    with running_ffmpeg(task.tools, argv, readable=(task.source,), feed=source.parts, limits=limits) as child:
        number = 0
        while data := child.output.read(task.chunk_bytes):
            _keep_chunk(task, number, data)
            if task.stop.exists():
                raise InternalError("Nobody wants this clip any more.")
            number, written_bytes = number + 1, written_bytes + len(data)
        outcome = child.outcome()
    samples, rest = divmod(written_bytes, task.grid.frame_bytes)
    check_decoded(outcome, declared=track.declared, max_seconds=task.max_seconds)
    check_heard(outcome, samples / task.grid.sample_rate)
    if rest:
        raise UnusableFile("The clip's sound ends in the middle of a sample.")
    return samples


def _keep_chunk(task: ClipTask, number: int, data: bytes) -> None:
    """By rename, so that nobody sees half a chunk; a full one that is there already is the same."""
    path = task.folder / chunk_name(number)
    if path.exists() and path.stat().st_size == len(data) == task.chunk_bytes:
        return
    with written_aside(path) as part:
        with disk_errors():
            part.write_bytes(data)
        _check_source(task)


def _check_source(task: ClipTask) -> None:
    try:
        same = Identity.of(task.source.stat()) == task.identity
    except OSError as error:
        raise SourceChanged("The file went away while it was read.") from error
    if not same:
        raise SourceChanged("The file changed while it was read.")
