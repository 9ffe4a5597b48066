"""Speech upon a tune: espeak-ng says made-up words, and each is bent to a note, or spoken in its rhythm.

A word is taken apart as a vocoder does it, into the envelope of its spectrum and how far it is voiced, frame by frame;
pulses at the note's pitch and noise then go through the envelopes, whose vowel is stretched to the note's length.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal
from scipy.io import wavfile

from training.songs.performance import FRAMES_PER_SECOND, one_by_one, smoothed
from training.songs.score import RATE, Note
from training.songs.tract import FRAME, HOP, TABLE, TRANSFORM, Floats, filtered, frames_in, read, upsample

LANGUAGES = ("en-us", "en-gb", "de", "es", "it", "fr-fr", "pt-br", "pl")
OTHER_LANGUAGES = ("en-gb-scotland", "sv", "nl", "fi", "es-419")
VARIANTS = (
    "m1",
    "m2",
    "m4",
    "m5",
    "m7",
    "f1",
    "f3",
    "f4",
    "klatt",
    "klatt3",
    "max",
    "linda",
    "steph",
    "adam",
    "edward",
)
OTHER_VARIANTS = ("m3", "m6", "m8", "f2", "f5", "klatt2", "croak", "belinda", "michel")
EDGE = 400  # samples over which a cut fades
SPOKEN_SECONDS = 60.0  # how long espeak-ng may take
LEVEL = 0.12  # root mean square while something sounds
LONGEST_QUEFRENCY = 90  # samples: a shorter ripple of the spectrum is the tract's, a longer one the pitch's
SILENCE = -9.0  # the logarithm of an envelope, about that of the pauses of what is said
ONSETS = (
    "",
    "",
    "b",
    "d",
    "f",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "st",
    "tr",
    "sh",
    "ch",
    "bl",
)
HEARTS = ("a", "e", "i", "o", "u", "a", "o", "ai", "ou", "ee", "oa")
CODAS = ("", "", "", "n", "m", "s", "t", "l", "r", "k", "nd", "st")


@dataclass(frozen=True, slots=True)
class Word:
    """`sound` (samples,), and by frame its envelope, `cepstrum` (frames, LONGEST_QUEFRENCY), and `voicing`, 0 to 1."""

    sound: Floats
    cepstrum: Floats
    voicing: Floats
    hertz: float

    @property
    def can_last(self) -> bool:
        """Whether what a long note stretches is voiced all through: no one sings an s."""
        places, ahead = stretched(self.voicing, 1.0)
        return bool(np.min(self.voicing[places[ahead : len(places) // 2]]) > 0.7)


def speak_melody(
    notes: Sequence[Note], seconds: float, rng: np.random.Generator, held_out: bool = False
) -> Floats | None:
    """(samples,): the notes sung, rapped or talked through, or None where espeak-ng isn't installed."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        return None
    melody = one_by_one(notes, seconds)
    voice = _voice(rng, held_out)
    manner = rng.random()
    if manner < 0.2:
        heard = _talked(melody, _say(espeak, voice, _text(120, rng), 0, rng), seconds, rng)
    else:
        spoken = _say(espeak, voice, _text(28, rng), 28, rng)
        words = [_taken_apart(spoken[part]) for part in sounding(spoken)]
        lasting = [word for word in words if word.can_last]
        if manner < 0.45 or not lasting:
            heard = _rapped(melody, words, seconds, rng)
        else:
            heard = _sung(melody, lasting, seconds, rng)
    loud = heard[np.abs(heard) > 0.02 * np.abs(heard).max()] if heard.any() else heard
    return np.asarray(LEVEL * heard / max(float(np.sqrt(np.mean(np.square(loud)))), 1e-6), np.float32)


def _voice(rng: np.random.Generator, held_out: bool) -> str:
    languages, variants = (OTHER_LANGUAGES, OTHER_VARIANTS) if held_out else (LANGUAGES, VARIANTS)
    return f"{rng.choice(languages)}+{rng.choice(variants)}"


def _text(words: int, rng: np.random.Generator) -> str:
    said = []
    for _ in range(words):
        syllables = 1 + (rng.random() < 0.2)
        said.append("".join(str(rng.choice(ONSETS) + rng.choice(HEARTS)) for _ in range(syllables)) + rng.choice(CODAS))
    return " ".join(said)


