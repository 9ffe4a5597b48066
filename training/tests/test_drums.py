"""What the synthesised drum kits promise: each drum sounds like its kind, and hits like strokes."""

import numpy as np
import pytest

from training.songs import drums
from training.songs.drums import Kit
from training.songs.effects import Sound
from training.songs.ranges import ANY, OWN, RECIPE_OF, ranges_of
from training.songs.score import DRUMS, RATE, Hit
from training.songs.strokes import RECIPES, ring

KITS = range(12)


def kit(seed: int, *, held_out: bool = False) -> Kit:
    return Kit.draw(np.random.default_rng(seed), held_out)


def dry(seed: int) -> Kit:
    """A kit without a room, gear or choice of side, whose strokes can be measured."""
    drawn = kit(seed)
    return Kit(drawn.style, drawn.drums, room=0, wet=0, drive=0, bits=0, hold=1, top_hertz=20_000)


def stroke(drawn: Kit, drum: str, velocity: float = 1.0) -> Sound:
    return drums.render(drawn.drums[drum], velocity, np.random.default_rng(5)).sum(axis=0)


def centroid(mono: Sound) -> float:
    power = np.square(np.abs(np.fft.rfft(mono)))
    return float(np.sum(power * np.fft.rfftfreq(mono.size, 1 / RATE)) / power.sum())


def decay(mono: Sound) -> float:
    """The seconds after which a hundredth of the energy is left."""
    left = np.cumsum(np.square(mono[::-1], dtype=np.float64))[::-1]
    return float(np.argmax(left < 0.01 * left[0]) / RATE)


def energy(sound: Sound, start: float, end: float) -> float:
    return float(np.square(sound[:, int(start * RATE) : int(end * RATE)]).sum())


def test_each_drum_has_a_recipe_and_a_place() -> None:
    """All tables know all drums and styles, and a style's own ranges are of numbers that the drum has."""
    assert set(DRUMS) == set(RECIPE_OF) == set(drums.PLACES) == set(drums.LEVELS)
    assert set(RECIPE_OF.values()) == set(RECIPES)
    assert set(drums.STYLES) - {"lofi"} == set(OWN)
    assert all(set(own) <= set(ANY[name]) for owns in OWN.values() for name, own in owns.items())
    assert all(low <= high for drum in DRUMS for style in drums.STYLES for low, high in ranges_of(drum, style).values())


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_each_kit_plays_each_drum(seed: int, held_out: bool) -> None:
    """Whatever kit is drawn, each drum sounds near its level, at both ends of velocity, in both channels."""
    drawn = kit(seed, held_out=held_out)
    for drum in DRUMS:
        for velocity in (0.0, 1.0):
            sound = drums.render(drawn.drums[drum], velocity, np.random.default_rng(1))
            assert sound.dtype == np.float32
            assert np.isfinite(sound).all()
            assert 0.4 < np.abs(sound).max() / drawn.drums[drum].level < 1.8
            assert np.abs(sound).max(axis=1).min() > 0


