"""General MIDI through FluidSynth: what samplers play, in one run of it for all players of a song."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

from training.songs.score import RATE, Hit, Note

SOUNDFONTS = ("FluidR3_GM.sf2", "TimGM6mb.sf2")
_FOLDER = Path("/usr/share/sounds/sf2")
_DRUM_CHANNEL = 9
# Ticks are milliseconds.
_TICKS, _TEMPO = 500, 500_000
# Between two players: what still rings.
_TAIL_SECONDS = 3.0
_KEYS = {
    "kick": (36, 35), "snare": (38, 40), "clap": (39,), "rim": (37,), "closed_hat": (42,), "pedal_hat": (44,),
    "open_hat": (46,), "crash": (49, 57), "ride": (51, 59), "low_tom": (43, 41), "mid_tom": (47, 45),
    "high_tom": (50, 48), "shaker": (70, 82), "tambourine": (54,), "cowbell": (56,),
}  # fmt: skip

_OTHERS = (
    *range(32),  # pianos, bells, organs, guitars
    *range(40, 47),
    *range(48, 52),
    *range(55, 85),  # brass, reeds, pipes, leads; without choirs, which sing
    *range(86, 91),
    *range(92, 101),
    *range(102, 112),
)
BASSES = tuple(range(32, 40))
# These are never heard in training.
HELD_OUT_OTHERS = frozenset({1, 6, 11, 18, 25, 29, 41, 46, 49, 57, 61, 66, 71, 74, 81, 89, 95, 104})
HELD_OUT_BASSES = frozenset({34, 37, 39})
KITS, HELD_OUT_KITS = (0, 8, 16, 25, 32, 40), (1, 24)


@dataclass(frozen=True, slots=True)
class Player:
    """Who plays what: `program` of General MIDI or, for drums, a kit; `cents` off the others' tune."""

    program: int
    notes: Sequence[Note] = ()
    hits: Sequence[Hit] = ()
    cents: float = 0.0


def programs(*, bass: bool, held_out: bool) -> list[int]:
    """The instruments to choose from."""
    kept = HELD_OUT_BASSES if bass else HELD_OUT_OTHERS
    return [program for program in (BASSES if bass else _OTHERS) if (program in kept) == held_out]


def kits(*, held_out: bool) -> Sequence[int]:
    """The drum kits to choose from."""
    return HELD_OUT_KITS if held_out else KITS


def soundfont_file(soundfont: str) -> Path:
    """Where it is. Raises ValueError where it isn't: FluidSynth itself would play another or none, and be content."""
    file = _FOLDER / soundfont
    if not file.is_file():
        raise ValueError(f"There is no soundfont {file}. What songs need is installed by: make training")
    return file


def play(players: Sequence[Player], seconds: float, soundfont: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Each player's sound, (2, samples). They play one after the other: FluidSynth reads a soundfont once a run."""
    span = seconds + _TAIL_SECONDS
    track = mido.MidiTrack()
    events: list[tuple[int, int, mido.Message]] = []
    for number, player in enumerate(players):
        events += _events(player, round(number * span * 1000), rng)
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(0, round(len(players) * span * 1000) - now)))
    sound = _sounded(mido.MidiFile(ticks_per_beat=_TICKS, tracks=[track]), soundfont)
    length = round(seconds * RATE)
    starts = [round(number * span * RATE) for number in range(len(players))]
    sound = np.pad(sound, ((0, 0), (0, max(0, starts[-1] + length - sound.shape[1]))))
    return [sound[:, start : start + length] for start in starts]


def _events(player: Player, begin: int, rng: np.random.Generator) -> list[tuple[int, int, mido.Message]]:
    """What a player does, each with its tick and its rank among what comes at the same one: ends come before notes."""
    channel = _DRUM_CHANNEL if player.hits else 0
    bend = round(player.cents / 200 * 8191)
    found: list[tuple[int, int, mido.Message]] = [
        (begin, 1, mido.Message("program_change", channel=channel, program=player.program)),
        (begin, 1, mido.Message("pitchwheel", channel=channel, pitch=bend)),
    ]
    for note in player.notes:
        key, start = round(note.pitch), begin + round(note.start * 1000)
        end = max(start + 20, start + round(note.length * 1000) - 5)
        found.append((start, 2, mido.Message("note_on", channel=channel, note=key, velocity=_velocity(note.velocity))))
        found.append((end, 0, mido.Message("note_off", channel=channel, note=key)))
    variant = int(rng.integers(2))
    for hit in player.hits:
        keys, start = _KEYS[hit.drum], begin + round(hit.start * 1000)
        key = keys[variant % len(keys)]
        found.append((start, 2, mido.Message("note_on", channel=channel, note=key, velocity=_velocity(hit.velocity))))
        found.append((start + 80, 0, mido.Message("note_off", channel=channel, note=key)))
    return found


def _velocity(velocity: float) -> int:
    return min(127, max(1, round(velocity * 127)))


def _sounded(song: mido.MidiFile, soundfont: str) -> np.ndarray:
    """The sound of a file, without FluidSynth's own rooms: (2, samples)."""
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "song.mid"), Path(folder, "song.raw")
        song.save(score)
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.3", "-r", str(RATE), "-O", "float",
                   "-T", "raw", "-F", str(sound), str(soundfont_file(soundfont)), str(score)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return np.fromfile(sound, np.float32).reshape(-1, 2).T.copy()
