"""A plain separation that has learnt nothing, to compare with: by medians of spectrograms and places in the stereo.

Drums are what stands upright in a spectrogram, and the rest what lies (Fitzgerald, "Harmonic/percussive separation
using median filtering", 2010). Of the rest bass is what is low; vocals are what is in the middle of the stereo,
in a voice's range, and too restless to lie in a spectrogram of longer windows. Masks are soft; stems sum to the mix.

    python -m training.baseline DIR    tries other numbers on the songs of a folder, and prints the best that it found
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import ShortTimeFFT

from training.measures import Samples, is_silent, sdr
from training.options import LEAST_SONG_SECONDS, FiniteRange, told
from training.songs.score import RATE, STEMS
from training.soundfiles import list_songs, read_song

Spectrum = NDArray[np.complex128]  # [channel, frequency, frame]
Mask = NDArray[np.float64]  # [frequency, frame]

_LEAST = 1e-12
# What is tried in place of each number, until nothing is better.
_FACTORS = (0.8, 1.25)
_LEAST_GAIN_DB = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The numbers of the baseline; the powers say how decided a mask is."""

    # Medians see what lies for half of so long, or stands over half of such a band.
    lying_seconds: float = 0.4
    upright_hz: float = 375.0
    # How much the upright part counts beside the lying one.
    drums_weight: float = 1.25
    drums_power: float = 1.2
    # Half of what is at `bass_hz` is bass.
    bass_hz: float = 180.0
    bass_power: float = 10.0
    # What speaks against a voice: it isn't in the middle, or it stays as it is for long.
    centre_power: float = 6.4
    steady_seconds: float = 1.46
    restless_power: float = 0.56
    vocals_weight: float = 1.4
    vocals_low_hz: float = 160.0
    vocals_high_hz: float = 10_000.0


DEFAULT = Tuning()


def separate(mix: Samples, tuning: Tuning = DEFAULT) -> Samples:
    """Give float32 [stem, channel, sample] of a mix [2, sample], in the order of STEMS; they sum to the mix."""
    short, long = _transform(4096), _transform(8192)
    samples = mix.shape[-1]
    # A transform wants half a window at least.
    sound = np.pad(mix.astype(np.float64), ((0, 0), (0, max(0, long.m_num - samples))))
    spectrum = short.stft(sound)
    drums = short.istft(spectrum * _drums_mask(short, spectrum, tuning), k1=sound.shape[-1])
    rest = sound - drums
    spectrum = long.stft(rest)
    bass, vocals = (long.istft(spectrum * mask, k1=rest.shape[-1]) for mask in _rest_masks(long, spectrum, tuning))
    stems = {"drums": drums, "bass": bass, "vocals": vocals, "other": rest - bass - vocals}
    return np.stack([stems[name] for name in STEMS])[..., :samples].astype(np.float32)


def _transform(window: int) -> ShortTimeFFT:
    return ShortTimeFFT.from_window("hann", RATE, window, window * 3 // 4)


def _drums_mask(transform: ShortTimeFFT, spectrum: Spectrum, tuning: Tuning) -> Mask:
    size = np.abs(spectrum).mean(axis=0)
    lying = _medians(size, tuning.lying_seconds / transform.delta_t)
    upright = _medians(size.T, tuning.upright_hz / transform.delta_f).T
    drums = (tuning.drums_weight * upright) ** tuning.drums_power
    return drums / (drums + lying**tuning.drums_power + _LEAST)


def _rest_masks(transform: ShortTimeFFT, spectrum: Spectrum, tuning: Tuning) -> tuple[Mask, Mask]:
    """Of bass and of vocals; what these leave is the other stem's."""
    hz = (np.arange(spectrum.shape[1]) * transform.delta_f)[:, None]
    bass = 1 / (1 + (hz / tuning.bass_hz) ** tuning.bass_power)
    size = np.abs(spectrum).mean(axis=0)
    steady = np.minimum(1.0, _medians(size, tuning.steady_seconds / transform.delta_t) / (size + _LEAST))
    voice = _centre(spectrum) ** tuning.centre_power * (1 - steady) ** tuning.restless_power
    inside = (hz >= tuning.vocals_low_hz) & (hz <= tuning.vocals_high_hz)
    return bass, (1 - bass) * inside * np.minimum(1.0, tuning.vocals_weight * voice)


def _medians(rows: Mask, count: float) -> Mask:
    """The median of about so many values around each, along each row."""
    half = max(1, min(round(count / 2), rows.shape[1] - 1))
    padded = np.pad(rows, ((0, 0), (half, half)), mode="reflect")
    # As one long row it takes a tenth of the time; what reaches over from the next row lies in the padding.
    found: Mask = median_filter(padded.ravel(), size=2 * half + 1).reshape(padded.shape)
    return found[:, half:-half]


def _centre(spectrum: Spectrum) -> Mask:
    """1 where both channels have the same, 0 where only one has anything, or both the opposite."""
    left, right = spectrum
    both = np.square(np.abs(left)) + np.square(np.abs(right))
    same: Mask = np.maximum(0.0, 2 * (left * right.conj()).real) / (both + _LEAST)
    return same


def tune(songs: Sequence[Samples], start: Tuning = DEFAULT) -> Iterator[tuple[Tuning, float]]:
    """Change one number after the other for as long as that helps; gives each improvement and its SDR.

    Raises ValueError where no stem of any song sounds.
    """
    best, score = start, _score(songs, start)
    yield best, score
    improved = True
    while improved:
        improved = False
        for name, factor in product(asdict(start), _FACTORS):
            changed = replace(best, **{name: getattr(best, name) * factor})
            found = _score(songs, changed)
            if found > score + _LEAST_GAIN_DB:
                best, score, improved = changed, found, True
                yield best, score


def _score(songs: Sequence[Samples], tuning: Tuning) -> float:
    """The mean SDR of all stems that sound."""
    found = []
    for stems in songs:
        pairs = zip(stems, separate(stems.sum(axis=0), tuning), strict=True)
        found += [sdr(stem, estimate) for stem, estimate in pairs if not is_silent(stem)]
    if not found:
        raise ValueError("All of these songs are silent: there is nothing to tune on.")
    return statistics.fmean(found)


def _middle(stems: Samples, seconds: float) -> Samples:
    start = max(0, stems.shape[-1] - round(seconds * RATE)) // 2
    return stems[..., start : stems.shape[-1] - start]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--songs", type=click.IntRange(1), default=8, show_default=True, help="So many of the folder's songs.")
@click.option(
    "--seconds", type=FiniteRange(LEAST_SONG_SECONDS), default=30.0, show_default=True, help="Of each, from its middle."
)
def main(folder: Path, songs: int, seconds: float) -> None:
    """Tune the baseline on the songs of FOLDER, which mustn't be those that it is compared on."""
    with told():
        for tuning, score in tune([_middle(read_song(file), seconds) for file in list_songs(folder)[:songs]]):
            numbers = " ".join(f"{name}={value:.3g}" for name, value in asdict(tuning).items())
            click.echo(f"{score:.3f} dB {numbers}")


if __name__ == "__main__":
    main()
