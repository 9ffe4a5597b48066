"""Sound from files and into them: songs of stems, whatever ffmpeg reads, and WAV that holds float samples exactly."""

import struct
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.measures import Samples
from training.songs.score import RATE, STEMS

_FULL_SCALE = 32767
_FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT
_SAMPLE_BYTES = 4
_FFMPEG = ("ffmpeg", "-v", "error", "-nostdin")


class UnreadableSound(Exception):
    """A file isn't what it should be; the text says which and why."""


def read_stems(file: Path) -> Samples:
    """Give float32 [stem, channel, sample] of a song as `training.songs` writes them."""
    stems: NDArray[np.int16] = np.load(file)
    if stems.dtype != np.int16 or stems.ndim != 3 or stems.shape[:2] != (len(STEMS), 2):
        raise UnreadableSound(f"{file.name} isn't a song of {len(STEMS)} stems in stereo: {stems.dtype} {stems.shape}")
    return stems.astype(np.float32) / np.float32(_FULL_SCALE)


def read_sound(source: Path | bytes) -> Samples:
    """Give float32 [2, sample] at RATE of a file, or of a file's bytes, as ffmpeg decodes it."""
    name, data = ("pipe:0", source) if isinstance(source, bytes) else (f"file:{source}", None)
    argv = [*_FFMPEG, "-i", name, "-map", "0:a:0", "-f", "f32le", "-ac", "2", "-ar", str(RATE), "pipe:1"]
    done = subprocess.run(argv, input=data, capture_output=True, check=False)
    if done.returncode:
        raise UnreadableSound(f"{name}: {done.stderr.decode(errors='replace').strip()}")
    return np.ascontiguousarray(np.frombuffer(done.stdout, "<f4").reshape(-1, 2).T)


def wav(sound: Samples, comment: str) -> bytes:
    """Write [channel, sample] as a WAV of floats, with a comment as its tag."""
    channels, samples = sound.shape
    frame_bytes = channels * _SAMPLE_BYTES
    kind = struct.pack("<HHIIHHH", _FLOAT, channels, RATE, RATE * frame_bytes, frame_bytes, 8 * _SAMPLE_BYTES, 0)
    tag = _chunk(b"ICMT", comment.encode() + b"\0")
    parts = (
        _chunk(b"fmt ", kind),
        _chunk(b"fact", struct.pack("<I", samples)),
        _chunk(b"LIST", b"INFO" + tag),
        _chunk(b"data", sound.T.astype("<f4").tobytes()),
    )
    return _chunk(b"RIFF", b"WAVE" + b"".join(parts))


def _chunk(name: bytes, data: bytes) -> bytes:
    # Chunks begin at even places.
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
