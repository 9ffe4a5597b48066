"""Spectrograms as PNG: time to the right, pitch upwards, and how loud it is in dB.

    python -m training.pictures FILES... --out FOLDER

FILES are whatever ffmpeg reads, or songs of stems (.npy), which become a picture of the mix and all stems.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from training.measures import Samples
from training.options import told
from training.songs.score import RATE, STEMS
from training.soundfiles import read_song, read_sound

_WINDOW = 4096
_LEAST_HOP = 512
_MOST_FRAMES = 1500
_BANDS = 320
_LOW_HZ, _HIGH_HZ = 30.0, 20_000.0
_MARKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_RANGE_DB = 80.0
_ROW_INCHES, _COLUMN_INCHES = 2.0, 7.0

# Named sounds, one below the other.
Column = Mapping[str, Samples]


def spectrogram(sound: Samples) -> NDArray[np.float32]:
    """Give float32 [band, frame] in dB below full scale, bands from low to high, each a step of the same interval.

    A band has the loudest of its frequencies. At the bottom bands are narrower than what a window tells apart, and
    several are the same. Of long sounds a picture has so many frames, and what lies between them isn't seen.
    """
    mono = np.pad(sound.mean(axis=0), _WINDOW // 2)
    hop = max(_LEAST_HOP, -(-mono.size // _MOST_FRAMES))
    window = np.hanning(_WINDOW).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, _WINDOW)[::hop]
    size = np.abs(np.fft.rfft(frames * window, axis=1)).T * (2 / window.sum())
    edges = _LOW_HZ * (_HIGH_HZ / _LOW_HZ) ** (np.arange(_BANDS + 1) / _BANDS)
    places = np.round(edges * _WINDOW / RATE).astype(int)
    bands = np.maximum.reduceat(size[: places[-1] + 1], places[:-1], axis=0)
    return (20 * np.log10(bands + 1e-9)).astype(np.float32)


def draw(columns: Mapping[str, Column], file: Path, title: str) -> None:
    """Write a picture whose columns have heads, and whose rows have names; all have one scale."""
    rows = max(len(column) for column in columns.values())
    size = (1.2 + _COLUMN_INCHES * len(columns), 0.8 + _ROW_INCHES * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False, sharex=True, sharey=True)
    seen = {head: {name: spectrogram(sound) for name, sound in column.items()} for head, column in columns.items()}
    loudest = max(float(found.max()) for column in seen.values() for found in column.values())
    for place, (head, column) in enumerate(columns.items()):
        for row, (name, sound) in enumerate(column.items()):
            shown = _show(axes[row, place], seen[head][name], sound.shape[1] / RATE, loudest)
            axes[row, place].set_title(f"{name}, {head}" if head else name, fontsize=9, loc="left")
        axes[-1, place].set_xlabel("seconds")
    figure.colorbar(shown, ax=axes, label="dB", fraction=0.02, pad=0.01)
    figure.suptitle(title)
    figure.savefig(file, dpi=80)


def draw_comparison(truth: Samples, estimate: Samples, file: Path, title: str) -> None:
    """Write a picture of a song: the mix and its stems in rows, the true ones left, the estimated right."""
    draw({"true": with_mix(truth), "estimated": with_mix(estimate)}, file, title)


def with_mix(stems: Samples) -> Column:
    """The sum of [stem, channel, sample], and then each."""
    return {"mix": stems.sum(axis=0), **dict(zip(STEMS, stems, strict=True))}


def _show(axes: Axes, found: NDArray[np.float32], seconds: float, loudest: float) -> AxesImage:
    octaves = np.log2([_LOW_HZ, _HIGH_HZ])
    extent = (0.0, seconds, float(octaves[0]), float(octaves[1]))
    axes.set_yticks(np.log2(_MARKS_HZ), [f"{hz // 1000}k" if hz >= 1000 else str(hz) for hz in _MARKS_HZ], fontsize=7)
    quietest = loudest - _RANGE_DB
    return axes.imshow(found, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=quietest, vmax=loudest)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where pictures go.")
def main(files: Sequence[Path], out: Path) -> None:
    """Draw the spectrograms of FILES, a PNG for each."""
    with told():
        out.mkdir(parents=True, exist_ok=True)
        for file in files:
            column = with_mix(read_song(file)) if file.suffix == ".npy" else {file.name: read_sound(file)}
            picture = out / f"{file.stem}.png"
            draw({"": column}, picture, file.stem)
            click.echo(str(picture))


if __name__ == "__main__":
    main()
