"""How close a separated stem is to the true one, in dB, and tables of that. Pure.

Stems have any shape, since a measure is of all samples of a song: channels aren't measured one by one.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# As in the challenge that gave the measure its form. A silent estimate of whatever sounds has 0 dB.
_LEAST_ENERGY = 1e-7
# SI-SDR knows no size, so nothing can be added to it; its ends, which are infinite, are cut off here.
LIMIT_DB = 100.0
# Quieter than this, as the root of the mean square, is what rounding to 16 bits leaves of silence.
_SILENCE = 10 ** (-80 / 20)


@dataclass(frozen=True, slots=True)
class Summary:
    """One number of several songs, in dB; `worst` is the lowest."""

    songs: int
    mean: float
    median: float
    worst: float


def sdr(truth: Samples, estimate: Samples) -> float:
    """The signal to distortion ratio of the Music Demixing challenge, of a whole song: never NaN, for silence neither.

    What is too loud or too quiet counts as distortion. Raises ValueError for what can't be compared.
    """
    true, estimated = _comparable(truth, estimate)
    distortion = true - estimated
    return 10 * math.log10((true @ true + _LEAST_ENERGY) / (distortion @ distortion + _LEAST_ENERGY))


def si_sdr(truth: Samples, estimate: Samples) -> float:
    """The scale-invariant ratio of Le Roux et al., "SDR - half-baked or well done?" (2019), within +- LIMIT_DB.

    How loud the estimate is doesn't matter. One that has nothing of the stem, or is silent, has -LIMIT_DB, and so has
    every estimate of a silent stem. Raises ValueError for what can't be compared.
    """
    true, estimated = _comparable(truth, estimate)
    energy = float(true @ true)
    target = (estimated @ true / energy if energy else 0.0) * true
    distortion = estimated - target
    signal, noise = float(target @ target), float(distortion @ distortion)
    if not signal:
        return -LIMIT_DB
    if not noise:
        return LIMIT_DB
    return min(LIMIT_DB, max(-LIMIT_DB, 10 * math.log10(signal) - 10 * math.log10(noise)))


def is_silent(samples: Samples) -> bool:
    """Is there nothing to hear? Then a ratio to it says nothing about a separation."""
    return samples.size == 0 or math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) < _SILENCE


def summary(values: Sequence[float]) -> Summary | None:
    """None where there are no values."""
    if not values:
        return None
    return Summary(len(values), statistics.fmean(values), statistics.median(values), min(values))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown, whose columns are as wide as they must be: it can be read as it is, too.

    All columns but the first hold numbers, and end on the right.
    """
    widths = [max(3, *(len(line[place]) for line in (heads, *rows))) for place in range(len(heads))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "".join(_line(cells, widths) for cells in (heads, rule, *rows))


def decibels(found: Summary | None) -> str:
    """Mean, median and worst in one cell."""
    return "-" if found is None else " / ".join(f"{value:.1f}" for value in (found.mean, found.median, found.worst))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |\n"


def _comparable(truth: Samples, estimate: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if truth.shape != estimate.shape:
        raise ValueError(f"A stem of shape {truth.shape} can't be compared with an estimate of {estimate.shape}.")
    if not (np.isfinite(truth).all() and np.isfinite(estimate).all()):
        raise ValueError("There are samples that aren't numbers.")
    return truth.astype(np.float64).ravel(), estimate.astype(np.float64).ravel()
