"""Songs by rules: key, progression, grooves with fills and swing, basses, chords, a tune with rests. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.songs import patterns
from training.songs.score import Hit, Note, Score

Event = TypeVar("Event", Hit, Note)
_STEPS = 16
_LOUDNESS = {"x": 0.7, "X": 0.95, "o": 0.35}
_BARS_OF_SECTION = (4, 8)
_LOWEST_BASS, _LOWEST_CHORD, _LOWEST_TUNE = 28, 48, 55


def compose(rng: np.random.Generator, seconds: float) -> Score:
    """Make up a song of that length."""
    frame = _Frame.draw(rng, seconds)
    others = tuple(_other(rng, frame) for _ in range(int(rng.integers(1, 5))))
    return Score(
        seconds=seconds,
        tempo=frame.tempo,
        drums=tuple(_within(_drums(rng, frame), seconds)),
        bass=tuple(_within(_bass(rng, frame), seconds)),
        others=tuple(tuple(_within(part, seconds)) for part in others),
        melody=tuple(_within(_tune(rng, frame, _LOWEST_TUNE, sung=True), seconds)),
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all players agree on. `swing` delays every second eighth, in sixteenths; `loose` is in seconds."""

    tempo: float
    swing: float
    loose: float
    root: int
    scale: Sequence[int]
    progression: Sequence[int]
    bars: int

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: float) -> "_Frame":
        tempo = float(rng.uniform(68, 172))
        return cls(
            tempo=tempo,
            swing=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.2, 0.66)])),
            loose=float(rng.uniform(0.0, 0.012)),
            root=int(rng.integers(12)),
            scale=patterns.MODES[rng.integers(len(patterns.MODES))],
            progression=patterns.PROGRESSIONS[rng.integers(len(patterns.PROGRESSIONS))],
            bars=int(np.ceil(seconds * tempo / 240)) + 1,
        )

    def at(self, bar: int, step: float) -> float:
        """When a step of a bar begins, in seconds."""
        late = self.swing * 0.5 if int(step) % 2 else 0.0
        return (bar * _STEPS + step + late) * 15 / self.tempo

    def degree(self, bar: int) -> int:
        return self.progression[bar % len(self.progression)]

    def pitch(self, degree: int, lowest: int) -> int:
        """The pitch of a degree of the scale, the root at `lowest` or within the octave above it."""
        octave, step = divmod(degree, len(self.scale))
        return lowest + (self.root - lowest) % 12 + 12 * octave + self.scale[step]


def _within(events: Sequence[Event], seconds: float) -> Iterator[Event]:
    return (event for event in events if 0 <= event.start < seconds - 0.05)


def _plays(rng: np.random.Generator, bars: int, share: float) -> list[bool]:
    """In which bars a player plays: it rests for whole sections."""
    found: list[bool] = []
    while len(found) < bars:
        found += [bool(rng.random() < share)] * int(rng.choice(_BARS_OF_SECTION))
    return found if any(found[:bars]) else [True] * bars


