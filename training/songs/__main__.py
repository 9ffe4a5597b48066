"""`python -m training.songs DIR`: make songs, each a file of four stems, the same ones for the same seed."""

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from training.songs.mixing import song
from training.songs.sampler import SOUNDFONTS

_FULL_SCALE = 32767


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--songs", default=300, help="How many.")
@click.option("--seconds", default=30.0, help="How long each is.")
@click.option("--seed", default=1, help="The seed of the first one; each one after it has the next.")
@click.option("--held-out", is_flag=True, help="Played by instruments, kits and singers that training never hears.")
@click.option("--soundfont", "soundfonts", multiple=True, default=SOUNDFONTS, help="One of these plays each song.")
@click.option("--processes", default=1, help="How many are made at a time.")
def main(folder: Path, *, songs: int, seed: int, processes: int, **how: Any) -> None:
    """Make songs in FOLDER: NAME.npy, int16 (4, 2, samples): drums, bass, other, vocals. Those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    make = partial(_make, folder, **how)
    # Processes that are begun anew: what was loaded here, torch for one, may not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(make, range(seed, seed + songs)):
            pass


def _make(folder: Path, seed: int, *, seconds: float, held_out: bool, soundfonts: Sequence[str]) -> None:
    file = folder / f"{'held-out-' if held_out else ''}{seed:06}.npy"
    if file.exists():
        return
    made = song(seed, seconds, held_out=held_out, soundfonts=soundfonts)
    # Whole or not at all: a training that runs meanwhile reads what it finds.
    partial = file.with_suffix(".partial")
    with partial.open("wb") as out:
        np.save(out, np.round(made.stems * _FULL_SCALE).astype(np.int16))
    partial.replace(file)
    with (folder / "songs.jsonl").open("a", encoding="utf-8") as stories:
        stories.write(json.dumps({"file": file.name, **made.story}) + "\n")


if __name__ == "__main__":
    main()
