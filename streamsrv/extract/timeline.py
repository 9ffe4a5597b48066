"""Clips one after the other on one grid of samples, and the segments that are cut from it. Pure.

The grid is what every clip is brought to: one sample rate, one layout, one depth.

How long a clip is shows only once it was decoded to its end. So a step is cut from what is known by now, and is the
same whenever that is enough: more knowledge never changes a step that could be cut before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from streamsrv.errors import UnusableFile
from streamsrv.media.arguments import Pcm
from streamsrv.media.film import Track
from streamsrv.media.formats import CODECS

_MAX_DEPTH_BITS = 24
# What ffmpeg takes a track for whose file doesn't say where its loudspeakers are, by the number of channels.
_USUAL_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The sample `sample` of clip `clip`, both from 0. Behind the last clip: the end."""

    clip: int = 0
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a clip is known: its first `samples`, and whether these are all."""

    samples: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Range:
    """Samples of one clip from `start` up to, not including, `stop`; never empty."""

    clip: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Step:
    """One segment: what it is made of, in order, where the next one begins, and whether there is none."""

    ranges: tuple[Range, ...]
    next: Position
    is_last: bool

    @property
    def samples(self) -> int:
        return sum(each.stop - each.start for each in self.ranges)


def grid_of(tracks: Sequence[Track]) -> Pcm:
    """The first clip's layout, and its rate if FLAC has it; the depth of the deepest. ValueError where there is none.

    Raises UnusableFile for a layout that no lossless file can hold.
    """
    if not tracks:
        raise ValueError("a grid needs a track")
    first, depth = tracks[0], max(track.depth_bits for track in tracks)
    if not 0 < first.channels <= len(_USUAL_LAYOUTS) or first.sample_rate <= 0:
        raise UnusableFile(f"Sound of {first.channels} channels can't be extracted, {len(_USUAL_LAYOUTS)} at most.")
    return Pcm(
        sample_rate=CODECS["flac"].nearest_rate(first.sample_rate),
        layout=first.layout or _USUAL_LAYOUTS[first.channels - 1],
        channels=first.channels,
        depth_bits=16 if depth <= 16 else _MAX_DEPTH_BITS,
    )


def samples_in(seconds: float, grid: Pcm) -> int:
    """The samples of so much time on the grid, at least one."""
    return max(1, round(seconds * grid.sample_rate))


def cut_step(start: Position, segment_samples: int, reach: Sequence[Reach]) -> Step | None:
    """Cut the segment that begins at `start`; None where more has to be known of the clip that it reaches into.

    It is known only with the sample behind it whether a segment is the last. Raises ValueError for a start that lies
    behind the end of its clip.
    """
    ranges: list[Range] = []
    clip, sample, left = start.clip, start.sample, segment_samples
    while clip < len(reach):
        there = reach[clip]
        if there.is_whole and sample > there.samples:
            raise ValueError("the clip is shorter than that")
        taken = max(0, min(left, there.samples - sample))
        if taken:
            ranges.append(Range(clip, sample, sample + taken))
        sample, left = sample + taken, left - taken
        if sample < there.samples:
            return Step(tuple(ranges), Position(clip, sample), is_last=False)
        if not there.is_whole:
            return None
        clip, sample = clip + 1, 0
    return Step(tuple(ranges), Position(len(reach)), is_last=True)
