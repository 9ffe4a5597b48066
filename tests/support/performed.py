"""A song whose stems are known: played by instruments and a voice that the built-in model has never heard."""

import subprocess
from pathlib import Path

import numpy as np

from support.songs import RATE
from support.sound import FFMPEG

STEMS = ("drums", "bass", "other", "vocals")
# Its README tells how they were made.
RECORDED = Path(__file__).parent / "recorded"


def performed() -> np.ndarray:
    """Its twelve seconds, in the order of STEMS: float32 (4, 2, samples); the mix is their sum."""
    return np.stack([_read(RECORDED / f"{name}.opus") for name in STEMS])


def _read(file: Path) -> np.ndarray:
    argv = [*FFMPEG, "-i", str(file), "-f", "f32le", "-ar", str(RATE), "-ac", "2", "pipe:1"]
    raw = subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, 2).T


def written(file: Path, samples: np.ndarray, *options: str) -> Path:
    """Write sound (2, samples) as a file of the kind that its name says."""
    raw = ["-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0"]
    data = np.ascontiguousarray(samples.T, "<f4").tobytes()
    subprocess.run([*FFMPEG, *raw, *options, str(file)], input=data, check=True, timeout=60)
    return file