def test_a_song_is_as_long_as_asked() -> None:
    """What is played has the asked length; hits outside aren't played, and nothing sounds before the first."""
    hits = [Hit(-1, "kick", 1), Hit(0.5, "kick", 1), Hit(0.99, "crash", 1), Hit(1.0, "snare", 1), Hit(7, "snare", 1)]
    for seed in range(8):
        sound = drums.play(hits, kit(seed), 1.0, np.random.default_rng(2))
        assert (sound.shape, sound.dtype) == ((2, RATE), np.float32)
        assert np.abs(sound[:, : RATE // 2]).max() < 1e-4
        assert np.abs(sound).max() > 0.1
    assert not drums.play([], kit(1), 1.0, np.random.default_rng(2)).any()


def test_the_seed_makes_the_kit_and_the_song() -> None:
    """The same seed draws and plays the same; another one does not."""
    hits = [Hit(0.1 * step, DRUMS[step], 0.7) for step in range(len(DRUMS))]
    once, again, other = (drums.play(hits, kit(seed), 2.0, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)


@pytest.mark.parametrize("seed", KITS)
def test_drums_sound_like_their_kind(seed: int) -> None:
    """A kick is low, a snare between, hats are high; toms go up; an open hat outlasts a closed one, a crash both."""
    drawn = kit(seed)
    sounds = {drum: stroke(drawn, drum) for drum in DRUMS}
    heights = {drum: centroid(sound) for drum, sound in sounds.items()}
    assert heights["kick"] < 500 < 5000 < heights["closed_hat"]
    assert heights["kick"] < heights["snare"] < heights["closed_hat"]
    tunes = [drawn.drums[tom].numbers["tune"] for tom in ("low_tom", "mid_tom", "high_tom")]
    assert tunes == sorted(tunes)
    assert 3 * decay(sounds["closed_hat"]) < decay(sounds["open_hat"])
    assert decay(sounds["closed_hat"]) < 0.1 < 0.2 < decay(sounds["crash"])


@pytest.mark.parametrize("drum", ["kick", "snare", "closed_hat", "crash"])
def test_velocity_is_level_and_brightness(drum: str) -> None:
    """A harder stroke is louder and brighter."""
    drawn = dry(1)
    soft, hard = (
        drums.play([Hit(0, drum, velocity)], drawn, 1.0, np.random.default_rng(2)) for velocity in (0.25, 1.0)
    )
    assert 4 * energy(soft, 0, 1) < energy(hard, 0, 1)
    assert centroid(stroke(drawn, drum, 0.25)) < centroid(stroke(drawn, drum, 1.0))


@pytest.mark.parametrize("drum", ["kick", "snare", "closed_hat"])
def test_no_two_strokes_are_the_same(drum: str) -> None:
    """Two strokes differ sample by sample, but not in kind."""
    drawn = dry(2).drums[drum]
    rng = np.random.default_rng(3)
    first, second = (drums.render(drawn, 1.0, rng).sum(axis=0)[:2000] for _ in range(2))
    assert not np.allclose(first, second, atol=1e-3)
    assert centroid(first) == pytest.approx(centroid(second), rel=0.35)


def test_a_closing_hat_stops_an_open_one() -> None:
    """An open hat rings until a closed or pedal hat; a snare leaves it alone."""
    for seed in range(6):
        drawn = dry(seed)
        rung, closed, left = (
            drums.play(hits, drawn, 1.0, np.random.default_rng(2))
            for hits in (
                [Hit(0, "open_hat", 1)],
                [Hit(0, "open_hat", 1), Hit(0.1, "pedal_hat", 0.02)],
                [Hit(0, "open_hat", 1), Hit(0.1, "rim", 0.02)],
            )
        )
        assert energy(closed, 0.11, 1) < 0.02 * energy(rung, 0.11, 1)
        assert energy(left, 0.11, 1) > 0.5 * energy(rung, 0.11, 1)


def test_held_out_numbers_lie_apart() -> None:
    """No share of a range that a held-out kit may have is near one that training may have."""
    rng = np.random.default_rng(1)
    trained, held_out = (
        np.array([drums.Dice(rng, parts).share() for _ in range(500)]) for parts in (drums.TRAINED, drums.HELD_OUT)
    )
    assert np.abs(trained[:, None] - held_out).min() > 0.01
    assert 0 <= min(trained.min(), held_out.min()) < max(trained.max(), held_out.max()) <= 1


def test_a_ring_is_the_sum_of_its_sines() -> None:
    """The tables that make it fast give what the formula says."""
    hertz, decays, gains = np.array((100.0, 3210.0)), np.array((0.5, 0.1)), np.array((1.0, 0.5j))
    time = np.arange(5000) / RATE
    slow = [gain * np.exp((2j * np.pi * f - 6.9 / d) * time) for f, d, gain in zip(hertz, decays, gains, strict=True)]
    assert np.allclose(ring(hertz, decays, gains, time.size), np.sum(slow, axis=0).imag, atol=1e-4)