def _say(espeak: str, voice: str, text: str, gap: int, rng: np.random.Generator) -> Floats:
    """What espeak-ng says, at RATE; `gap` is the pause between words in hundredths of a second at its usual speed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "said.wav")
        argv = [espeak, "-v", voice, "-s", str(rng.integers(120, 200)), "-p", str(rng.integers(20, 80))]
        argv += ["-g", str(gap), "-w", str(file), text]
        subprocess.run(argv, check=True, capture_output=True, timeout=SPOKEN_SECONDS)
        rate, said = wavfile.read(file)
    return np.asarray(signal.resample_poly(said / 32768, RATE, rate), np.float32)


def sounding(spoken: Floats) -> list[slice]:
    """Where words are: stretches between pauses of a tenth of a second."""
    step = RATE // 100
    level = np.sqrt(np.mean(np.square(spoken[: len(spoken) // step * step].reshape(-1, step)), axis=1))
    loud = np.flatnonzero(level > 0.01 * level.max()) if len(level) else np.zeros(0, int)
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > 10) + 1)
    return [slice(group[0] * step, (group[-1] + 1) * step) for group in groups if len(group) > 6]


def _taken_apart(sound: Floats) -> Word:
    frames = len(sound) // HOP + 1
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (FRAME, 2 * FRAME)), 2 * FRAME)[::HOP][:frames]
    framed = windows * np.hanning(2 * FRAME).astype(np.float32)
    power = np.square(np.abs(fft.rfft(framed, TRANSFORM * 2, axis=1)))
    voicing, hertz = _voiced(fft.irfft(power, axis=1))
    # Quefrencies beyond the cut are the pitch; the rest is folded, so that the tract rings after a pulse only.
    cepstrum = fft.irfft(np.log(np.sqrt(power[:, ::2]) + 1e-4), axis=1)[:, :LONGEST_QUEFRENCY]
    cepstrum *= 0.5 + 0.5 * np.cos(np.pi * np.arange(LONGEST_QUEFRENCY) / LONGEST_QUEFRENCY)
    cepstrum[:, 1:] *= 2
    return Word(sound, cepstrum, voicing, hertz)


def _voiced(correlation: Floats) -> tuple[Floats, float]:
    """How far each frame repeats itself at some pitch from 60 to 400 Hz, and the usual one of those."""
    window = np.correlate(np.hanning(2 * FRAME), np.hanning(2 * FRAME), "full")[2 * FRAME - 1 :]
    first, last = RATE // 400, RATE // 60
    lags = correlation[:, first:last] / (window[first:last] / window[0]) / (correlation[:, :1] + 1e-6)
    voicing = np.clip((lags.max(axis=1) - 0.45) / 0.3, 0, 1)
    periods = lags.argmax(axis=1)[voicing > 0.5] + first
    return smoothed(voicing, 0.02), float(RATE / np.median(periods)) if len(periods) else 120.0


def _sung(melody: Sequence[Note], words: Sequence[Word], seconds: float, rng: np.random.Generator) -> Floats:
    frames = frames_in(seconds)
    if not melody:
        return np.zeros(round(seconds * RATE), np.float32)
    usual = 69 + 12 * np.log2(np.median([word.hertz for word in words]) / 440) + 5
    octaves = 12 * round(float(usual - np.median([note.pitch for note in melody])) / 12)
    pitch = np.full(frames, melody[0].pitch + octaves)
    cepstrum = np.zeros((frames, LONGEST_QUEFRENCY), np.float32)
    cepstrum[:, 0] = SILENCE
    voicing, gain = np.zeros(frames), np.zeros(frames)
    for note in melody:
        word = words[int(rng.integers(len(words)))]
        places, ahead = stretched(word.voicing, note.length)
        start = max(0, round(note.start * FRAMES_PER_SECOND) - ahead)
        here = slice(start, min(start + len(places), frames))
        source = places[: here.stop - here.start]
        cepstrum[here], voicing[here] = word.cepstrum[source], word.voicing[source]
        gain[here], gain[here.stop :] = 0.4 + 0.6 * note.velocity, 0
        pitch[start:] = note.pitch + octaves
    depth, rate = rng.uniform(0, 0.4), rng.uniform(4.5, 6.5)
    wave = depth * np.sin(2 * np.pi * rate * np.arange(frames) / FRAMES_PER_SECOND)
    drift = 0.3 * smoothed(rng.standard_normal(frames), 0.3) + rng.uniform(0.01, 0.08) * rng.standard_normal(frames)
    hertz = 440 * 2 ** ((smoothed(pitch, rng.uniform(0.02, 0.1)) + wave + drift - 69) / 12)
    return _put_together(hertz, smoothed(voicing, 0.02), smoothed(gain, 0.03), cepstrum, rng)[: round(seconds * RATE)]


def stretched(voicing: Floats, length: float) -> tuple[NDArray[np.intp], int]:
    """Which frame of a word sounds in each frame of a note, and how many come before its start.

    Consonants keep their length, what lies in the middle of the voiced part fills the note.
    """
    frames = len(voicing)
    voiced = np.flatnonzero(voicing > 0.6)
    first, last = (int(voiced[0]), int(voiced[-1])) if len(voiced) > 4 else (frames // 4, 3 * frames // 4)
    first += (last - first) // 5
    last -= (last - first) // 4
    ends = frames - last
    wanted = max(round(length * FRAMES_PER_SECOND), 4)
    ends_kept = min(ends, wanted // 2)
    middle = np.linspace(first, last, max(wanted - ends_kept, 2))
    tail = np.linspace(last, frames - 1, ends_kept)
    return np.concatenate([np.arange(first), middle, tail]).round().astype(np.intp), first


def _put_together(hertz: Floats, voicing: Floats, gain: Floats, cepstrum: Floats, rng: np.random.Generator) -> Floats:
    turn = (np.cumsum(upsample(hertz), dtype=np.float64) / RATE % 1).astype(np.float32)
    click = np.zeros(TABLE)
    click[TABLE // 2] = 1
    (pulses,) = read(turn, hertz, (click,))
    noise = rng.standard_normal(len(turn), dtype=np.float32)
    rough = rng.uniform(0.02, 0.12)
    source = upsample(gain * voicing) * pulses + upsample(gain * (1 - voicing + rough)) * noise

    def response(frames: NDArray[np.intp]) -> NDArray[np.complex64]:
        return np.asarray(np.exp(fft.rfft(cepstrum[frames], TRANSFORM, axis=1)))

    return filtered(source.astype(np.float32), np.flatnonzero(gain > 1e-3), response)


def _rapped(melody: Sequence[Note], words: Sequence[Word], seconds: float, rng: np.random.Generator) -> Floats:
    out = np.zeros(round(seconds * RATE) + 2 * RATE, np.float32)
    for note in melody if words else ():
        word = words[int(rng.integers(len(words)))]
        _, ahead = stretched(word.voicing, note.length)
        start = max(0, round(note.start * RATE) - ahead * HOP)
        fade = np.minimum(1, np.arange(len(word.sound), 0, -1, dtype=np.float32) / EDGE)
        out[max(0, start - EDGE) : start] *= np.linspace(1, 0.1, EDGE)[: min(start, EDGE)]
        out[start : start + len(word.sound)] *= 0.1
        out[start : start + len(word.sound)] += (0.4 + 0.6 * note.velocity) * (word.sound * fade)[: len(out) - start]
    return out[: round(seconds * RATE)]


def _talked(melody: Sequence[Note], spoken: Floats, seconds: float, rng: np.random.Generator) -> Floats:
    """Talk for as long as each phrase lasts."""
    out = np.zeros(round(seconds * RATE), np.float32)
    place = int(rng.integers(max(len(spoken) // 4, 1)))
    for index, note in enumerate(melody):
        until = melody[index + 1].start if index + 1 < len(melody) else seconds
        length = min(note.length + 0.3, until - note.start)
        here = out[round(note.start * RATE) : round((note.start + length) * RATE)]
        said = spoken[place : place + len(here)]
        here[: len(said)] = said
        edge = min(EDGE, len(here) // 2)
        here[:edge] *= np.linspace(0, 1, edge)
        here[len(here) - edge :] *= np.linspace(1, 0, edge)
        place = (place + len(here)) % max(len(spoken) - RATE, 1)
    return out
