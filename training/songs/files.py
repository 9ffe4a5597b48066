"""Songs as files, of which any number of processes may make some."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.songs.mixing import song

_FULL_SCALE = 32767


def make(folder: Path, seed: int, *, seconds: float, held_out: bool, soundfonts: Sequence[str]) -> None:
    """Make the song of that seed, int16 (4, 2, samples), unless it is there, and add its story to songs.jsonl."""
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
