"""Windows and overlap-add, against a plain transcription of `demucs.apply.apply_model` on the whole song."""

import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.separate.overlap import Blend, Moments, OverlapAdd, Plan, context, history, leads, passes_of, steps
from streamsrv.separate.settings import Part

Model = Callable[[np.ndarray], np.ndarray]
SOURCES = 3
HASH = "5e" * 32

lengths = st.integers(1, 300)
overlaps = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9])


@st.composite
def parts_of_bags(draw: st.DrawFn, *, most: int = 1) -> tuple[Part, ...]:
    segments = draw(st.lists(st.integers(11, 60), min_size=1, max_size=most))
    kinds = [draw(st.sampled_from([(True, 0), (False, 0), (False, 7), (True, 5)])) for _ in segments]
    return tuple(
        Part(models=(number,), segment=segment, margin=margin, fixed=fixed)
        for number, (segment, (fixed, margin)) in enumerate(zip(segments, kinds, strict=True))
    )


def song_of(length: int) -> np.ndarray:
    return np.random.default_rng(length).normal(0, 1, (2, length)).astype(np.float32)


def fake_model(piece: np.ndarray) -> np.ndarray:
    """What it makes of a sample depends on the whole piece and on where the sample is in it."""
    ramp = np.linspace(0.5, 1.5, piece.shape[-1], dtype=np.float32)
    loudness = np.float32(np.abs(piece).sum())
    return np.stack([piece * (ramp + source) + loudness for source in range(SOURCES)])


def identity(piece: np.ndarray) -> np.ndarray:
    return np.stack([piece] * SOURCES)


def seen_length(part: Part, length: int) -> int:
    """A window of this length and what is around it: Demucs's `valid_length`."""
    return max(part.segment if part.fixed else 0, length + 2 * part.margin)


def padded(song: np.ndarray, offset: int, length: int, target: int) -> np.ndarray:
    """`TensorChunk.padded`, word for word."""
    delta = target - length
    start = offset - delta // 2
    end = start + target
    correct_start, correct_end = max(0, start), min(song.shape[-1], end)
    return np.pad(song[..., correct_start:correct_end], ((0, 0), (correct_start - start, end - correct_end)))


