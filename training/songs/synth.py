"""A synthesizer of our own: oscillators summed from harmonics below half the sample rate, a filter, an envelope."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.songs.score import RATE, Note

_MOST_HARMONICS = 60
_RELEASE_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Patch:
    """How it sounds. `slope` is the power with which harmonics fall, `odd` how weak even ones are beside odd ones.

    `cutoff` is in harmonics, and falls to `closed` of it within `closing` seconds; `detune` is in cents.
    """

    slope: float
    odd: float
    cutoff: float
    closed: float
    closing: float
    attack: float
    decay: float
    sustain: float
    release: float
    detune: float
    voices: int
    vibrato: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, bass: bool, held_out: bool = False) -> "Patch":
        """Draw one. What is held out has other slopes and filters than what is trained on."""
        low = 0.55 if held_out else 0.0
        high = 1.0 if held_out else 0.55

        def within(least: float, most: float) -> float:
            return least + (most - least) * float(rng.uniform(low, high))

        plucked = bool(rng.random() < 0.5)
        return cls(
            slope=within(0.7, 2.2),
            odd=float(rng.choice([0.0, 0.0, rng.uniform(0.5, 1.0)])),
            cutoff=within(2.0, 8.0 if bass else 20.0),
            closed=within(0.15, 1.0),
            closing=within(0.05, 0.6),
            attack=0.004 if plucked or bass else within(0.005, 0.3),
            decay=within(0.1, 0.8),
            sustain=float(rng.uniform(0.0, 0.3)) if plucked and not bass else float(rng.uniform(0.4, 1.0)),
            release=within(0.03, 0.12 if bass else _RELEASE_SECONDS),
            detune=within(0.0, 8.0 if bass else 22.0),
            voices=1 if bass and rng.random() < 0.6 else int(rng.integers(1, 4)),
            vibrato=float(rng.choice([0.0, 0.0, rng.uniform(3, 15)])),
        )


def play(notes: Sequence[Note], patch: Patch, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The notes' sound, (2, samples); its voices lie from left to right."""
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    kept: dict[tuple[float, int], np.ndarray] = {}
    for note in notes:
        start, pitch = round(note.start * RATE), float(round(note.pitch))
        # A tone that was played so long before is played again: hundreds of notes are a dozen of sounds.
        key = pitch, round(note.length * 25)
        if key not in kept:
            kept[key] = _tone(pitch, max(0.04, key[1] / 25), patch, rng)
        sound = kept[key][:, : out.shape[1] - start]
        out[:, start : start + sound.shape[1]] += sound * np.float32(note.velocity**1.5)
    return out


def _tone(pitch: float, length: float, patch: Patch, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(round((length + patch.release) * RATE), dtype=np.float32) / RATE
    out = np.zeros((2, time.size), np.float32)
    for voice in range(patch.voices):
        aside = 0.0 if patch.voices == 1 else 2 * voice / (patch.voices - 1) - 1
        hertz = 440 * 2 ** ((pitch - 69 + aside * patch.detune / 100) / 12)
        mono = _oscillator(hertz, time, patch, float(rng.uniform(0, 2 * np.pi)))
        out += mono * np.array([[1 - 0.6 * aside], [1 + 0.6 * aside]], np.float32)
    out *= _envelope(time, length, patch) / np.float32(patch.voices)
    return out


def _oscillator(hertz: float, time: np.ndarray, patch: Patch, phase: float) -> np.ndarray:
    """Harmonics by Chebyshev's recurrence, each faded by the filter that closes."""
    sway = patch.vibrato / 1200 * np.log(2) * hertz / 5.5
    angle = (2 * np.pi * hertz * time + sway * np.sin(2 * np.pi * 5.5 * time) + phase).astype(np.float32)
    cutoff = patch.cutoff * (patch.closed + (1 - patch.closed) * np.exp(-time / patch.closing))
    twice = 2 * np.cos(angle)
    before, now = np.zeros_like(angle), np.sin(angle)
    sound: np.ndarray = np.zeros_like(angle)
    for harmonic in range(1, min(_MOST_HARMONICS, int(0.45 * RATE / hertz)) + 1):
        level = harmonic**-patch.slope * (1 - patch.odd * (harmonic % 2 == 0))
        open_ = 1 / (1 + (harmonic / cutoff) ** 4)
        sound += np.float32(level) * open_ * now
        before, now = now, twice * now - before
    return sound


def _envelope(time: np.ndarray, length: float, patch: Patch) -> np.ndarray:
    rise = np.minimum(1, time / patch.attack)
    held = patch.sustain + (1 - patch.sustain) * np.exp(-np.maximum(0, time - patch.attack) / patch.decay)
    fall = np.clip(1 - (time - length) / patch.release, 0, 1) ** 2
    envelope: np.ndarray = (rise * held * fall).astype(np.float32)
    return envelope
