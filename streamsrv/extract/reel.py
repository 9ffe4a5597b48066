"""The clips of one request on one grid: cut into steps and read, as far as they have been decoded."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from streamsrv.errors import Problem, SourceChanged
from streamsrv.extract.cursor import Content, sources_digest
from streamsrv.extract.decode import ClipTask
from streamsrv.extract.sources import SourceFile
from streamsrv.extract.studio import Studio
from streamsrv.extract.timeline import Position, Range, Reach, Step, cut_step, samples_in
from streamsrv.media.arguments import Pcm
from streamsrv.media.feed import Piece
from streamsrv.media.film import Film, Track
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import STRICT, Terms
from streamsrv.tasks import all_of, outcome_of

# Long enough that a file for each costs nothing, short enough that the first one is there at once.
_CHUNK_SECONDS = 10
_SILENCE_BYTES = 1 << 18


class Playing(Protocol):
    """A clip whose samples can be had, as far as they are there."""

    @property
    def reach(self) -> Reach: ...

    @property
    def lost_seconds(self) -> float:
        """So much of it is missing, known once it is whole."""

    async def wait(self, samples: int) -> Reach:
        """Wait until more than so many samples are there, or all."""

    def read(self, start: int, stop: int) -> Iterator[Piece]:
        """Give the samples from `start` up to, not including, `stop`, which are there, in order."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A clip without sound."""

    samples: int
    frame_bytes: int
    lost_seconds: float = 0.0

    @property
    def reach(self) -> Reach:
        return Reach(self.samples, is_whole=True)

    async def wait(self, _samples: int) -> Reach:
        return self.reach

    def read(self, start: int, stop: int) -> Iterator[Piece]:
        left = (stop - start) * self.frame_bytes
        while left:
            count = min(left, _SILENCE_BYTES)
            yield bytes(count)
            left -= count


@dataclass(frozen=True, slots=True)
class ReelClip:
    """One clip: its file and its track, on these terms. Without a track it is silence of so many seconds."""

    source: SourceFile
    film: Film
    track: Track | None
    silent_seconds: float = 0.0
    terms: Terms = STRICT

    @property
    def declared(self) -> Declared | None:
        """How long it promises to be, if it does."""
        return Declared(self.silent_seconds, 0.0) if self.track is None else self.track.declared

    @property
    def seconds(self) -> float:
        """About how long it is."""
        return self.silent_seconds if self.track is None else self.film.duration_seconds or 0.0


class Reel:
    """`async with` it. A clip is decoded from when it is first needed, at the latest.

    `lost_seconds` are missing of what `read_all` has given, which the clips' terms tolerate.
    """

    def __init__(self, studio: Studio, clips: Sequence[ReelClip], grid: Pcm, *, priority: int) -> None:
        self.grid = grid
        self.lost_seconds = 0.0  # of what was read whole
        self._studio = studio
        self._clips = clips
        self._priority = priority
        self._starts: dict[int, asyncio.Task[Playing | Exception]] = {}
        self._lent: dict[int, ExitStack] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> "Reel":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._starts.values():
            task.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            for number in list(self._lent):
                self.put_away(number)

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def seconds(self) -> float:
        """About how long all clips are together."""
        return sum(clip.seconds for clip in self._clips)

    @property
    def sources(self) -> list[SourceFile]:
        return [clip.source for clip in self._clips]

    async def digest(self, count: int) -> bytes:
        """Tell the content of the first `count` sources, as this grid has it, from every other."""
        contents = await all_of([self._content(number) for number in range(count)])
        return sources_digest(contents, self.grid)

    async def step(self, start: Position, segment_samples: int) -> Step:
        """Cut the segment at `start`, once enough is known of the clips that it reaches into."""
        reach = [Reach(0, is_whole=False)] * len(self)
        while (step := _cut(start, segment_samples, reach)) is None:
            number = next(number for number in range(start.clip, len(self)) if not reach[number].is_whole)
            reach[number] = await self._wait(number, reach[number].samples)
        return step

    async def read(self, ranges: Sequence[Range]) -> AsyncIterator[Piece]:
        """Give the samples of these ranges, which are there, one after the other."""
        for each in ranges:
            for piece in (await self.clip(each.clip)).read(each.start, each.stop):
                yield piece

    async def read_all(self) -> AsyncIterator[Piece]:
        """Give all samples of all clips. As many clips as can be are decoded at once, but not all in advance."""
        for number in range(len(self)):
            for ahead in range(number, min(len(self), number + self._studio.clips.at_once + 1)):
                self.begin(ahead)
            at, reach = 0, Reach(0, is_whole=False)
            while not reach.is_whole:
                reach = await self._wait(number, at)
                for piece in (await self.clip(number)).read(at, reach.samples):
                    yield piece
                at = reach.samples
            self.lost_seconds += await self.lost(range(number, number + 1))
            self.put_away(number)

    async def lost(self, numbers: Iterable[int]) -> float:
        """Seconds that are missing of these clips, which are whole."""
        return sum([(await self.clip(number)).lost_seconds for number in numbers])

    def begin(self, number: int) -> None:
        """Begin to decode a clip, if that hasn't been begun."""
        if number not in self._starts:
            self._starts[number] = self._tasks.create_task(outcome_of(partial(self._start, number)))

    async def clip(self, number: int) -> Playing:
        """The clip, which is being decoded."""
        self.begin(number)
        clip = await asyncio.shield(self._starts[number])
        if isinstance(clip, Exception):
            raise clip
        return clip

    def put_away(self, number: int) -> None:
        """The clip isn't needed any more."""
        if (lent := self._lent.pop(number, None)) is not None:
            lent.close()

    async def _wait(self, number: int, samples: int) -> Reach:
        with naming_clip(number, len(self)):
            return await (await self.clip(number)).wait(samples)

    async def _content(self, number: int) -> Content:
        with naming_clip(number, len(self)):
            return await self._studio.contents.content(self._clips[number].source)

    async def _start(self, number: int) -> Playing:
        clip = self._clips[number]
        if clip.track is None:
            samples = samples_in(clip.silent_seconds, self.grid) if clip.silent_seconds else 0
            return Silence(samples, self.grid.frame_bytes)
        content = await self._studio.contents.content(clip.source)
        lent = self._lent[number] = ExitStack()
        return lent.enter_context(
            self._studio.clips.lend(
                self._task(clip, clip.track), clip.source, content.sha256.hex(), priority=self._priority
            )
        )

    def _task(self, clip: ReelClip, track: Track) -> ClipTask:
        return ClipTask(
            tools=self._studio.tools,
            source=clip.source.path,
            identity=clip.source.identity,
            film=clip.film,
            track=track,
            terms=clip.terms,
            grid=self.grid,
            folder=Path(),
            stop=Path(),
            chunk_samples=_CHUNK_SECONDS * self.grid.sample_rate,
            max_seconds=self._studio.max_seconds,
        )


def _cut(start: Position, segment_samples: int, reach: Sequence[Reach]) -> Step | None:
    try:
        return cut_step(start, segment_samples, reach)
    except ValueError as error:
        raise SourceChanged("A clip is shorter than it was when the cursor was given. Begin anew.") from error


@contextmanager
def naming_clip(number: int, count: int) -> Iterator[None]:
    """Say of a problem in the block with which of `count` clips it is, in its words and as a member `clip`."""
    try:
        yield
    except Problem as problem:
        if "clip" in problem.members:
            raise
        words = f"Clip {number + 1}: {problem.detail}" if count > 1 else problem.detail
        named = type(problem)(words, headers=problem.headers, members={**problem.members, "clip": number})
        raise named from problem
