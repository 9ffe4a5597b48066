"""Clips on one grid of samples, cut into segments."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import UnusableFile
from streamsrv.extract.timeline import Position, Range, Reach, Step, cut_step, grid_of, samples_in
from streamsrv.media.arguments import Pcm
from streamsrv.media.film import Track

LENGTHS = st.lists(st.integers(0, 60), min_size=0, max_size=6)
SEGMENTS = st.integers(1, 40)


def whole(lengths: list[int]) -> list[Reach]:
    return [Reach(length, is_whole=True) for length in lengths]


def walk(lengths: list[int], segment_samples: int) -> list[Step]:
    """All steps from the start to the last one."""
    steps: list[Step] = []
    position = Position()
    while not steps or not steps[-1].is_last:
        step = cut_step(position, segment_samples, whole(lengths))
        assert step is not None
        steps.append(step)
        position = step.next
    return steps


@given(LENGTHS, SEGMENTS)
def test_a_walk_covers_every_sample_once_and_in_order(lengths: list[int], segment_samples: int) -> None:
    """All segments joined are all clips joined; all but the last are full, and that one is not empty."""
    steps = walk(lengths, segment_samples)
    samples = [(range_.clip, at) for step in steps for range_ in step.ranges for at in range(range_.start, range_.stop)]
    assert samples == [(clip, at) for clip, length in enumerate(lengths) for at in range(length)]
    assert all(step.samples == segment_samples for step in steps[:-1])
    assert (steps[-1].samples > 0) is (sum(lengths) > 0)
    assert steps[-1].next == Position(len(lengths))


@given(LENGTHS, SEGMENTS, st.data())
def test_what_is_known_later_changes_no_step(lengths: list[int], segment_samples: int, data: st.DataObject) -> None:
    """A step that can be cut while clips are still being decoded is the step that is cut once they all are."""
    known = [Reach(data.draw(st.integers(0, length)), is_whole=False) for length in lengths]
    for clip, length in enumerate(lengths):
        if known[clip].samples == length and data.draw(st.booleans()):
            known[clip] = Reach(length, is_whole=True)
    for step, start in zip(steps := walk(lengths, segment_samples), starts(steps), strict=True):
        assert cut_step(start, segment_samples, known) in (None, step)


def starts(steps: list[Step]) -> list[Position]:
    return [Position(), *(step.next for step in steps[:-1])]


@given(LENGTHS, SEGMENTS)
def test_positions_only_grow(lengths: list[int], segment_samples: int) -> None:
    """Each step leads on, so every walk ends."""
    points = [*starts(steps := walk(lengths, segment_samples)), steps[-1].next]
    assert all(before < after for before, after in itertools.pairwise(points)) or not any(lengths)


def test_a_segment_reaches_over_clips_and_empty_ones() -> None:
    """A segment takes what it needs from as many clips as it needs; the next one begins where there is a sample."""
    reach = whole([3, 0, 2, 0, 5])
    assert cut_step(Position(0, 1), 4, reach) == Step((Range(0, 1, 3), Range(2, 0, 2)), Position(4, 0), is_last=False)


def test_a_segment_is_last_only_when_that_is_known() -> None:
    """A segment that ends where its clip may go on has to wait for one more sample or for the clip's end."""
    assert cut_step(Position(), 5, [Reach(5, is_whole=False)]) is None
    assert cut_step(Position(), 5, [Reach(6, is_whole=False)]) == Step((Range(0, 0, 5),), Position(0, 5), is_last=False)
    assert cut_step(Position(), 5, [Reach(5, is_whole=True)]) == Step((Range(0, 0, 5),), Position(1), is_last=True)


def test_from_the_end_there_is_nothing() -> None:
    """The final position gives an empty last step, as often as one asks."""
    assert cut_step(Position(2), 5, whole([3, 4])) == Step((), Position(2), is_last=True)


def test_a_start_behind_its_clip_is_an_error() -> None:
    """A position that no walk gives is refused, and not read as another one."""
    with pytest.raises(ValueError, match="shorter"):
        cut_step(Position(0, 4), 5, whole([3, 9]))


def track(rate: int = 44100, channels: int = 2, depth_bits: int = 16, layout: str | None = None) -> Track:
    return Track(0, "flac", rate, channels, depth_bits, None, layout)


def test_the_grid() -> None:
    """The first clip gives rate and layout, the deepest gives the depth: 16 bit, or 24 for all that is more."""
    cd = Pcm(sample_rate=44100, layout="stereo", channels=2, depth_bits=16)
    assert grid_of([track(), track(96000, 6)]) == cd
    assert grid_of([track(), track(8000, 1, 32)]) == replace(cd, depth_bits=24)
    assert grid_of([track(48000, 6, layout="5.1(side)")]).layout == "5.1(side)"
    assert [grid_of([track(channels=count)]).layout for count in (1, 3, 6, 8)] == ["mono", "2.1", "5.1", "7.1"]
    with pytest.raises(ValueError, match="track"):
        grid_of([])
    with pytest.raises(UnusableFile, match="16 channels"):
        grid_of([track(channels=16)])


def test_a_segment_has_whole_samples() -> None:
    """A segment's length is rounded to samples, and never to none."""
    assert samples_in(7.3, grid_of([track()])) == 321930
    assert samples_in(0.00001, grid_of([track(8000, 1)])) == 1
