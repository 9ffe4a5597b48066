"""Drum kits made of sines and noise: a kit is drawn at random, then plays hits. Pure.

Each drum has a recipe (how a skin, a plate of metal or a clap sounds) and, for each style of kit, the ranges that its
numbers are drawn from. What is held out is drawn from the gaps that training leaves in each of these ranges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.songs import effects
from training.songs.effects import Rng, Sound
from training.songs.ranges import RECIPE_OF, ranges_of, set_of
from training.songs.score import DRUMS, RATE, Hit
from training.songs.strokes import RECIPES, Numbers

STYLES = ("acoustic", "808", "909", "lofi", "electro")
# Where a number lies in its range, from 0 to 1: training leaves out what is held out.
TRAINED = ((0.0, 0.4), (0.5, 0.88))
HELD_OUT = ((0.42, 0.48), (0.9, 1.0))
LAYERS = (0.25, 0.5, 0.75, 1.0)  # velocities that are rendered, each VARIANTS times; a hit takes the nearest
VARIANTS = 2
CHOKE_SECONDS = 0.012
# How far the numbers of a drum differ from stroke to stroke.
WOBBLE = {"tune": 0.006, "decay": 0.07, "wire_decay": 0.07, "click": 0.2, "noise": 0.1, "bright": 0.05, "sweep": 0.04}
# (pan, width) as the audience sees it, before a kit scales and perhaps mirrors it.
PLACES = {
    "kick": (0.0, 0.0), "snare": (0.08, 0.08), "clap": (0.0, 0.5), "rim": (0.1, 0.05), "closed_hat": (0.4, 0.1),
    "open_hat": (0.4, 0.15), "pedal_hat": (0.4, 0.1), "crash": (-0.5, 0.5), "ride": (-0.6, 0.3),
    "low_tom": (-0.55, 0.15), "mid_tom": (0.0, 0.15), "high_tom": (0.45, 0.15), "shaker": (0.55, 0.1),
    "tambourine": (-0.4, 0.1), "cowbell": (0.25, 0.05),
}  # fmt: skip
LEVELS = {
    "kick": 0.8, "snare": 0.9, "clap": 0.7, "rim": 0.45, "closed_hat": 0.33, "open_hat": 0.38, "pedal_hat": 0.28,
    "crash": 0.5, "ride": 0.35, "low_tom": 0.7, "mid_tom": 0.65, "high_tom": 0.6, "shaker": 0.2, "tambourine": 0.25,
    "cowbell": 0.3,
}  # fmt: skip
# Which drums stop which. A drum machine has one kick; its next stroke cuts the last.
CHOKES = {"open_hat": ("closed_hat", "pedal_hat", "open_hat"), "kick": ("kick",)}


@dataclass(frozen=True, slots=True)
class Drum:
    """One drum of a kit: its recipe and numbers, its level (1 is full scale), `pan` and `width` as for place()."""

    recipe: str
    numbers: Numbers
    level: float
    pan: float
    width: float


@dataclass(frozen=True, slots=True)
class Kit:
    """A drum kit: its drums, the `room` seconds and `wet` share they are heard in, and how the whole is driven.

    `bits` and `hold` are those of a cheap converter (see effects.crush); 0 bits is none. `top_hertz` cuts the highs.
    """

    style: str
    drums: Mapping[str, Drum]
    room: float
    wet: float
    drive: float
    bits: float
    hold: int
    top_hertz: float

    @classmethod
    def draw(cls, rng: Rng, held_out: bool = False) -> "Kit":
        """Draw a kit; the numbers of a held-out one lie in the gaps that training leaves in each range."""
        dice = Dice(rng, HELD_OUT if held_out else TRAINED)
        style = str(rng.choice(STYLES))
        acoustic, lofi = style == "acoustic", style == "lofi"
        spread = dice.between(0.2, 1.1) * (1 if rng.random() < 0.85 else 0) * rng.choice((-1, 1))
        return cls(
            style=style,
            drums=_drums(style, spread, dice),
            room=dice.between(0.15, 0.9) if acoustic or rng.random() < 0.3 else 0.0,
            wet=dice.between(0.04, 0.3),
            drive=dice.between(1, 3) if lofi or rng.random() < 0.25 else 0.0,
            bits=dice.between(6, 11) if lofi else 0.0,
            hold=round(dice.between(1, 4)) if lofi else 1,
            top_hertz=dice.between(5000, 14000) if lofi else 20_000.0,
        )


@dataclass(frozen=True, slots=True)
class Dice:
    """Draws numbers from those `parts` of a range (each from 0 to 1) that are allowed."""

    rng: Rng
    parts: tuple[tuple[float, float], ...]

    def between(self, low: float, high: float) -> float:
        """A number from the allowed parts between `low` and `high`."""
        return low + (high - low) * self.share()

    def share(self) -> float:
        """A number from the allowed parts between 0 and 1."""
        first, last = self.parts[int(self.rng.integers(len(self.parts)))]
        return float(self.rng.uniform(first, last))


def _drums(style: str, spread: float, dice: Dice) -> dict[str, Drum]:
    """Draw each drum as the style has it, now and then from another, as people mix them. Hats are cast alike."""
    drums: dict[str, Drum] = {}
    styles: dict[str, str] = {}
    shares: dict[tuple[str, str], float] = {}
    for name in DRUMS:
        belongs = set_of(name)
        mixed = styles.setdefault(belongs, str(dice.rng.choice(STYLES)) if dice.rng.random() < 0.15 else style)
        numbers = {
            key: low + (high - low) * shares.setdefault((belongs, key), dice.share())
            for key, (low, high) in ranges_of(name, mixed).items()
        }
        pan, width = PLACES[name]
        drums[name] = Drum(
            recipe=RECIPE_OF[name],
            numbers=numbers,
            level=LEVELS[name] * 10 ** (dice.between(-5, 4) / 20),
            pan=float(np.clip(pan * spread + 0.05 * dice.rng.uniform(-1, 1) * (spread != 0), -0.95, 0.95)),
            width=width * abs(spread),
        )
    return drums


def play(hits: Sequence[Hit], kit: Kit, seconds: float, rng: Rng) -> Sound:
    """Play hits on a kit: float32 (2, samples) of `seconds`. A full stroke peaks near its level; sums may pass 1.

    Velocity sets level and brightness, no two strokes in a row need be the same, and a hat that opens is closed by the
    next. A hit outside of `seconds` isn't played.
    """
    samples = int(seconds * RATE)
    together = np.zeros((2, samples), np.float32)
    strokes: dict[tuple[str, float, int], Sound] = {}
    for hit, ends in _until_choked(hits, kit):
        at, end = int(hit.start * RATE), int(min(ends * RATE, samples))
        if not 0 <= at < end:
            continue
        layer = min(LAYERS, key=lambda velocity: abs(velocity - hit.velocity))
        key = (hit.drum, layer, int(rng.integers(VARIANTS)))
        if key not in strokes:
            strokes[key] = render(kit.drums[hit.drum], layer, rng)
        level = np.float32(max(hit.velocity, 0.02) ** 1.4 * 10 ** (rng.normal(0, 0.6) / 20))
        _lay(together, strokes[key], at, end, level)
    return _heard(together, kit, rng)


def _until_choked(hits: Sequence[Hit], kit: Kit) -> list[tuple[Hit, float]]:
    """Each hit with the second in which another one stops it."""
    follows: dict[str, float] = {}
    timed = []
    for hit in sorted(hits, key=lambda hit: hit.start, reverse=True):
        chokes = () if hit.drum == "kick" and kit.style == "acoustic" else CHOKES.get(hit.drum, ())
        timed.append((hit, min((follows.get(drum, np.inf) for drum in chokes), default=np.inf)))
        follows[hit.drum] = hit.start
    return timed


def _lay(together: Sound, stroke: Sound, at: int, end: int, level: np.float32) -> None:
    """Add a stroke from sample `at`, faded out before `end` where it goes on for longer."""
    length = min(stroke.shape[1], end - at)
    laid = stroke[:, :length] * level
    if length < stroke.shape[1]:
        fade = min(int(CHOKE_SECONDS * RATE), length)
        laid[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    together[:, at : at + length] += laid


def _heard(sound: Sound, kit: Kit, rng: Rng) -> Sound:
    """What the kit's own gear and room make of its drums."""
    if kit.bits:
        sound = effects.lowpass(effects.crush(sound, kit.bits, kit.hold), kit.top_hertz)
    if kit.drive:
        sound = effects.saturate(sound, kit.drive)
    return effects.room(sound, rng, kit.room, kit.wet) if kit.room else sound


def render(drum: Drum, velocity: float, rng: Rng) -> Sound:
    """One full stroke of a drum, (2, samples), a little different each time: softer is duller, not quieter."""
    wobble = {key: value * (1 + WOBBLE.get(key, 0.0) * rng.uniform(-1, 1)) for key, value in drum.numbers.items()}
    mono = RECIPES[drum.recipe](wobble, velocity, rng).astype(np.float32)
    if velocity < 1:
        mono = effects.lowpass(mono, 1500 + 16_000 * velocity**1.5, order=1)
    fade = min(mono.size, 400)
    mono[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    top = float(np.abs(mono).max(initial=0)) + 1e-9
    return effects.place(mono * np.float32(drum.level / top), drum.pan, drum.width)
