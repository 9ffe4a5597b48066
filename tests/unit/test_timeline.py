"""Clips on one grid of samples, cut into segments."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.extract.timeline import Grid, Piece, Position, Reach, Sound, Step, cut_step, grid_of

LENGTHS = st.lists(st.integers(0, 60), min_size=0, max_size=6)
SEGMENTS = st.integers(1, 40)


def whole(lengths: list[int]) -> list[Reach]:
    return [Reach(length, is_whole=True) for length in lengths]


def walk(lengths: list[int], segment_samples: int) -> list[Step]:
    """All steps from the start to the last one."""
    steps, position = [], Position()
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
    samples = [(piece.clip, at) for step in steps for piece in step.pieces for at in range(piece.start, piece.stop)]
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
    assert cut_step(Position(0, 1), 4, reach) == Step((Piece(0, 1, 3), Piece(2, 0, 2)), Position(4, 0), is_last=False)


def test_a_segment_is_last_only_when_that_is_known() -> None:
    """A segment that ends where its clip may go on has to wait for one more sample or for the clip's end."""
    assert cut_step(Position(), 5, [Reach(5, is_whole=False)]) is None
    assert cut_step(Position(), 5, [Reach(6, is_whole=False)]) == Step((Piece(0, 0, 5),), Position(0, 5), is_last=False)
    assert cut_step(Position(), 5, [Reach(5, is_whole=True)]) == Step((Piece(0, 0, 5),), Position(1), is_last=True)


def test_from_the_end_there_is_nothing() -> None:
    """The final position gives an empty last step, as often as one asks."""
    assert cut_step(Position(2), 5, whole([3, 4])) == Step((), Position(2), is_last=True)


def test_a_start_behind_its_clip_is_an_error() -> None:
    """A position that no walk gives is refused, and not read as another one."""
    with pytest.raises(ValueError, match="shorter"):
        cut_step(Position(0, 4), 5, whole([3, 9]))


def test_the_grid() -> None:
    """The first clip gives rate and channels, the deepest gives the depth: 16 bit, or 24 for all that is more."""
    assert grid_of([Sound(44100, 2, 16), Sound(96000, 6, 16)]) == Grid(44100, 2, 16)
    assert grid_of([Sound(8000, 1, 16), Sound(48000, 2, 32)]) == Grid(8000, 1, 24)
    assert Grid(44100, 2, 16).segment_samples(7.3) == 321930
    assert Grid(8000, 1, 16).segment_samples(0.00001) == 1
    with pytest.raises(ValueError, match="sound"):
        grid_of([])
