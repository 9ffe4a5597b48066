"""Who sings: the numbers that make one voice sound unlike another. Pure."""

from dataclasses import dataclass

import numpy as np

from training.songs.tract import Throat


@dataclass(frozen=True, slots=True)
class Singer:
    """One voice. Depths are in semitones, times in seconds, `cluster` is how far the upper formants draw together.

    `fry` is how often a phrase starts with a creak, `belt` how much more effort a higher semitone takes.
    """

    middle: float
    throat: Throat
    effort: float
    cluster: float
    vibrato_hz: float
    vibrato_depth: float
    vibrato_delay: float
    drift: float
    glide: float
    scoop: float
    fall: float
    fry: float
    belt: float
    attack: float
    release: float
    consonants: float
    sibilance: float
    inhale: float

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest pitch that are comfortable, as MIDI numbers."""
        return self.middle - 9, self.middle + 9

    @classmethod
    def draw(cls, rng: np.random.Generator, held_out: bool = False) -> "Singer":
        """Any voice from bass to child; those held out lie between the others on every scale."""

        def pick(low: float, high: float) -> float:
            fifth = rng.choice((1, 3) if held_out else (0, 2, 4))
            return float(low + (high - low) * (fifth + rng.random()) / 5)

        height, opera, breathy = pick(0, 1), pick(0, 1) ** 2, pick(0, 1) ** 2
        throat = Throat(
            lax=0.9 + 1.5 * breathy + 0.3 * height,
            tense=pick(0.35, 0.7) + 0.5 * breathy,
            scale=0.9 + 0.34 * height + pick(-0.04, 0.06),
            damping=pick(0.8, 1.5),
            jitter=pick(0.0005, 0.004),
            shimmer=pick(0.01, 0.08),
            breathiness=0.008 + 0.22 * breathy**1.5,
            rough=max(0.0, pick(-1.0, 0.6)),
            tilt_db=pick(-2.0, 6.0),
        )
        return cls(
            middle=51 + 21 * height + pick(-2, 2),
            throat=throat,
            effort=pick(0.15, 0.85),
            cluster=0.1 + 0.6 * opera,
            vibrato_hz=pick(4.6, 6.8),
            vibrato_depth=pick(0.0, 0.35) + 0.5 * opera,
            vibrato_delay=pick(0.1, 0.6),
            drift=pick(0.03, 0.12),
            glide=pick(0.04, 0.14),
            scoop=pick(0.0, 1.2),
            fall=max(0.0, pick(-2.0, 5.0)),
            fry=max(0.0, pick(-0.4, 0.4)),
            belt=pick(-0.02, 0.05),
            attack=pick(0.015, 0.08),
            release=pick(0.05, 0.18),
            consonants=pick(0.5, 1.5),
            sibilance=pick(0.8, 1.3),
            inhale=pick(0.01, 0.12),
        )
