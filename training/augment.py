"""A piece of a song made into another that could have been: mirrored, higher and faster, without its drums. Pure.

A piece is float32 [stem, channel, sample]. As in Demucs, but for the speed, which there is made beforehand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

Samples = NDArray[np.float32]

LEAST_GAIN, MOST_GAIN = 0.25, 1.25
# The share of pieces that lack a stem: a singer who is silent is common, and so is a song without drums.
_LACKING = 0.15
# The share of pieces played at another speed, which is another pitch as well.
_AT_ANOTHER_SPEED = 0.3


@dataclass(frozen=True, slots=True)
class Speed:
    """Of `down` samples `up` are made: where that is more the piece is slower and lower."""

    up: int
    down: int

    def samples_for(self, samples: int) -> int:
        """How many samples give at least `samples`."""
        return -(-samples * self.down // self.up)


AS_IT_IS = Speed(1, 1)
# One and two semitones, nearly, in each direction: with numbers this small resampling costs little.
OTHER_SPEEDS = (Speed(18, 17), Speed(17, 18), Speed(9, 8), Speed(8, 9))


def draw_speed(rng: np.random.Generator) -> Speed:
    """Mostly as it is."""
    if rng.random() >= _AT_ANOTHER_SPEED:
        return AS_IT_IS
    return OTHER_SPEEDS[int(rng.integers(len(OTHER_SPEEDS)))]


def at_speed(piece: Samples, speed: Speed, samples: int) -> Samples:
    """`samples` samples of the piece played at that speed, all stems together."""
    if speed != AS_IT_IS:
        piece = resample_poly(piece, speed.up, speed.down, axis=-1).astype(np.float32, copy=False)
    return piece[..., :samples]


def vary(piece: Samples, rng: np.random.Generator) -> Samples:
    """Each stem with a gain, a sign and sides of its own; now and then one of them is silent."""
    stems = len(piece)
    gains = rng.uniform(LEAST_GAIN, MOST_GAIN, stems) * rng.choice((-1.0, 1.0), stems)
    if rng.random() < _LACKING:
        gains[rng.integers(stems)] = 0.0
    mirrored = rng.random(stems) < 0.5
    sided = np.where(mirrored[:, None, None], piece[:, ::-1], piece)
    varied: Samples = sided * gains.astype(np.float32)[:, None, None]
    return varied
