"""The stems of a song as files that any player plays, and that are small: Opus, one for each.

    python -m training.stems SONG.npy --out FOLDER

What the server's tests separate was made so: see README.md.
"""

from pathlib import Path

import click

from training.options import LEAST_SONG_SECONDS, FiniteRange, told
from training.songs.score import RATE, STEMS
from training.soundfiles import open_song, opus, scaled


@click.command()
@click.argument("song", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where the files go.")
@click.option("--seconds", type=FiniteRange(LEAST_SONG_SECONDS), help="So much of its beginning; otherwise all of it.")
def main(song: Path, out: Path, seconds: float | None) -> None:
    """Write the stems of SONG, a .npy, as drums.opus, bass.opus, other.opus and vocals.opus."""
    with told():
        stems = open_song(song)[..., : None if seconds is None else round(seconds * RATE)]
        out.mkdir(parents=True, exist_ok=True)
        for name, stem in zip(STEMS, stems, strict=True):
            file = out / f"{name}.opus"
            file.write_bytes(opus(scaled(stem)))
            click.echo(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
