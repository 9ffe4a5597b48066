"""Decode one clip, once, from its start, into chunks of raw samples. Runs in a process of the pool.

Seeking isn't exact in most containers, so nothing ever seeks: what a segment needs of a clip is in its chunks. A chunk
counts as soon as it is there under its name, so a first segment doesn't wait for the end of a long clip, and what an
interrupted decode has left isn't written again.
"""

from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import InternalError, SourceChanged, UnusableFile
from streamsrv.extract.identity import Identity
from streamsrv.files import disk_errors, written_aside
from streamsrv.media.arguments import Input, Pcm, pcm_arguments
from streamsrv.media.blocking import running_ffmpeg
from streamsrv.media.checks import check_decoded, check_heard
from streamsrv.media.child import ChildLimits
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.film import Film, Track
from streamsrv.media.integrity.damage import find_damage_here
from streamsrv.media.integrity.loss import Terms, check_loss
from streamsrv.media.integrity.structure import Damage
from streamsrv.media.memory import decoding_memory
from streamsrv.media.tools import FfmpegTools


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTask:
    """The track `track` of the file `source`, which is `identity` and `film`, as `grid` has it.

    It goes into chunks of `chunk_samples` in `folder`, is no longer than `max_seconds`, and all there, but for what
    `terms` tolerate. Once there is a file `stop`, it is given up.
    """

    tools: FfmpegTools
    source: Path
    identity: Identity
    film: Film
    track: Track
    terms: Terms
    grid: Pcm
    folder: Path
    stop: Path
    chunk_samples: int
    max_seconds: float

    @property
    def chunk_bytes(self) -> int:
        return self.chunk_samples * self.grid.frame_bytes

    @property
    def input(self) -> Input:
        track = self.track
        return Input.of_file(
            self.source,
            clock=track.clock,
            is_float=track.is_float,
            codec=track.codec,
            wav=track.wav,
            raw=self.film.raw,
        )

    @property
    def memory_bytes(self) -> int:
        """What may be taken to decode it."""
        return decoding_memory(
            self.identity.size,
            format_name=self.film.format_name,
            seconds=self.film.duration_seconds,
            sample_rate=self.track.sample_rate,
            channels=self.track.channels,
        )

    def arguments(self) -> list[str]:
        """What ffmpeg is called with."""
        return pcm_arguments(
            self.tools.ffmpeg,
            self.input,
            track=self.track.number,
            pcm=self.grid,
            # One more than is allowed, so that too long a clip can be told from one that just fits.
            max_samples=int(self.max_seconds * self.grid.sample_rate) + self.grid.sample_rate,
        )


def chunk_name(number: int) -> str:
    return f"{number:06}.pcm"


@dataclass(frozen=True, slots=True)
class Ended:
    """A clip that was decoded to its end; `lost_seconds` of it are missing."""

    samples: int
    lost_seconds: float = 0.0


def decode_clip(task: ClipTask) -> Ended:
    """Write all chunks, of which the last may be shorter.

    Raises UnusableFile for a clip that can't be decoded to the end that it promises, SourceChanged for a file that
    isn't the one any more that was looked into, DiskFull, and OSError where the folder is gone: nobody wants it then.
    """
    _check_source(task)
    track, source, argv = task.track, task.input, task.arguments()
    limits = ChildLimits.for_sound(task.max_seconds, memory_bytes=task.memory_bytes)
    written_bytes = 0
    with running_ffmpeg(task.tools, argv, readable=(task.source,), feed=source.parts, limits=limits) as child:
        number, is_examined = 0, False
        while data := child.output.read(task.chunk_bytes):
            if child.has_complained and not is_examined:
                # Else somebody would be given what has a hole in it.
                check_loss(child.outcome_so_far(), damage=_damage(task, child.outcome_so_far()), terms=task.terms)
                is_examined = True
            _keep_chunk(task, number, data)
            if task.stop.exists():
                raise InternalError("Nobody wants this clip any more.")
            number, written_bytes = number + 1, written_bytes + len(data)
        outcome = child.outcome()
    samples, rest = divmod(written_bytes, task.grid.frame_bytes)
    lost_seconds = check_decoded(
        outcome,
        declared=track.declared,
        max_seconds=task.max_seconds,
        damage=_damage(task, outcome),
        terms=task.terms,
    )
    check_heard(outcome, samples / task.grid.sample_rate)
    if rest:
        raise UnusableFile("The clip's sound ends in the middle of a sample.")
    return Ended(samples, lost_seconds)


def _damage(task: ClipTask, outcome: Outcome) -> Damage:
    examined = task.film.examined(task.source, task.track)
    return find_damage_here(
        task.tools,
        examined,
        outcome,
        declared=task.track.declared,
        max_seconds=task.max_seconds,
        is_given_up=task.stop.exists,
    )


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