def _drums(rng: np.random.Generator, frame: _Frame) -> list[Hit]:
    groove = dict(patterns.GROOVES[rng.integers(len(patterns.GROOVES))])
    other = dict(patterns.GROOVES[rng.integers(len(patterns.GROOVES))])
    hits: list[Hit] = []
    section = int(rng.choice(_BARS_OF_SECTION))
    plays = _plays(rng, frame.bars, 0.92)
    for bar in range(frame.bars):
        if not plays[bar]:
            continue
        played: Mapping[str, str] = groove if (bar // section) % 2 == 0 else other
        if bar % section == section - 1 and rng.random() < 0.8:
            played = patterns.FILLS[rng.integers(len(patterns.FILLS))]
        if bar % section == 0 and rng.random() < 0.7:
            played = {**played, "crash": "X..............."}
        hits += _struck(rng, frame, bar, played)
    return hits


def _struck(rng: np.random.Generator, frame: _Frame, bar: int, played: Mapping[str, str]) -> Iterator[Hit]:
    """The strokes of one bar, each a little off; now and then one is left out or a soft one is put in."""
    for drum, row in played.items():
        for step, letter in enumerate(row):
            soft = letter == "." and drum in ("snare", "kick", "closed_hat") and rng.random() < 0.02
            if (letter == "." and not soft) or rng.random() < 0.03:
                continue
            start = frame.at(bar, step) + float(rng.normal(0, frame.loose))
            velocity = _LOUDNESS.get(letter, 0.3) * float(rng.uniform(0.85, 1.05))
            yield Hit(max(0.0, start), drum, min(1.0, velocity))


def _rhythm(row: str) -> Iterator[tuple[int, int]]:
    """The notes of a row: at which step each begins, and for how many steps it lasts."""
    for step, letter in enumerate(row):
        if letter == "x":
            rest = row[step + 1 :]
            yield step, 1 + len(rest) - len(rest.lstrip("-"))


def _bass(rng: np.random.Generator, frame: _Frame) -> list[Note]:
    rows = [patterns.BASS_RHYTHMS[rng.integers(len(patterns.BASS_RHYTHMS))] for _ in range(2)]
    leaps = rng.choice([0, 0, 7, 12, 4], size=_STEPS)
    walking, short = rng.random() < 0.2, float(rng.uniform(0.5, 1.0))
    plays = _plays(rng, frame.bars, 0.92)
    notes: list[Note] = []
    for bar in range(frame.bars):
        root = frame.pitch(frame.degree(bar), _LOWEST_BASS)
        for step, length in _rhythm(rows[bar % 4 == 3]) if plays[bar] else ():
            walk = frame.pitch(frame.degree(bar) + int(rng.integers(-2, 5)), _LOWEST_BASS)
            pitch = walk if walking and step else root + int(leaps[step] if step else 0)
            notes.append(_note(rng, frame, (bar, step), length * short, pitch if pitch < 56 else pitch - 12))
    return notes


def _note(rng: np.random.Generator, frame: _Frame, at: tuple[int, float], steps: float, pitch: float) -> Note:
    start = max(0.0, frame.at(*at) + float(rng.normal(0, frame.loose)))
    return Note(start, max(0.05, steps * 15 / frame.tempo), pitch, float(rng.uniform(0.5, 0.95)))


def _other(rng: np.random.Generator, frame: _Frame) -> list[Note]:
    """Chords, an arpeggio, or a tune in another register."""
    kind = rng.choice(["chords", "chords", "arpeggio", "tune"])
    if kind == "tune":
        return _tune(rng, frame, int(rng.choice([48, 60, 67, 72])), sung=False)
    lowest = int(rng.choice([_LOWEST_CHORD - 6, _LOWEST_CHORD, _LOWEST_CHORD + 7, _LOWEST_CHORD + 12]))
    rows = patterns.CHORD_RHYTHMS if kind == "chords" else patterns.ARPEGGIO_RHYTHMS
    row = rows[rng.integers(len(rows))]
    size, strum = int(rng.integers(2, 5)), float(rng.choice([0.0, 0.0, rng.uniform(0.005, 0.025)]))
    order = rng.permutation(2 * size)
    plays = _plays(rng, frame.bars, 0.8)
    notes: list[Note] = []
    for bar in range(frame.bars):
        tones = [frame.pitch(frame.degree(bar) + 2 * third, lowest) for third in range(size)]
        tones = [tone - 12 if tone > lowest + 22 else tone for tone in tones]
        for number, (step, length) in enumerate(_rhythm(row) if plays[bar] else ()):
            if kind == "chords":
                notes += [_note(rng, frame, (bar, step + strum * i), length, tone) for i, tone in enumerate(tones)]
            else:
                which = int(order[number % len(order)])
                notes.append(_note(rng, frame, (bar, step), length * 1.3, tones[which % size] + 12 * (which // size)))
    return notes


def _tune(rng: np.random.Generator, frame: _Frame, lowest: int, *, sung: bool) -> list[Note]:
    """Phrases of two bars with rests between; strong steps fall on tones of the chord, others walk along the scale."""
    plays = _plays(rng, frame.bars, 0.85 if sung else 0.6)
    rows = [patterns.MELODY_RHYTHMS[rng.integers(len(patterns.MELODY_RHYTHMS))] for _ in range(4)]
    degree = int(rng.integers(0, 5))
    notes: list[Note] = []
    for bar in range(frame.bars):
        if not plays[bar] or rng.random() < 0.12:
            continue
        for step, length in _rhythm(rows[bar % 4]):
            degree += int(rng.choice([-2, -1, -1, 0, 1, 1, 2]))
            if step % 8 == 0:
                degree = min(
                    (frame.degree(bar) % 7 + 2 * third + 7 * octave for third in range(3) for octave in (-1, 0, 1)),
                    key=lambda tone: (abs(tone - degree), tone),
                )
            degree = min(max(degree, -2), 10)
            notes.append(_note(rng, frame, (bar, step), length * 0.98, frame.pitch(degree, lowest)))
    return notes
