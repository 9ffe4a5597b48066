"""How close a separated stem is to the true one, in dB."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.measures import LIMIT_DB, Summary, decibels, is_silent, sdr, si_sdr, summary, table

SHAPE = (2, 4000)
SILENCE = np.zeros(SHAPE, np.float32)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, SHAPE).astype(np.float32)


def orthogonal(seed: int, to: np.ndarray) -> np.ndarray:
    """Noise as loud as `to`, of which `to` has nothing."""
    other = noise(seed).astype(np.float64)
    other -= np.sum(other * to) / np.sum(np.square(to, dtype=np.float64)) * to
    return other * np.sqrt(np.sum(np.square(to, dtype=np.float64)) / np.sum(other**2))


@pytest.mark.parametrize("level_db", [-20.0, -6.0, 0.0, 10.0])
def test_distortion_is_measured_by_its_energy(level_db: float) -> None:
    """What was added to a stem at so many dB beside it is the ratio, with its sign turned; by both measures."""
    stem = noise(1)
    estimate = (stem + orthogonal(2, stem) * 10 ** (level_db / 20)).astype(np.float32)
    assert sdr(stem, estimate) == pytest.approx(-level_db, abs=0.01)
    assert si_sdr(stem, estimate) == pytest.approx(-level_db, abs=0.01)


@given(gain=st.floats(0.01, 100.0))
def test_loudness_matters_to_one_measure_alone(gain: float) -> None:
    """An estimate that is too loud or too quiet is a distorted one to SDR, and the same one to SI-SDR."""
    stem = noise(1)
    estimate = stem + noise(2) / 4
    louder = (estimate * np.float32(gain)).astype(np.float32)
    assert si_sdr(stem, louder) == pytest.approx(si_sdr(stem, estimate), abs=0.01)
    quiet = 20 * math.log10(abs(1 - gain)) if abs(1 - gain) > 1e-3 else -60.0
    assert sdr(stem, (stem * np.float32(gain)).astype(np.float32)) == pytest.approx(-quiet, abs=0.1) or quiet <= -59


def test_a_song_is_measured_as_a_whole() -> None:
    """All samples of all channels count alike: one of two channels that is lost costs half of the energy."""
    stem = noise(1)
    stem[1] = stem[0]
    estimate = stem.copy()
    estimate[1] = 0
    assert sdr(stem, estimate) == pytest.approx(10 * math.log10(2), abs=1e-4)


def test_silence_has_a_ratio() -> None:
    """Silence, true or estimated, gives a finite number, and a silent estimate 0 dB, as the challenge has it."""
    stem = noise(1)
    assert sdr(stem, SILENCE) == pytest.approx(0.0)
    assert sdr(SILENCE, SILENCE) == pytest.approx(0.0)
    assert -100 < sdr(SILENCE, stem) < -60
    assert sdr(stem, stem) > 60
    assert [si_sdr(*pair) for pair in ((stem, SILENCE), (SILENCE, stem), (SILENCE, SILENCE))] == [-LIMIT_DB] * 3
    assert si_sdr(stem, stem) == LIMIT_DB


def test_what_cannot_be_compared_is_refused() -> None:
    """Stems of other lengths, and samples that aren't numbers, are errors and no figures."""
    for measure in (sdr, si_sdr):
        with pytest.raises(ValueError, match="compared"):
            measure(SILENCE, SILENCE[:, 1:])
        with pytest.raises(ValueError, match="numbers"):
            measure(SILENCE, SILENCE * np.float32("nan"))


def test_silence_is_what_rounding_leaves() -> None:
    """A step or two of 16 bits are silence, a quiet sound isn't."""
    step = np.float32(1 / 32768)
    assert is_silent(SILENCE)
    assert is_silent(SILENCE[:, :0])
    assert is_silent(SILENCE + 2 * step)
    assert not is_silent(SILENCE + 10 * step)


def test_a_summary_has_mean_median_and_worst() -> None:
    """Several songs become three numbers, and none where there are no songs."""
    assert summary([]) is None
    assert summary([4.0, -2.0, 1.0, 9.0]) == Summary(4, 3.0, 2.5, -2.0)
    assert (decibels(summary([4.0, -2.0])), decibels(None)) == ("1.0 / 1.0 / -2.0", "-")


def test_a_table_is_markdown() -> None:
    """Columns are of one width; names stand on the left, numbers on the right."""
    assert table(["", "SDR"], [["drums", "4.0"], ["bass", "-12.5"]]).splitlines() == [
        "|       |   SDR |",
        "| ----- | ----: |",
        "| drums |   4.0 |",
        "| bass  | -12.5 |",
    ]
