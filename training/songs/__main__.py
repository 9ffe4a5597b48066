"""`python -m training.songs DIR`: make songs, each a file of four stems, the same ones for the same seed."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click

from training.options import LEAST_SONG_SECONDS, SEED, FiniteRange, told
from training.songs.files import make
from training.songs.sampler import SOUNDFONTS, soundfont_file


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--songs", type=click.IntRange(1), default=300, help="How many.")
@click.option("--seconds", type=FiniteRange(LEAST_SONG_SECONDS), default=30.0, help="How long each is.")
@click.option("--seed", type=SEED, default=1, help="The seed of the first one; each one after it has the next.")
@click.option("--held-out", is_flag=True, help="Played by instruments, kits and singers that training never hears.")
@click.option("--soundfont", "soundfonts", multiple=True, default=SOUNDFONTS, help="One of these plays each song.")
@click.option("--processes", type=click.IntRange(1), default=1, help="How many are made at a time.")
def main(folder: Path, *, songs: int, seed: int, processes: int, **how: Any) -> None:
    """Make songs in FOLDER: NAME.npy, int16 (4, 2, samples): drums, bass, other, vocals. Those that are there stay."""
    made = partial(make, folder, **how)
    # Processes that are begun anew: what was loaded here, torch for one, may not survive a fork.
    begun = multiprocessing.get_context("spawn")
    with told():
        for soundfont in how["soundfonts"]:
            soundfont_file(soundfont)
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(processes, mp_context=begun) as pool:
            for _ in pool.map(made, range(seed, seed + songs)):
                pass


if __name__ == "__main__":
    main()
