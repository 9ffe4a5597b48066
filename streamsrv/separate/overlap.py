"""A song as windows, and windows as a song again: what `demucs.apply.apply_model` does, without the whole song. Pure.

Windows of a model's segment begin every `stride` samples. Weighted by a triangle they are added up, and what no later
window touches is complete. So a stretch leaves as soon as the next one begins, and memory is that of one segment.

A pass is one walk over the song: of one part of a bag, with some silence put before the song (Demucs's shift trick).
`steps` tells in which order the windows of all passes are run, and `Blend` puts the passes together.

Arrays are float32 [sources, channels, samples]; positions and lengths are in samples at the model's rate.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamsrv.separate.settings import Part, Span

Sound = NDArray[np.float32]

# Demucs shifts by up to half a second.
_SHIFT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the song; only the last ones are shorter than the segment."""

    number: int
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Plan:
    """Windows of up to `segment` samples, one every `stride`, over `length` samples."""

    segment: int
    stride: int
    length: int

    @classmethod
    def of(cls, segment: int, overlap: float, length: int) -> Self:
        """`overlap` is the share of a window that the next one sees again, from 0 to below 1."""
        stride = int((1 - overlap) * segment)
        if not 0 < stride <= segment:
            raise ValueError(f"An overlap of {overlap} leaves no stride in windows of {segment} samples.")
        return cls(segment, stride, length)

    @property
    def count(self) -> int:
        return -(-self.length // self.stride)

    def window(self, number: int) -> Window:
        start = number * self.stride
        return Window(number, start, min(self.segment, self.length - start))

    def windows(self, first: int = 0) -> Iterator[Window]:
        return (self.window(number) for number in range(first, self.count))

    def first_reaching(self, sample: int) -> int:
        """The number of the first window that has `sample` or something behind it."""
        if sample >= self.length:
            return self.count
        return max(0, (sample - self.segment) // self.stride + 1)


class OverlapAdd:
    """Adds up the windows of a plan from number `first` on, in order.

    From where the window before `first` ends it gives bit for bit what it gives from the start; what it gives before
    that point lacks the windows that were left out.
    """

    def __init__(self, plan: Plan, sources: int, channels: int, first: int = 0) -> None:
        self._plan = plan
        self._next = first
        self._triangle = triangle(plan.segment)
        self._sum = np.zeros((sources, channels, plan.segment), np.float32)
        self._weight = np.zeros(plan.segment, np.float32)

    def add(self, window: Window, output: Sound) -> Sound:
        """Take the model's `output` [sources, channels, window.length]; give the samples that are complete by it."""
        if window.number != self._next:
            raise ValueError(f"Window {window.number} came where {self._next} was due.")
        weights = self._triangle[: window.length]
        self._sum[..., : window.length] += weights * output
        self._weight[: window.length] += weights
        self._next += 1
        is_last = self._next == self._plan.count
        done = window.length if is_last else self._plan.stride
        complete = self._sum[..., :done] / self._weight[:done]
        self._move_on(done)
        return complete

    def _move_on(self, samples: int) -> None:
        kept = self._plan.segment - samples
        for array in (self._sum, self._weight):
            array[..., :kept] = array[..., samples:]
            array[..., kept:] = 0


def triangle(segment: int) -> NDArray[np.float32]:
    """Demucs's weights for the samples of a window: most in its middle, never none."""
    half = segment // 2
    rising = np.concatenate([np.arange(1, half + 1), np.arange(segment - half, 0, -1)]).astype(np.float32)
    peaked: NDArray[np.float32] = rising / rising.max()
    return peaked


@dataclass(frozen=True, slots=True)
class Pass:
    """One walk over the song by the models of `parts[part]`, with `lead` samples of silence before the song."""

    part: int
    lead: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Step:
    """One window of the pass `number`, and what it sees: the song from `begin` to `end`.

    Both are in the song's own time; what lies before 0 is silence. In this piece the window is `span`.
    """

    number: int
    part: int
    window: Window
    begin: int
    end: int
    span: Span


def leads(song_hash: str, shifts: int, sample_rate: int) -> tuple[int, ...]:
    """How much silence is put before the song for each of `shifts` passes: the same for the same song at any time.

    `song_hash` is of hexadecimal digits. Without shifts there is one pass, and no silence.
    """
    if not shifts:
        return (0,)
    most = int(_SHIFT_SECONDS * sample_rate)
    chance = random.Random(int(song_hash, 16))  # noqa: S311 - it is meant to be foreseeable
    return tuple(int(chance.random() * (most + 1)) for _ in range(shifts))


def passes_of(parts: Sequence[Part], silences: Sequence[int], overlap: float, length: int) -> tuple[Pass, ...]:
    """All passes over a song of `length` samples; `silences` come from `leads`."""
    return tuple(
        Pass(number, lead, Plan.of(part.segment, overlap, lead + length))
        for number, part in enumerate(parts)
        for lead in silences
    )


def steps(passes: Sequence[Pass], parts: Sequence[Part], since: int = 0) -> Iterator[Step]:
    """Every window that has samples of the song from `since` on, by where it begins in the song's own time.

    So all passes are about equally far at any time, and a short stretch of the song is all that has to be at hand.
    """
    walks = [_steps_of(number, walk, parts[walk.part], since) for number, walk in enumerate(passes)]
    return heapq.merge(*walks, key=lambda step: (step.begin + step.span.left, step.number))


def _steps_of(number: int, walk: Pass, part: Part, since: int) -> Iterator[Step]:
    plan = walk.plan
    for window in plan.windows(plan.first_reaching(since + walk.lead)):
        left, right = context(part, plan, window)
        begin, end = window.start - left, window.end + right
        yield Step(number, walk.part, window, begin - walk.lead, end - walk.lead, Span(left, window.length))


def context(part: Part, plan: Plan, window: Window) -> tuple[int, int]:
    """How many samples the model may see before and behind a window: what `TensorChunk.padded` would read.

    As far as the song reaches, its lead included; what is missing is silence, which is padded where the model runs.
    """
    missing = part.segment - window.length if part.fixed else 0
    left = max(part.margin, missing // 2)
    right = max(part.margin, missing - missing // 2)
    return min(left, window.start), min(right, plan.length - window.end)


def history(parts: Sequence[Part]) -> int:
    """So many samples before the start of a step's window may be read by it or by a later step, and no more."""
    return max(max(part.margin, part.segment // 2 if part.fixed else 0) for part in parts)


class Blend:
    """Puts passes together while their windows come in, in the order of `steps`: shifts are averaged, parts summed.

    It begins at the song's sample `since`, and gives the same from there as one that began before, bit for bit.
    """

    def __init__(self, passes: Sequence[Pass], sources: int, channels: int, since: int = 0) -> None:
        self.position = since
        self._shifts = len(passes) // len({walk.part for walk in passes})
        self._strands = [_Strand(walk, sources, channels, since) for walk in passes]

    def add(self, step: Step, output: Sound) -> Sound:
        """Take the output of a step's window; give the samples from `position` on that all passes have now."""
        self._strands[step.number].add(step.window, output)
        ready = min(strand.ready for strand in self._strands)
        total = self._strands[0].take(ready)
        for strand in self._strands[1:]:
            total = total + strand.take(ready)
        self.position += ready
        return total / np.float32(self._shifts) if self._shifts > 1 else total


class _Strand:
    """One pass: what is complete of it and isn't blended yet."""

    def __init__(self, walk: Pass, sources: int, channels: int, since: int) -> None:
        plan = walk.plan
        first = plan.first_reaching(since + walk.lead)
        self._adder = OverlapAdd(plan, sources, channels, first)
        # The lead, or what an earlier run had already.
        self._dropped = since + walk.lead - first * plan.stride
        self._pending = np.empty((sources, channels, 0), np.float32)

    @property
    def ready(self) -> int:
        return int(self._pending.shape[-1])

    def add(self, window: Window, output: Sound) -> None:
        complete = self._adder.add(window, output)
        dropped = min(self._dropped, complete.shape[-1])
        self._dropped -= dropped
        complete = complete[..., dropped:]
        self._pending = np.concatenate([self._pending, complete], axis=-1) if self.ready else complete

    def take(self, samples: int) -> Sound:
        taken, self._pending = self._pending[..., :samples], self._pending[..., samples:]
        return taken


class Moments:
    """Mean and deviation of the mean of a song's channels, chunk by chunk, as Demucs has them of the whole."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take [channels, n] samples."""
        mono = samples.mean(axis=0, dtype=np.float64)
        if not mono.size:
            return
        mean = float(mono.mean())
        # Chan, Golub and LeVeque, 1979: moments of two sets make those of both.
        delta, total = mean - self.mean, self.count + mono.size
        self._squares += float(np.square(mono - mean).sum()) + delta * delta * self.count * mono.size / total
        self.mean += delta * mono.size / total
        self.count = total

    @property
    def std(self) -> float:
        """The deviation of a sample, unbiased."""
        return float(np.sqrt(self._squares / (self.count - 1))) if self.count > 1 else 0.0
