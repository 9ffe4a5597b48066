"""A separation without any learning: what it makes of sounds that are made for it."""

from dataclasses import asdict

import numpy as np
import pytest

from training.baseline import Tuning, separate, tune
from training.measures import sdr, si_sdr
from training.songs.score import RATE, STEMS

SECONDS = 3
TIME = np.arange(RATE * SECONDS) / RATE


def clicks() -> np.ndarray:
    """Four bursts of noise in a second, in the middle."""
    burst = np.random.default_rng(1).normal(0, 0.5, RATE // 50)
    sound = np.zeros(TIME.size)
    for start in range(RATE // 8, sound.size - burst.size, RATE // 4):
        sound[start : start + burst.size] = burst * np.linspace(1, 0, burst.size)
    return np.stack([sound, sound])


def low_tone() -> np.ndarray:
    tone = 0.3 * np.sin(2 * np.pi * 65 * TIME)
    return np.stack([tone, tone])


def chord_on_the_left() -> np.ndarray:
    tone = 0.1 * sum(np.sin(2 * np.pi * hz * TIME) for hz in (523, 659, 784))
    return np.stack([tone, 0 * tone])


def trembling_tone() -> np.ndarray:
    """A note of six partials that trembles as a singer's does, in the middle."""
    phase = 2 * np.pi * np.cumsum(440 * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * TIME))) / RATE
    tone = 0.1 * sum(np.sin(partial * phase) for partial in range(1, 7))
    return np.stack([tone, tone])


MADE = {"drums": clicks, "bass": low_tone, "other": chord_on_the_left, "vocals": trembling_tone}


def song() -> np.ndarray:
    return np.stack([MADE[name]() for name in STEMS]).astype(np.float32)


def test_each_sound_goes_to_its_stem() -> None:
    """Bursts are drums, a low tone is bass, a tone that trembles in the middle vocals, a chord at the side the rest.

    No other estimate is nearer to a stem, and the mix is much farther.
    """
    truth = song()
    found = separate(truth.sum(axis=0))
    mix = truth.sum(axis=0)
    for place, stem in enumerate(truth):
        ratios = [si_sdr(stem, estimate) for estimate in found]
        assert int(np.argmax(ratios)) == place, STEMS[place]
        assert sdr(stem, found[place]) > sdr(stem, mix) + 5, STEMS[place]


@pytest.mark.parametrize("samples", [0, 1, 100, 5000, 44_100, 100_003])
def test_stems_sum_to_the_mix(samples: int) -> None:
    """Nothing is lost or added, whatever the length."""
    mix = np.random.default_rng(2).normal(0, 0.2, (2, samples)).astype(np.float32)
    stems = separate(mix)
    assert (stems.shape, stems.dtype) == ((len(STEMS), 2, samples), np.float32)
    assert np.allclose(stems.sum(axis=0), mix, atol=1e-6)


def test_silence_stays_silent() -> None:
    """Silence divides nothing by nothing."""
    assert not separate(np.zeros((2, RATE), np.float32)).any()


def test_tuning_only_improves() -> None:
    """Each step changes one number and is better than the one before; the first is what was there."""
    bad = Tuning(bass_hz=40.0)
    steps = []
    for step in tune([song()[..., :RATE]], bad):
        steps.append(step)
        if len(steps) == 2:
            break
    (first, before), (second, after) = steps
    changed = [name for name, value in asdict(first).items() if asdict(second)[name] != value]
    assert (first, len(changed)) == (bad, 1)
    assert after > before
