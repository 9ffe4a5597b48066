"""Parts of a sound."""

from decimal import Decimal
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsrv.media.cut import WHOLE, Cut

RATES = st.sampled_from([8000, 11025, 22050, 44100, 48000, 96000, 192000])
# As they can be asked for.
NANOSECOND = Decimal("1e-9")


def between(start: Decimal, end: Decimal) -> Cut:
    """The part from one mark to the next, as a client asks for it that reckons in decimals."""
    return Cut(float(start), float(end - start))


@st.composite
def rates_and_marks(draw: st.DrawFn) -> tuple[int, list[Decimal]]:
    """A rate, and marks up to days away that are more than two samples from each other."""
    rate = draw(RATES)
    first = draw(st.decimals(0, 86400, places=9))
    nearest = Decimal(2) // (rate * NANOSECOND) * NANOSECOND + NANOSECOND
    gaps = draw(st.lists(st.decimals(nearest, 86400, places=9), min_size=1, max_size=7))
    return rate, list(accumulate(gaps, initial=first))


@pytest.mark.parametrize(
    ("cut", "samples"),
    [
        (WHOLE, (0, None)),
        (Cut(1.5), (12000, None)),
        (Cut(0.0, 1.5), (0, 12000)),
        (Cut(0.25, 0.5), (2000, 6000)),
        (Cut(3.0, 1e-9), (24000, 24001)),
    ],
)
def test_seconds_become_samples(cut: Cut, samples: tuple[int, int | None]) -> None:
    """A part is told by its first sample and the one behind its last; it is never empty."""
    assert cut.samples(8000) == samples


@given(rate=RATES, edges=st.lists(st.integers(0, 1 << 31), min_size=2, max_size=8, unique=True).map(sorted))
def test_parts_between_samples_are_exact(rate: int, edges: list[int]) -> None:
    """What begins and ends at samples, written with nine places, begins and ends just there."""
    for start, end in pairwise(edges):
        part = between(round(Decimal(start) / rate, 9), round(Decimal(end) / rate, 9))
        assert part.samples(rate) == (start, end)


# Half a sample, which decimals hit exactly and sums of floats miss.
@example((11025, [Decimal(mark) / 10 for mark in range(50)]))
@given(rates_and_marks())
def test_parts_laid_end_to_end_cover_a_sound_exactly(sound: tuple[int, list[Decimal]]) -> None:
    """Where one part ends the next one begins: no sample is in two of them, and none between them is lost."""
    rate, marks = sound
    parts = [*(between(start, end) for start, end in pairwise(marks)), Cut(float(marks[-1]))]
    edges = [part.samples(rate) for part in parts]
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    assert edges == sorted(set(edges))


@given(whole=st.floats(0, 1e6), marks=st.lists(st.floats(0, 1e6), max_size=8).map(sorted))
def test_lengths_of_parts_add_up(whole: float, marks: list[float]) -> None:
    """The parts up to each mark and from the last one on are together as long as the sound; none is negative."""
    edges = [0.0, *marks]
    parts = [Cut(start, end - start) for start, end in pairwise(edges)] + [Cut(edges[-1])]
    lengths = [part.seconds_of(whole) for part in parts]
    assert min(lengths) >= 0
    assert sum(lengths) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    ("cut", "seconds"),
    [
        (WHOLE, 10.0),
        (Cut(4.0), 6.0),
        (Cut(4.0, 2.0), 2.0),
        (Cut(4.0, 20.0), 6.0),
        (Cut(10.0), 0.0),
        (Cut(11.0, 5.0), 0.0),
    ],
)
def test_a_part_reaches_to_the_end_of_the_sound_at_most(cut: Cut, seconds: float) -> None:
    """Of ten seconds there is what lies within them."""
    assert cut.seconds_of(10.0) == seconds
