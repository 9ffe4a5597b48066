"""How each kind of drum sounds when it's struck once, and in which ranges its numbers lie. Pure.

A recipe takes the numbers of a drum, the velocity (0 to 1, for what changes but loudness) and a generator; it gives a
mono stroke (samples,) at RATE of any level. In its numbers `tune`, `low`, `high` and `bright` are hertz; `decay`,
`wire_decay`, `fall`, `gap`, `attack` are seconds (a decay to -60 dB); `sweep` and `ratio` are factors of `tune`;
`cast` stands for the metal that a kit's plate was cast of; what is left are shares of the sound.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.songs.effects import Rng, Sound, highpass, lowpass, saturate
from training.songs.score import RATE

Numbers = Mapping[str, float]
Ranges = Mapping[str, tuple[float, float]]
Recipe = Callable[[Numbers, float, Rng], Sound]
Values = npt.NDArray[Any]

LONGEST_SECONDS = 4.0
BLOCK = 256
TOGETHER = (
    4  # so few rows are multiplied at once that BLAS starts no threads, which wait for each other on a busy machine
)
# How a round skin rings: zeros of the Bessel functions over the lowest.
SKIN = np.array((1.593, 2.135, 2.295, 2.653, 2.917, 3.155, 3.5, 3.652, 4.059))
# The six oscillators behind the metal of drum machines, over the lowest.
OSCILLATORS = np.array((1.0, 1.483, 1.8, 2.546, 2.63, 3.897))


def clock(seconds: float) -> Values:
    """The seconds of each sample of a stroke that has `seconds` to fade."""
    return np.arange(int(min(1.05 * seconds + 0.01, LONGEST_SECONDS) * RATE), dtype=np.float32) / np.float32(RATE)


def fading(time: Values, decay: float) -> Values:
    """An envelope that falls by 60 dB in `decay`."""
    return np.exp(time * np.float32(-6.9 / decay))


def ring(hertz: Values, decays: Values, gains: Values, samples: int) -> Sound:
    """The sum of damped sines; complex gains turn their phase.

    Each is z^n, and z^(qB + r) parts into two short tables whose product is the sum.
    """
    turns = (-6.9 / decays + 2j * np.pi * hertz) / RATE
    rows = -(-samples // (BLOCK * TOGETHER))
    coarse = np.exp(np.arange(rows * TOGETHER)[:, None] * (BLOCK * turns))
    fine = gains[:, None] * np.exp(turns[:, None] * np.arange(BLOCK))
    left = np.concatenate((coarse.real, coarse.imag), axis=1).astype(np.float32)
    right = np.concatenate((fine.imag, fine.real)).astype(np.float32)  # of a complex product only the imaginary part
    return np.asarray((left.reshape(rows, TOGETHER, -1) @ right).ravel()[:samples], np.float32)


def hiss(rng: Rng, samples: int, low: float, high: float) -> Sound:
    """Noise between two frequencies, of RMS 1 or so before what was cut."""
    return lowpass(highpass(rng.standard_normal(samples, np.float32), low), high)


def swept(time: Values, n: Numbers, velocity: float) -> Values:
    """A sine that falls from `sweep` times its `tune` as fast as `fall`."""
    sweep = (n["sweep"] - 1) * (0.5 + 0.5 * velocity)
    cycles = n["tune"] * (time + sweep * n["fall"] * (1 - np.exp(-time / n["fall"])))
    return np.sin(2 * np.pi * cycles)


def click(time: Values, n: Numbers, velocity: float, rng: Rng) -> Values:
    """The stick or the beater: some milliseconds of noise below `bright`."""
    return (
        n["click"] * velocity * 2 * lowpass(hiss(rng, time.size, 400, n["bright"]), n["bright"]) * fading(time, 0.012)
    )


def skin(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """A kick or a tom: a sine that falls, the skin's other modes, the beater, the air."""
    time = clock(n["decay"])
    body = swept(time, n, velocity) * fading(time, n["decay"]) * (1 - np.exp(-time / np.float32(0.0008)))
    modes = ring(n["tune"] * SKIN, n["decay"] * 0.5 / SKIN, 1 / SKIN * rng.uniform(0.4, 1, SKIN.size), time.size)
    air = hiss(rng, time.size, 60, n["bright"] / 3) * fading(time, 0.4 * n["decay"])
    return saturate(body + n["modes"] * modes + n["noise"] * air + click(time, n, velocity, rng), n["drive"])


