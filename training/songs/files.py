"""Songs as files, of which any number of processes may make some."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from training.songs.mixing import song
from training.soundfiles import write_song


def make(folder: Path, seed: int, *, seconds: float, held_out: bool, soundfonts: Sequence[str]) -> None:
    """Make the song of that seed, int16 (4, 2, samples), unless it is there, and add its story to songs.jsonl."""
    file = folder / f"{'held-out-' if held_out else ''}{seed:06}.npy"
    if file.exists():
        return
    made = song(seed, seconds, held_out=held_out, soundfonts=soundfonts)
    if file.exists():  # another process was quicker
        return
    # Whole or not at all: a training that runs meanwhile reads what it finds.
    partial = file.with_suffix(f".{os.getpid()}.partial")
    write_song(made.stems, partial)
    partial.replace(file)
    with (folder / "songs.jsonl").open("a", encoding="utf-8") as stories:
        stories.write(json.dumps({"file": file.name, **made.story}) + "\n")
