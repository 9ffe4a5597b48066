"""Sung stems by rule: a singer, and a choir. Pure.

A singer is drawn from a seed, and a melody sung in four steps: `phonemes` gives the words, `performance` the movements,
`tract` the sound.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.songs.performance import Performance, one_by_one, ties
from training.songs.phonemes import Syllable, draw_lyrics
from training.songs.score import RATE, Note
from training.songs.singer import Singer
from training.songs.tract import Floats, frames_in, sound

__all__ = ["Singer", "choir", "sing"]

LEVEL = 0.12  # root mean square of a vowel


def sing(
    notes: Sequence[Note],
    singer: Singer,
    seconds: float,
    rng: np.random.Generator,
    lyrics: Sequence[Syllable] | None = None,
) -> Floats:
    """(samples,): the melody, one note at a time, on `lyrics` or random syllables."""
    melody = one_by_one(notes, seconds)
    samples = round(seconds * RATE)
    if not melody:
        return np.zeros(samples, np.float32)
    words = draw_lyrics(ties(melody), rng) if lyrics is None else lyrics
    tracks = Performance(singer, frames_in(seconds), rng).of(melody, words)
    out = np.zeros(samples, np.float32)
    heard = sound(tracks, singer.throat, rng)[:samples]
    out[: len(heard)] = LEVEL * heard
    return out


def choir(
    notes: Sequence[Note], rng: np.random.Generator, seconds: float, voices: int = 4, held_out: bool = False
) -> Floats:
    """(2, samples): `voices` singers on the same words, each with own time and tuning, some an octave apart."""
    melody = one_by_one(notes, seconds)
    lyrics = draw_lyrics(ties(melody), rng)
    pitch = float(np.median([note.pitch for note in melody])) if melody else 60.0
    takes = []
    for _ in range(voices):
        singer = Singer.draw(rng, held_out)
        octaves = round((singer.middle - pitch) / 12)
        part = [replace(note, pitch=note.pitch + 12 * octaves) for note in _loosened(melody, rng, 0.025, 0.12)]
        takes.append(sing(part, singer, seconds, rng, lyrics))
    sides = rng.permutation(np.linspace(-1, 1, voices)) * rng.uniform(0.4, 1.0) if voices > 1 else np.zeros(1)
    return _placed(takes, sides) / np.float32(np.sqrt(voices))


def _loosened(melody: Sequence[Note], rng: np.random.Generator, seconds: float, semitones: float) -> list[Note]:
    late, off = rng.normal(0, seconds), rng.normal(0, semitones)
    return [
        replace(
            note,
            start=max(0.0, note.start + late + rng.normal(0, seconds / 2)),
            pitch=note.pitch + off + rng.normal(0, semitones / 2),
        )
        for note in melody
    ]


def _placed(takes: Sequence[Floats], sides: Floats) -> Floats:
    angles = (np.asarray(sides) + 1) * np.pi / 4
    gains = np.stack([np.cos(angles), np.sin(angles)]) * np.sqrt(2)
    return np.asarray(gains @ np.stack(takes), np.float32)
