"""How well a model separates songs that its training never heard, beside the mix itself and a plain baseline.

    python -m training.evaluate HELD_OUT --model FILE.safetensors             by Demucs's own function, for a quick look
    python -m training.evaluate HELD_OUT --model FILE.safetensors --serve     by a server that is started for it
    python -m training.evaluate HELD_OUT --server URL [--model NAME]          by a server that runs

Each stem is compared with the true one sample by sample, a song as a whole. A stem that is silent in a song doesn't
count there, since a ratio to silence says nothing.
"""

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from training import baseline, separators
from training.measures import Samples, Summary, decibels, is_silent, sdr, si_sdr, summary, table
from training.options import ended_by_sigterm, told
from training.pictures import draw_comparison
from training.separators import Estimate, Separate
from training.songs.score import RATE, STEMS
from training.soundfiles import list_songs, read_song

# The columns: what is compared with the true stem, and how.
_MEASURES = {
    "SDR": ("model", sdr),
    "SI-SDR": ("model", si_sdr),
    "SDR of the mix": ("mix", sdr),
    "SDR of the baseline": ("baseline", sdr),
}
_ALL = "all four"

# dB by measure; None for a stem that is silent.
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """One song: what each of its stems that sound has reached.

    `ghosts`: of those that are silent, how loud the model's are beside the mix, in dB.
    """

    name: str
    seconds: float
    taken_seconds: float
    device: str
    stems: Mapping[str, Figures]
    ghosts: Mapping[str, float]


def judge(name: str, truth: Samples, estimate: Estimate, plain: Samples) -> Judged:
    """Compare all stems [stem, channel, sample]; `plain` are those of the baseline."""
    mix = truth.sum(axis=0)
    found, ghosts = {}, {}
    for place, stem in enumerate(STEMS):
        others = {"model": estimate.stems[place], "mix": mix, "baseline": plain[place]}
        if is_silent(truth[place]):
            # By the same ratio: all that the estimate has is distortion, here of the mix.
            ghosts[stem] = -sdr(mix, mix - estimate.stems[place])
        else:
            found[stem] = {head: measure(truth[place], others[whose]) for head, (whose, measure) in _MEASURES.items()}
    return Judged(name, truth.shape[-1] / RATE, estimate.seconds, estimate.device, found, ghosts)


def summaries(songs: Sequence[Judged]) -> dict[str, dict[str, Summary | None]]:
    """By stem, and for all of them, by measure. `all four` is of the songs' means, each of the stems that sound."""
    return {
        row: {head: summary([value for song in songs for value in _values(song, row, head)]) for head in _MEASURES}
        for row in (*STEMS, _ALL)
    }


def _values(song: Judged, row: str, head: str) -> list[float]:
    if row != _ALL:
        return [song.stems[row][head]] if row in song.stems else []
    found = [figures[head] for figures in song.stems.values()]
    return [statistics.fmean(found)] if found else []


def report(songs: Sequence[Judged], how: str) -> str:
    """All in markdown."""
    found = summaries(songs)
    rows = [[row, *(decibels(found[row][head]) for head in _MEASURES)] for row in found]
    ghosts = {stem: [song.ghosts[stem] for song in songs if stem in song.ghosts] for stem in STEMS}
    notes = [
        f"{stem} silent in {len(levels)}, where the model has it at {statistics.median(levels):.0f} dB beside the mix"
        for stem, levels in ghosts.items()
        if levels
    ]
    speed = f"Real time factor {real_time_factor(songs):.3f}, on {songs[-1].device}"
    about = f"{len(songs)} songs, {sum(song.seconds for song in songs) / 60:.1f} minutes, {how}"
    return (
        f"{'; '.join([about, *notes])}. In dB: mean / median / worst.\n\n"
        f"{table(['', *_MEASURES], rows)}\n"
        f"{speed}: the seconds that a second of song takes, in the median.\n"
    )


def real_time_factor(songs: Sequence[Judged]) -> float:
    """The median, so that the first song, for which the model is loaded, doesn't count for more than it is."""
    return statistics.median(song.taken_seconds / song.seconds for song in songs)


def write_figures(songs: Sequence[Judged], how: str, folder: Path) -> None:
    """Write figures.json and figures.md, each whole or not at all."""
    found = {
        "how": how,
        "real_time_factor": real_time_factor(songs),
        "summary": {
            row: {head: asdict(value) if value else None for head, value in columns.items()}
            for row, columns in summaries(songs).items()
        },
        "songs": [asdict(song) for song in songs],
    }
    _write(folder / "figures.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    _write(folder / "figures.md", report(songs, how))


def _write(file: Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def evaluate(files: Sequence[Path], separate: Separate, *, out: Path | None, pictures: int) -> Iterator[Judged]:
    """Judge one song after the other; pictures of the first ones go to `out`."""
    for number, file in enumerate(files):
        truth = read_song(file)
        mix = truth.sum(axis=0)
        estimate = separate(mix)
        if out and number < pictures:
            draw_comparison(truth, estimate.stems, out / f"{file.stem}.png", file.stem)
        yield judge(file.stem, truth, estimate, baseline.separate(mix))


def _separator(server: str | None, model: str | None, serve: bool) -> tuple[AbstractContextManager[Separate], str]:
    """How songs are separated, and that in words."""
    if server:
        if not re.match(r"https?://[^/]", server):
            raise click.UsageError(f"--server must be a URL, http://HOST:PORT: {server}")
        name = Path(model).stem if model else None
        return separators.server(server, name), f"separated by a server with {name or 'its own model'}"
    if model is None:
        raise click.UsageError("What is to be judged? Give --model FILE.safetensors, or --server URL.")
    weights = Path(model)
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise click.UsageError(f"--model must be a file of weights, NAME.safetensors: {model}")
    if serve:
        return separators.own_server(weights), f"separated by a server with {weights.stem}"
    return separators.demucs(weights), f"separated by Demucs's own function with {weights.stem}"


@click.command()
@click.argument("held_out", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--server", metavar="URL", help="A server that runs, which has the model.")
@click.option("--model", metavar="FILE", help="NAME.safetensors; with --server its name is enough.")
@click.option("--serve", is_flag=True, help="Start a server with the model's folder, and ask that.")
@click.option(
    "--songs", type=click.IntRange(1), show_default="all", help="So many of the folder's songs, by their names."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where figures and pictures go.")
@click.option("--pictures", type=click.IntRange(0), default=0, help="Spectrograms of so many songs.")
def main(
    *,
    held_out: Path,
    server: str | None,
    model: str | None,
    serve: bool,
    songs: int | None,
    out: Path | None,
    pictures: int,
) -> None:
    """Judge a model on the songs of HELD_OUT."""
    if pictures and not out:
        raise click.UsageError("Pictures need --out.")
    separator, how = _separator(server, model, serve)
    with told(), ended_by_sigterm():
        files = list_songs(held_out)[:songs]
        if out:
            out.mkdir(parents=True, exist_ok=True)
        judged = []
        with separator as separate:
            for song in evaluate(files, separate, out=out, pictures=pictures):
                reached = {stem: round(figures["SDR"], 1) for stem, figures in song.stems.items()}
                click.echo(f"{song.name}: {reached} dB in {song.taken_seconds:.1f} s", err=True)
                judged.append(song)
        click.echo(report(judged, how))
        if out:
            write_figures(judged, how, out)


if __name__ == "__main__":
    main()