def center_trim(made: np.ndarray, length: int) -> np.ndarray:
    delta = made.shape[-1] - length
    return made[..., delta // 2 : made.shape[-1] - (delta - delta // 2)]


def of_the_whole(song: np.ndarray, part: Part, overlap: float, model: Model, lead: int = 0) -> np.ndarray:
    """`apply_model` with split, of a song behind `lead` zeros."""
    shifted = np.pad(song, ((0, 0), (lead, 0)))
    length, segment = shifted.shape[-1], part.segment
    out = np.zeros((SOURCES, *shifted.shape), np.float32)
    sum_weight = np.zeros(length, np.float32)
    weight = np.concatenate([np.arange(1, segment // 2 + 1), np.arange(segment - segment // 2, 0, -1)])
    weight = weight.astype(np.float32) / np.float32(weight.max())
    for offset in range(0, length, int((1 - overlap) * segment)):
        chunk = min(segment, length - offset)
        made = center_trim(model(padded(shifted, offset, chunk, seen_length(part, chunk))), chunk)
        out[..., offset : offset + segment] += weight[:chunk] * made
        sum_weight[offset : offset + segment] += weight[:chunk]
    return (out / sum_weight)[..., lead:]


def in_windows(
    song: np.ndarray,
    parts: Sequence[Part],
    overlap: float,
    model: Model,
    *,
    silences: Sequence[int] = (0,),
    since: int = 0,
) -> np.ndarray:
    """What the server does: one window after the other, each from its piece of the song."""
    passes = passes_of(parts, silences, overlap, song.shape[-1])
    blend = Blend(passes, SOURCES, 2, since)
    stretches = [np.empty((SOURCES, 2, 0), np.float32)]
    for step in steps(passes, parts, since):
        before = max(0, -step.begin)
        piece = np.pad(song[:, max(0, step.begin) : max(0, step.end)], ((0, 0), (before - max(0, -step.end), 0)))
        assert piece.shape[-1] == step.end - step.begin
        part, length = parts[step.part], step.span.length
        made = center_trim(model(padded(piece, step.span.left, length, seen_length(part, length))), length)
        at = blend.position
        stretches.append(blend.add(step, made))
        assert blend.position == at + stretches[-1].shape[-1]
    assert blend.position == song.shape[-1]
    return np.concatenate(stretches, axis=-1)


@given(length=lengths, parts=parts_of_bags(), overlap=overlaps, model=st.sampled_from([identity, fake_model]))
def test_windows_make_the_whole(length: int, parts: tuple[Part, ...], overlap: float, model: Model) -> None:
    """Windows that come one by one give bit for bit what Demucs's way gives of the whole song."""
    song = song_of(length)
    whole = of_the_whole(song, parts[0], overlap, model)
    assert np.array_equal(in_windows(song, parts, overlap, model), whole)
    if model is identity:
        assert np.allclose(whole, song, atol=1e-5)


@given(length=lengths, parts=parts_of_bags(), overlap=overlaps, since=st.floats(0, 1))
def test_it_goes_on_where_it_stopped(length: int, parts: tuple[Part, ...], overlap: float, since: float) -> None:
    """What is resumed at any sample gives bit for bit what one run from the start gives behind it."""
    song, sample = song_of(length), int(since * length)
    whole = in_windows(song, parts, overlap, fake_model)
    assert np.array_equal(in_windows(song, parts, overlap, fake_model, since=sample), whole[..., sample:])


@given(
    length=lengths,
    parts=parts_of_bags(most=3),
    overlap=overlaps,
    silences=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    since=st.floats(0, 1),
)
def test_passes_are_blended(
    length: int, parts: tuple[Part, ...], overlap: float, silences: list[int], since: float
) -> None:
    """Parts of a bag are summed, shifts averaged, whatever their windows are; and that can be resumed, too."""
    song, sample = song_of(length), int(since * length)
    expected = sum(
        of_the_whole(song, part, overlap, fake_model, lead).astype(np.float64) for part in parts for lead in silences
    ) / len(silences)
    whole = in_windows(song, parts, overlap, fake_model, silences=silences)
    assert np.allclose(whole, expected, rtol=1e-5, atol=1e-4)
    resumed = in_windows(song, parts, overlap, fake_model, silences=silences, since=sample)
    assert np.array_equal(resumed, whole[..., sample:])


@given(
    length=lengths,
    parts=parts_of_bags(most=3),
    overlap=overlaps,
    silences=st.lists(st.integers(0, 40), min_size=1, max_size=3),
)
def test_only_a_short_stretch_has_to_be_at_hand(
    length: int, parts: tuple[Part, ...], overlap: float, silences: list[int]
) -> None:
    """Steps follow each other in the song's time, none reads further back than `history`, none past the song's end."""
    walk = list(steps(passes_of(parts, silences, overlap, length), parts))
    starts = [step.begin + step.span.left for step in walk]
    assert starts == sorted(starts)
    for number, step in enumerate(walk):
        assert all(later.begin >= starts[number] - history(parts) for later in walk[number:])
        assert step.end <= length


@given(length=lengths, segment=st.integers(1, 60), overlap=overlaps, sample=st.integers(0, 320))
def test_the_first_window_that_reaches(length: int, segment: int, overlap: float, sample: int) -> None:
    """`first_reaching` is the first window that ends behind the sample; past the song's end there is none."""
    try:
        plan = Plan.of(segment, overlap, length)
    except ValueError:
        assert int((1 - overlap) * segment) == 0
        return
    reaching = [window.number for window in plan.windows() if window.end > sample]
    assert plan.first_reaching(sample) == min(reaching, default=plan.count)
    assert [window.start for window in plan.windows()] == list(range(0, length, plan.stride))


def test_memory_is_that_of_a_segment() -> None:
    """Adding up a hundred times as many windows takes no more memory."""

    def peak_bytes(windows: int) -> int:
        plan = Plan.of(1000, 0.25, windows * 750)
        output = np.ones((4, 2, 1000), np.float32)
        tracemalloc.start()
        adder = OverlapAdd(plan, 4, 2)
        for window in plan.windows():
            adder.add(window, output[..., : window.length])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(5)
    assert peak_bytes(500) < 1.1 * peak_bytes(5)
    assert peak_bytes(5) < 5 * 4 * 2 * 1000 * 4


def test_blended_passes_wait_for_each_other_only_shortly() -> None:
    """Passes that are put together keep no more than about a segment each, however long the song is."""

    def peak_bytes(seconds: int) -> int:
        parts = (
            Part(models=(0,), segment=1000, margin=0, fixed=True),
            Part(models=(1,), segment=700, margin=9, fixed=False),
        )
        passes = passes_of(parts, (0, 400), 0.25, seconds * 1000)
        tracemalloc.start()
        blend = Blend(passes, 4, 2)
        for step in steps(passes, parts):
            blend.add(step, np.ones((4, 2, step.span.length), np.float32))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(5)
    assert peak_bytes(200) < 1.1 * peak_bytes(5)


def test_windows_come_in_order() -> None:
    """A window out of order is a mistake that is noticed."""
    plan = Plan.of(10, 0.5, 100)
    adder = OverlapAdd(plan, 1, 1)
    with pytest.raises(ValueError, match="where 0 was due"):
        adder.add(plan.window(1), np.zeros((1, 1, 10), np.float32))


@pytest.mark.parametrize("overlap", [-0.1, 0.95, 1.0, 1.5])
def test_an_overlap_must_leave_a_stride(overlap: float) -> None:
    """Windows that wouldn't move on, or would leave gaps, are refused."""
    with pytest.raises(ValueError, match="no stride"):
        Plan.of(10, overlap, 100)


def test_context_is_what_the_model_reads() -> None:
    """A short window is seen with what is before it, a whole one with its margin, as far as the song goes."""
    fixed = Part(models=(0,), segment=10, margin=0, fixed=True)
    plan = Plan.of(10, 0.0, 24)
    assert [context(fixed, plan, window) for window in plan.windows()] == [(0, 0), (0, 0), (3, 0)]
    loose = Part(models=(0,), segment=10, margin=6, fixed=False)
    assert [context(loose, plan, window) for window in plan.windows()] == [(0, 6), (6, 4), (6, 0)]


def test_leads_are_of_the_song() -> None:
    """The same song gets the same silences, another one others, none longer than half a second."""
    assert leads(HASH, 0, 44100) == (0,)
    many = leads(HASH, 200, 44100)
    assert many == leads(HASH, 200, 44100) != leads("5f" * 32, 200, 44100)
    assert leads(HASH, 3, 44100) == many[:3]
    assert 0 <= min(many) < 1000 < 21000 < max(many) <= 22050


@given(
    samples=st.integers(2, 2000),
    cuts=st.lists(st.floats(0, 1), max_size=5),
    offset=st.floats(-100, 100),
    loudness=st.floats(1e-3, 100),
)
def test_moments_of_any_chunks(samples: int, cuts: list[float], offset: float, loudness: float) -> None:
    """Mean and deviation are those of the whole, however it comes in chunks."""
    song = (song_of(samples) * loudness + offset).astype(np.float32)
    edges = [0, *sorted(int(cut * samples) for cut in cuts), samples]
    moments = Moments()
    for first, last in pairwise(edges):
        moments.add(song[:, first:last])
    mono = song.astype(np.float64).mean(axis=0)
    assert moments.count == samples
    assert moments.mean == pytest.approx(mono.mean(), rel=1e-6, abs=1e-6 * loudness)
    assert moments.std == pytest.approx(mono.std(ddof=1), rel=1e-6)


def test_moments_of_next_to_nothing() -> None:
    """One sample deviates by nothing, and so does none."""
    moments = Moments()
    assert (moments.count, moments.mean, moments.std) == (0, 0.0, 0.0)
    moments.add(np.full((2, 1), 0.5, np.float32))
    assert (moments.count, moments.mean, moments.std) == (1, 0.5, 0.0)
