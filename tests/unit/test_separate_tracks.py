"""Stems become tracks: their names and order, the mix of all but vocals, and 16 bit."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import MissingModel
from streamsrv.separate.output import Output
from streamsrv.separate.tracks import ALIASES, INSTRUMENTAL, Clip, Mixdown, to_pcm

FOUR = ("drums", "bass", "other", "vocals")


def stems_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (count, 2, 50)).astype(np.float32)


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (FOUR, ("vocals", "drums", "bass", "other", INSTRUMENTAL)),
        (
            (*FOUR, "guitar", "piano"),
            ("vocals", "drums", "bass", "guitar", "piano", "other", INSTRUMENTAL),
        ),
        (("other", "zither"), ("other", "zither")),
        (("vocals",), ("vocals",)),
        (("vocals", "accompaniment"), ("vocals", "accompaniment", INSTRUMENTAL)),
    ],
)
def test_tracks_have_an_order(sources: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Vocals come first, what else is known behind, then what isn't; the instrumental is the last, if there is one."""
    assert Mixdown(sources).names == names


@given(st.permutations(FOUR))
def test_tracks_are_the_stems_of_their_names(sources: list[str]) -> None:
    """Whatever the model's order, a track is the stem of its name, and the instrumental all of them but the vocals."""
    stems, mixdown = stems_of(4), Mixdown(sources)
    tracks = dict(zip(mixdown.names, mixdown.tracks(stems), strict=True))
    for name, stem in zip(sources, stems, strict=True):
        assert np.array_equal(tracks[name], stem)
    others = sum(stem.astype(float) for name, stem in zip(sources, stems, strict=True) if name != "vocals")
    assert np.allclose(tracks[INSTRUMENTAL], others, atol=1e-6)


@given(
    st.lists(
        st.text(max_size=8) | st.sampled_from([*FOUR, INSTRUMENTAL, "a b", "../x", "", "stem0", "stem1", "stem2"]),
        max_size=5,
        unique=True,
    )
)
def test_names_can_stand_in_addresses(sources: list[str]) -> None:
    """Whatever a model of one's own calls its stems, each track has a name of its own that an address may have."""
    mixdown = Mixdown(sources)
    assert len(set(mixdown.names)) == len(mixdown.names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in mixdown.names)
    assert len(mixdown.tracks(stems_of(len(sources)))) == len(mixdown.names)


def test_base_is_the_bass() -> None:
    """The short document's name leads to the track it means."""
    assert ALIASES["base"] in Mixdown(FOUR).names


@pytest.mark.parametrize(("clip", "most"), [("clamp", round(0.99 * 32767)), ("none", 32767), ("tanh", 32767)])
def test_what_is_too_loud_is_cut(clip: Clip, most: int) -> None:
    """Beyond full scale samples stay at the limit of their kind, on both sides, and never wrap around."""
    loud = np.array([[-1e30, -5.0, -1.01, 1.01, 5.0, 1e30]], np.float32)
    values = np.frombuffer(to_pcm(loud, clip), "<i2")
    assert np.array_equal(values, -values[::-1])
    assert np.array_equal(values, np.sort(values))
    assert values.max() == most


@given(st.lists(st.floats(-0.984375, 0.984375, width=32), min_size=2, max_size=40), st.sampled_from(["clamp", "none"]))
def test_what_isnt_too_loud_is_rounded(samples: list[float], clip: Clip) -> None:
    """Channels are interleaved, and no sample is off by more than half a step."""
    planar = np.array([samples, samples[::-1]], np.float32)
    values = np.frombuffer(to_pcm(planar, clip), "<i2").reshape(-1, 2).T
    assert np.abs(values - planar.astype(float) * 32767).max() <= 0.5 + 2e-3  # floats of 32 bit


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
async def test_what_is_no_number_never_becomes_silence(wrong: float) -> None:
    """Samples of a model that aren't numbers end the song, in words; 16 bit would make silence or a crack of them."""
    stems = stems_of(len(FOUR))
    stems[1, 0, 20] = wrong
    output = Output([], Mixdown(FOUR), "clamp", clipped={}, counted=0)
    with pytest.raises(MissingModel, match="aren't numbers"):
        await output.write_stems(stems)
