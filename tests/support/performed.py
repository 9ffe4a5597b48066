"""Songs whose stems are known: played by instruments and singers that the built-in model has never heard."""

import subprocess
from pathlib import Path

import numpy as np

from support.sound import FFMPEG
from training.songs.mixing import song
from training.songs.score import RATE

# The one that is small enough for every machine that runs tests.
SOUNDFONTS = ("TimGM6mb.sf2",)


def performed(seed: int, seconds: float) -> np.ndarray:
    """The stems of a song, drums, bass, other and vocals: float32 (4, 2, samples); the mix is their sum."""
    return song(seed, seconds, held_out=True, soundfonts=SOUNDFONTS).stems


def written(file: Path, samples: np.ndarray, *options: str) -> Path:
    """Write sound (2, samples) as a file of the kind that its name says."""
    raw = ["-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0"]
    data = np.ascontiguousarray(samples.T, "<f4").tobytes()
    subprocess.run([*FFMPEG, *raw, *options, str(file)], input=data, check=True, timeout=60)
    return file
