"""What the studio's effects promise: lengths, levels, bands and sides."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal

from training.songs import effects
from training.songs.effects import Sound
from training.songs.score import RATE


def sine(hertz: float, seconds: float = 1.0, level: float = 0.5) -> Sound:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def stereo(mono: Sound) -> Sound:
    return np.stack((mono, mono))


def seeded(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


EFFECTS: dict[str, Callable[[Sound], Sound]] = {
    "room": lambda sound: effects.room(sound, seeded(), 0.8, 0.3),
    "compress": lambda sound: effects.compress(sound, -20, 4, 0.005, 0.1),
    "equalize": lambda sound: effects.equalize(sound, seeded()),
    "chorus": lambda sound: effects.chorus(sound, seeded()),
    "saturate": lambda sound: effects.saturate(sound, 4),
    "crush": lambda sound: effects.crush(sound, 8, 3),
    "tremolo": lambda sound: effects.tremolo(sound, 5, 0.5, 1),
    "delay": lambda sound: effects.delay(sound, 0.25, 0.5, 0.4),
    "lowpass": lambda sound: effects.lowpass(sound, 900),
    "highpass": lambda sound: effects.highpass(sound, 900),
    "gain_to": lambda sound: effects.gain_to(sound, -20),
}


@pytest.mark.parametrize("samples", [1, 63, 1000, RATE])
@pytest.mark.parametrize("name", EFFECTS)
def test_each_effect_keeps_length_and_type(name: str, samples: int) -> None:
    """Whatever is done to a stereo sound, it stays float32, finite and as long as it was; silence stays silent."""
    sound = seeded().uniform(-0.5, 0.5, (2, samples)).astype(np.float32)
    before = sound.copy()
    done = EFFECTS[name](sound)
    assert (done.shape, done.dtype) == (sound.shape, np.float32)
    assert np.isfinite(done).all()
    assert np.array_equal(sound, before)
    assert np.abs(EFFECTS[name](np.zeros_like(sound))).max() < 1e-9


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("hertz", [40, 1000, 15_000])
def test_filters_are_butterworths(hertz: float, order: int) -> None:
    """Each filter is the one that scipy designs."""
    click = np.zeros(2000, np.float32)
    click[0] = 1
    for kind, done in (("low", effects.lowpass), ("high", effects.highpass)):
        expected = signal.sosfilt(signal.butter(order, hertz, kind, fs=RATE, output="sos"), click)
        assert np.allclose(done(click, hertz, order), expected, atol=1e-5)


def test_filters_part_low_from_high() -> None:
    """A filter keeps its own side and takes at least 30 dB from two octaves and a half beyond."""
    low, high = sine(100), sine(6400)
    assert rms(effects.lowpass(low, 1000)) == pytest.approx(rms(low), rel=0.02)
    assert rms(effects.highpass(high, 1000)) == pytest.approx(rms(high), rel=0.02)
    assert rms(effects.lowpass(high, 1000)) < 0.032 * rms(high)
    assert rms(effects.highpass(low, 1000)) < 0.032 * rms(low)


@pytest.mark.parametrize(
    ("section", "lifted", "kept"),
    [
        (effects.shelf(500, 6, high=False), 20, 20_000),
        (effects.shelf(500, 6, high=True), 20_000, 20),
        (effects.peak(1000, 6, 1), 1000, 20),
    ],
    ids=["low shelf", "high shelf", "bell"],
)
def test_bands_lift_where_they_say(section: list[float], lifted: float, kept: float) -> None:
    """A band of 6 dB lifts its own region by 6 dB and leaves the far end alone."""
    above, below = np.array(section[:3]), np.array(section[3:])

    def lift_db(hertz: float) -> float:
        turns = np.exp(-2j * np.pi * hertz / RATE * np.arange(3))
        return float(20 * np.log10(abs(above @ turns / (below @ turns))))

    assert lift_db(lifted) == pytest.approx(6, abs=0.1)
    assert lift_db(kept) == pytest.approx(0, abs=0.1)


def test_compression_turns_down_the_loud_alone() -> None:
    """Twelve dB above the threshold with a ratio of 4 leave 3 dB; what is below stays untouched."""
    loud, soft = sine(1000, level=10 ** (-8 / 20)), sine(1000, level=10 ** (-30 / 20))
    settled = effects.compress(loud, -20, 4, 0.005, 0.5)[RATE // 2 :]
    assert 20 * np.log10(np.abs(settled).max()) == pytest.approx(-17, abs=0.4)
    assert np.array_equal(effects.compress(soft, -20, 4, 0.005, 0.5), soft)


def test_compression_recovers() -> None:
    """After a loud part the gain comes back in about the release."""
    sound = np.concatenate((sine(1000, level=0.8), sine(1000, 2, level=0.05)))
    done = effects.compress(sound, -20, 8, 0.002, 0.2)
    assert rms(done[RATE : RATE + 2000]) < 0.6 * rms(sound[RATE : RATE + 2000])
    assert rms(done[-2000:]) == pytest.approx(rms(sound[-2000:]), rel=0.02)


def test_saturation_adds_overtones_and_keeps_the_peak() -> None:
    """A driven sine has a third harmonic, and its peak is where it was."""
    sound = sine(1000)
    spectrum = np.abs(np.fft.rfft(effects.saturate(sound, 6)))
    assert spectrum[3000] > 0.1 * spectrum[1000]
    assert np.abs(effects.saturate(sound, 6)).max() == pytest.approx(0.5, rel=1e-3)


def test_a_room_falls_by_60_db_in_its_time() -> None:
    """The answer of a room has fallen by 60 dB (give or take) after `seconds`, and gets darker on the way."""
    answer = effects.impulse(seeded(), 2.0)
    early, late = answer[:, 4410:13230], answer[:, -8820:]
    fallen_db = 20 * np.log10(rms(early) / rms(late))
    assert 40 < fallen_db < 70
    assert centroid(late[0]) < 0.7 * centroid(early[0])


def centroid(mono: Sound) -> float:
    power = np.square(np.abs(np.fft.rfft(mono)))
    return float(np.sum(power * np.fft.rfftfreq(mono.size, 1 / RATE)) / power.sum())


def test_a_room_is_made_of_its_seed() -> None:
    """The same seed builds the same room, another one another; its sides differ, and dry is untouched."""
    sound = stereo(sine(440, 0.3))
    once, again, other = (effects.room(sound, seeded(seed), 0.5, 0.4) for seed in (3, 3, 4))
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)
    assert not np.allclose(once[0], once[1])
    assert np.allclose(effects.room(sound, seeded(), 0.5, 0), sound)


@pytest.mark.parametrize("width", [0, 0.5, 1])
@pytest.mark.parametrize("pan", [-1, -0.3, 0, 1])
def test_places_have_the_same_power(pan: float, width: float) -> None:
    """Wherever and however wide noise is placed, its power is that of the mono sound within 1.5 dB."""
    mono = seeded().standard_normal(RATE).astype(np.float32)
    placed = effects.place(mono, pan, width)
    assert placed.shape == (2, RATE)
    assert 20 * np.log10(np.sqrt(2) * rms(placed) / rms(mono)) == pytest.approx(0, abs=1.5)
    assert (rms(placed[0]) > rms(placed[1])) == (pan < 0) or pan == 0


def test_width_tells_the_sides_apart() -> None:
    """Without width both sides are the same; with it they correlate less."""
    mono = seeded().standard_normal(RATE).astype(np.float32)
    narrow, wide = effects.place(mono, 0), effects.place(mono, 0, 1)
    assert np.corrcoef(narrow)[0, 1] == pytest.approx(1)
    assert np.corrcoef(wide)[0, 1] < 0.5


def test_chorus_widens_mono() -> None:
    """A chorus makes two different sides of one sound, about as loud."""
    done = effects.chorus(sine(440), seeded())
    assert done.shape == (2, RATE)
    assert not np.allclose(done[0], done[1], atol=1e-3)
    assert 0.3 < rms(done) / rms(sine(440)) < 1.3


def test_tremolo_swells() -> None:
    """A full tremolo falls to nothing and comes back; spread over the sides one is loud while the other is not."""
    done = effects.tremolo(stereo(np.ones(RATE, np.float32)), 1, 1, 1)
    assert done.min() == pytest.approx(0, abs=1e-4)
    assert done.max() == pytest.approx(1, abs=1e-4)
    assert np.allclose(done.sum(axis=0), 1, atol=1e-4)


def test_echoes_change_sides() -> None:
    """Each repeat comes a step later, on the other side, weaker by the feedback."""
    click = np.zeros((2, RATE), np.float32)
    click[:, 0] = 1
    echo = effects.delay(click, 0.25, 0.5, 0.4) - click
    step = RATE // 4
    tops = [[float(np.abs(side[at : at + 400]).max()) for side in echo] for at in (step, 2 * step, 3 * step)]
    assert [left > 0 for left, _ in tops] == [True, False, True]
    assert [right > 0 for _, right in tops] == [False, True, False]
    assert tops[1][1] == pytest.approx(0.5 * tops[0][0])


def test_loudness_is_that_of_what_sounds() -> None:
    """A sine of peak 0.5 is -9 dB loud, in mono, in stereo and between silences; silence is -120 dB."""
    sound = sine(1000, 2)
    rests = np.concatenate((np.zeros(4 * RATE, np.float32), sound, np.zeros(4 * RATE, np.float32)))
    assert effects.loudness_db(sound) == pytest.approx(-9.03, abs=0.05)
    assert effects.loudness_db(stereo(sound)) == pytest.approx(-9.03, abs=0.05)
    assert effects.loudness_db(rests) == pytest.approx(-9.03, abs=0.8)
    assert effects.loudness_db(np.zeros((2, RATE), np.float32)) == -120
    assert effects.loudness_db(np.zeros(0, np.float32)) == -120


def test_gain_sets_the_loudness() -> None:
    """After gain_to a sound measures what was asked, however soft it was."""
    for level in (0.9, 1e-3):
        assert effects.loudness_db(effects.gain_to(sine(300, level=level), -23)) == pytest.approx(-23, abs=0.01)