def snare(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """A shell of two modes that bend, its skin, and wires that rattle for longer than both."""
    time = clock(max(n["decay"], n["wire_decay"]))
    upper = {**n, "tune": n["tune"] * n["ratio"]}
    shell = swept(time, n, velocity) + 0.6 * swept(time, upper, velocity) * fading(time, n["decay"])
    modes = ring(n["tune"] * SKIN, n["decay"] * 0.7 / SKIN, rng.uniform(0.1, 0.5, SKIN.size), time.size)
    wires = hiss(rng, time.size, n["low"], n["high"]) * fading(time, n["wire_decay"])
    rattle = 1 - np.exp(-time / np.float32(0.0015))  # the wires are thrown off first
    body = shell * fading(time, n["decay"]) + n["modes"] * modes + n["wires"] * (0.6 + 0.4 * velocity) * wires * rattle
    return saturate(body + click(time, n, velocity, rng), n["drive"])


def clap(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """Some hands, not quite together, then what the room makes of them."""
    time = clock(n["decay"] + 0.06)
    hands = round(n["hands"])
    starts = np.sort(np.arange(hands) * n["gap"] * rng.uniform(0.85, 1.15, hands))
    envelope = np.zeros_like(time)
    for number, start in enumerate(starts):
        since = np.maximum(time - np.float32(start), 0)
        envelope += (time >= start) * fading(since, n["decay"] if number == hands - 1 else 3 * n["gap"])
    tone = hiss(rng, time.size, n["low"], n["high"])
    return np.asarray((tone + 0.4 * n["noise"] * velocity * hiss(rng, time.size, 500, 12_000)) * envelope, np.float32)


def rim(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """A stick on wood: few short modes."""
    time = clock(n["decay"])
    cast = np.random.default_rng(int(n["cast"] * 1e9))
    ratios = np.concatenate(([1.0, n["ratio"]], cast.uniform(1.5, 5, 4)))
    modes = ring(n["tune"] * ratios, n["decay"] / np.sqrt(ratios), cast.uniform(0.3, 1, 6) / ratios, time.size)
    return np.asarray(modes + click(time, n, velocity, rng), np.float32)


def metal(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """A cymbal or a hat: partials that are no harmonics, a machine's oscillators, noise, a bell for rides."""
    time = clock(n["decay"])
    cast = np.random.default_rng(int(n["cast"] * 1e9))
    hertz = n["tune"] * (16_000 / n["tune"]) ** np.sort(cast.uniform(0, 1, 90) ** 0.8) * rng.normal(1, 0.0005, 90)
    decays = n["decay"] * np.minimum((4000 / hertz) ** n["dark"], 1.0)
    phases = np.exp(2j * np.pi * cast.uniform(0, 1, 90))  # in step they would start with a click
    gains = cast.exponential(1, 90) * rng.uniform(0.6, 1.4, 90) * 0.12 * phases
    sound = (1 - n["square"]) * ring(hertz, decays, gains, time.size)
    sound += n["noise"] * hiss(rng, time.size, n["low"], 17_000) * fading(time, n["decay"] * 0.8)
    if n["square"] > 0:
        cycles = (n["tune"] * OSCILLATORS)[:, None] * time + rng.uniform(0, 1, (6, 1))
        sound += n["square"] * 0.4 * (2 * np.round(cycles % 1) - 1).sum(axis=0) * fading(time, n["decay"])
    sound = highpass(np.asarray(sound * (1 - np.exp(-time / np.float32(n["attack"]))), np.float32), n["low"])
    bell = ring(n["bell_tune"] * np.array((1.0, 1.34, 2.08)), np.full(3, n["decay"] * 0.6), np.ones(3), time.size)
    return np.asarray(sound + n["bell"] * (0.5 + 0.5 * velocity) * bell, np.float32)


def shaker(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """Seeds that fly, land and settle: noise that swells before it falls."""
    time = clock(n["decay"] + n["attack"])
    swell = np.minimum(time / np.float32(n["attack"]), 1) ** 1.5 * fading(np.maximum(time - n["attack"], 0), n["decay"])
    seeds = np.abs(lowpass(rng.standard_normal(time.size, np.float32), 900)) * 3
    return np.asarray(
        hiss(rng, time.size, n["low"], n["high"]) * swell * (1 - n["noise"] + n["noise"] * seeds), np.float32
    )


def tambourine(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """Jingles that meet one after the other."""
    jingle = metal(n, velocity, rng)
    count = round(n["hands"])
    sound = np.zeros(jingle.size + int(0.15 * RATE), np.float32)
    for late, gain in zip(np.arange(count) * n["gap"], 0.75 ** np.arange(count), strict=True):
        start = int(late * rng.uniform(0.8, 1.2) * RATE)
        sound[start : start + jingle.size] += np.float32(gain * rng.uniform(0.7, 1)) * jingle[: sound.size - start]
    return sound


def cowbell(n: Numbers, velocity: float, rng: Rng) -> Sound:
    """Two oscillators, or two partials of a real bell and some more."""
    time = clock(n["decay"])
    pair = n["tune"] * np.array((1.0, n["ratio"]))
    square = np.sign(np.sin(2 * np.pi * pair[:, None] * time)).sum(axis=0)
    real = ring(
        np.concatenate((pair, pair * 2.71)),
        n["decay"] * np.array((1, 0.9, 0.4, 0.3)),
        rng.uniform(0.5, 1, 4),
        time.size,
    )
    mixed = (n["square"] * square + (1 - n["square"]) * real) * (fading(time, n["decay"]) + 0.6 * fading(time, 0.05))
    return highpass(np.asarray(mixed + click(time, n, velocity, rng), np.float32), 300)


RECIPES: Mapping[str, Recipe] = {
    "skin": skin, "snare": snare, "clap": clap, "rim": rim, "metal": metal, "shaker": shaker,
    "tambourine": tambourine, "cowbell": cowbell,
}  # fmt: skip
