"""What a song is before it sounds: notes and hits in seconds. Pure."""

from dataclasses import dataclass

RATE = 44_100
STEMS = ("drums", "bass", "other", "vocals")
DRUMS = (
    "kick", "snare", "clap", "rim", "closed_hat", "open_hat", "pedal_hat", "crash", "ride",
    "low_tom", "mid_tom", "high_tom", "shaker", "tambourine", "cowbell",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Note:
    """`start` and `length` in seconds, `pitch` as a MIDI number (60 is middle C), `velocity` from 0 to 1."""

    start: float
    length: float
    pitch: float
    velocity: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A stroke on one of DRUMS; `start` in seconds, `velocity` from 0 to 1."""

    start: float
    drum: str
    velocity: float


@dataclass(frozen=True, slots=True)
class Score:
    """A song of `seconds`: what each player plays. `others` are chords, arpeggios, riffs, each for an instrument."""

    seconds: float
    tempo: float
    drums: tuple[Hit, ...]
    bass: tuple[Note, ...]
    others: tuple[tuple[Note, ...], ...]
    melody: tuple[Note, ...]
