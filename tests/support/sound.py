"""Sound made in code by the real ffmpeg, and ears for what comes back."""

import subprocess
from pathlib import Path

import numpy as np

FFMPEG = ("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y")


def tone(
    path: Path, *, seconds: float = 3.0, hertz: float = 440.0, rate: int = 44100, channels: int = 2, options: str = ""
) -> Path:
    """Write a sine to `path`; its suffix decides the format, `options` are ffmpeg's for the output."""
    source = f"sine=frequency={hertz}:sample_rate={rate}:duration={seconds}"
    argv = [*FFMPEG, "-f", "lavfi", "-i", source, "-ac", str(channels), *options.split(), str(path)]
    subprocess.run(argv, check=True, timeout=120)
    return path


def decode(source: str | Path, *, channels: int | None = None) -> np.ndarray:
    """Decode a file or URL to int16 [samples, channels], exactly as ffmpeg as a player would."""
    mixed = [] if channels is None else ["-ac", str(channels)]
    # AU says first how many channels there are: ffmpeg needn't be asked before.
    raw = ["-f", "au", "-c:a", "pcm_s16be", "pipe:1"]
    argv = [*FFMPEG, "-i", str(source), "-map", "0:a:0", *mixed, *raw]
    data = subprocess.run(argv, check=True, timeout=300, capture_output=True).stdout
    begin, count = int.from_bytes(data[4:8]), int.from_bytes(data[20:24])
    return np.frombuffer(data, ">i2", offset=begin).astype("<i2").reshape(-1, count)


def loudest_hertz(samples: np.ndarray, rate: int) -> float:
    """The frequency with the most energy in a second from the middle."""
    mono = samples.astype(float).mean(axis=1)
    middle = len(mono) // 2
    part = mono[max(0, middle - rate // 2) : middle + rate // 2]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.fft.rfftfreq(len(part), 1 / rate)[int(spectrum.argmax())])
