"""Sound from files and into them: songs of stems, whatever ffmpeg reads, WAV of exact floats, small Opus and MP3."""

import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.measures import Samples
from training.songs.score import RATE, STEMS

FULL_SCALE = 32767
_FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT
_SAMPLE_BYTES = 4
_FFMPEG = ("ffmpeg", "-v", "error", "-nostdin")


class UnreadableSound(ValueError):
    """A file isn't what it should be; the text says which and why."""


def list_songs(folder: Path) -> tuple[Path, ...]:
    """The songs in a folder by name. Raises UnreadableSound where there is none."""
    songs = tuple(sorted(folder.glob("*.npy")))
    if not songs:
        raise UnreadableSound(f"There are no songs (*.npy) in {folder}.")
    return songs


def write_song(stems: Samples, file: Path) -> None:
    """Write [stem, channel, sample] as int16, of which full scale is 1. Not at once: see to it that nobody reads it."""
    with file.open("wb") as out:
        np.save(out, np.round(stems * FULL_SCALE).astype(np.int16))


def open_song(file: Path) -> NDArray[np.int16]:
    """Give [stem, channel, sample] of a song as it is written, read from the disk only where it is looked at."""
    try:
        song: NDArray[np.int16] = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError) as error:
        raise UnreadableSound(f"{file} can't be read as a song: {error}.") from error
    if song.dtype != np.int16 or song.shape[:-1] != (len(STEMS), 2) or not song.size:
        raise UnreadableSound(f"{file} is no song: {song.dtype} {song.shape} instead of int16 (4, 2, samples).")
    return song


def scaled(song: NDArray[np.int16]) -> Samples:
    """What was written, or a part of it, as float32 from -1 to 1."""
    return np.asarray(song, np.float32) / np.float32(FULL_SCALE)


def read_song(file: Path) -> Samples:
    """Give float32 [stem, channel, sample] of a song."""
    return scaled(open_song(file))


def read_sound(source: Path | bytes) -> Samples:
    """Give float32 [2, sample] at RATE of a file, or of a file's bytes, as ffmpeg decodes it."""
    name, data = ("pipe:0", source) if isinstance(source, bytes) else (f"file:{source}", None)
    argv = [*_FFMPEG, "-i", name, "-map", "0:a:0", "-f", "f32le", "-ac", "2", "-ar", str(RATE), "pipe:1"]
    done = subprocess.run(argv, input=data, capture_output=True, check=False)
    if done.returncode:
        # The last line says what it came to.
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UnreadableSound(f"{name} can't be read as sound: {''.join(why)}")
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


def opus(sound: Samples) -> bytes:
    """Give [2, sample] as a small file of Opus; the same bytes for the same sound, by the same ffmpeg."""
    return _encoded(sound, "-c:a", "libopus", "-b:a", "128k", "-f", "ogg")


def mp3(sound: Samples) -> bytes:
    """Give [2, sample] as an MP3 that says how long it is; the same bytes for the same sound, by the same ffmpeg."""
    return _encoded(sound, "-c:a", "libmp3lame", "-b:a", "160k", "-compression_level", "0", "-f", "mp3")


def _encoded(sound: Samples, *form: str) -> bytes:
    """By way of a file, since an MP3's length is written at its start once it has ended."""
    raw = ("-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0")
    exact = ("-fflags", "+bitexact", "-flags:a", "+bitexact")
    data = np.ascontiguousarray(sound.T, "<f4").tobytes()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sound")
        subprocess.run([*_FFMPEG, *raw, *exact, *form, str(file)], input=data, capture_output=True, check=True)
        return file.read_bytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    # Chunks begin at even places.
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
