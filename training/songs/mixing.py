"""A song from its seed: who plays, in which rooms, and how loud: four stems whose sum is the mix."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from training.songs import drums, effects, sampler, speech, synth, voice
from training.songs.compose import compose
from training.songs.score import RATE, STEMS, Note, Score

# Loudness of stems in dB below full scale, as records have it: mean and spread.
_LEVELS = {"drums": (-20.0, 2.5), "bass": (-21.5, 2.5), "other": (-20.5, 2.5), "vocals": (-19.0, 2.5)}
_PEAKS = (0.4, 0.98)
# What is more than this doesn't fit in 16 bits.
_FULL_SCALE = 1 + 0.5 / 32767


@dataclass(frozen=True, slots=True)
class Song:
    """`stems` are (4, 2, samples), in the order of STEMS; `story` tells how it was made."""

    stems: np.ndarray
    story: dict[str, object]


def song(seed: int, seconds: float, *, held_out: bool = False, soundfonts: Sequence[str] = sampler.SOUNDFONTS) -> Song:
    """Make the song of that seed. What is held out is played by instruments, kits and singers of its own."""
    rng = np.random.default_rng([seed, int(held_out)])
    score = compose(rng, seconds)
    cast = _Cast.draw(rng, len(score.others), held_out=held_out, soundfonts=soundfonts)
    stems = _sounded(rng, score, cast)
    levelled = [effects.gain_to(stems[name], float(rng.normal(*_LEVELS[name]))) for name in STEMS]
    together = np.stack(levelled).astype(np.float32)
    together *= np.float32(_gain(together, rng.uniform(*_PEAKS)))
    return Song(together, {"seed": seed, "held_out": held_out, "tempo": round(score.tempo, 1), **asdict(cast)})


def _gain(stems: np.ndarray, peak: float) -> float:
    """What brings the mix to that peak; or the loudest stem, where others cancel it and it would else be cut off."""
    loudest = float(np.abs(stems).max())
    gain = peak / max(float(np.abs(stems.sum(0)).max()), 1e-6)
    return gain if loudest * gain <= _FULL_SCALE else peak / loudest


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who plays. A program of -1 is the synthesizer; a kit of -1 our own drums."""

    held_out: bool
    soundfont: str
    kit: int
    bass: int
    others: tuple[int, ...]
    singing: str

    @classmethod
    def draw(cls, rng: np.random.Generator, others: int, *, held_out: bool, soundfonts: Sequence[str]) -> "_Cast":
        programs = sampler.programs(bass=False, held_out=held_out)
        return cls(
            held_out=held_out,
            soundfont=str(rng.choice(soundfonts)),
            kit=-1 if rng.random() < 0.4 else int(rng.choice(sampler.kits(held_out=held_out))),
            bass=-1 if rng.random() < 0.35 else int(rng.choice(sampler.programs(bass=True, held_out=held_out))),
            others=tuple(-1 if rng.random() < 0.2 else int(rng.choice(programs)) for _ in range(others)),
            singing=str(rng.choice(["solo", "solo", "solo", "solo", "doubled", "choir", "spoken"])),
        )


def _sounded(rng: np.random.Generator, score: Score, cast: _Cast) -> dict[str, np.ndarray]:
    sampled = _sampled(rng, score, cast)
    rhythm = sampled.get("drums")
    if rhythm is None:
        kit = drums.Kit.draw(rng, held_out=cast.held_out)
        rhythm = drums.play(score.drums, kit, score.seconds, rng)
    bass = sampled.get("bass")
    if bass is None:
        patch = synth.Patch.draw(rng, bass=True, held_out=cast.held_out)
        bass = synth.play(score.bass, patch, score.seconds, rng)
    bass = np.repeat(bass.mean(0, keepdims=True), 2, axis=0)
    return {
        "drums": _drum_bus(rng, rhythm),
        "bass": _bass_bus(rng, bass),
        "other": _other_bus(rng, score, cast, sampled),
        "vocals": _vocal_bus(rng, score, cast),
    }


def _sampled(rng: np.random.Generator, score: Score, cast: _Cast) -> dict[str, np.ndarray]:
    """What FluidSynth plays, by name: drums, bass, and the others by their numbers."""
    players: dict[str, sampler.Player] = {}
    if cast.kit >= 0:
        players["drums"] = sampler.Player(cast.kit, hits=score.drums)
    if cast.bass >= 0:
        players["bass"] = sampler.Player(cast.bass, score.bass, cents=float(rng.normal(0, 3)))
    for number, program in enumerate(cast.others):
        if program >= 0:
            players[str(number)] = sampler.Player(program, score.others[number], cents=float(rng.normal(0, 5)))
    if not players:
        return {}
    return dict(zip(players, sampler.play([*players.values()], score.seconds, cast.soundfont, rng), strict=True))


def _drum_bus(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    sound = effects.equalize(sound, rng)
    sound = _perhaps(rng, 0.5, lambda s: effects.compress(s, -24, float(rng.uniform(2, 6)), 0.01, 0.12), sound)
    return _in_a_room(rng, sound, 0.6, (0.2, 1.2), (0.03, 0.2))


def _bass_bus(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    sound = effects.equalize(sound, rng)
    sound = _perhaps(rng, 0.4, lambda s: effects.saturate(s, float(rng.uniform(1, 4))), sound)
    sound = _perhaps(rng, 0.2, lambda s: effects.chorus(s, rng), sound)
    return _perhaps(rng, 0.5, lambda s: effects.compress(s, -24, float(rng.uniform(2, 6)), 0.01, 0.12), sound)


def _other_bus(rng: np.random.Generator, score: Score, cast: _Cast, sampled: dict[str, np.ndarray]) -> np.ndarray:
    """All of them, each at its place, with its own effects and level."""
    bus = np.zeros((2, round(score.seconds * RATE)), np.float32)
    for number, notes in enumerate(score.others):
        sound = sampled.get(str(number))
        if sound is None:
            patch = synth.Patch.draw(rng, bass=False, held_out=cast.held_out)
            sound = synth.play(notes, patch, score.seconds, rng)
        sound = _placed(effects.equalize(sound, rng), float(rng.uniform(-0.8, 0.8)))
        sound = _perhaps(rng, 0.15, lambda s: effects.saturate(s, float(rng.uniform(2, 8))), sound)
        sound = _perhaps(rng, 0.25, lambda s: effects.chorus(s, rng), sound)
        sound = _perhaps(rng, 0.15, lambda s: effects.delay(s, 45 / score.tempo, 0.35, 0.3), sound)
        sound = _perhaps(rng, 0.1, lambda s: effects.tremolo(s, score.tempo / 30, 0.5), sound)
        bus += effects.gain_to(sound, float(rng.normal(-20, 3)))
    return _in_a_room(rng, bus, 0.7, (0.4, 2.5), (0.05, 0.3))


def _vocal_bus(rng: np.random.Generator, score: Score, cast: _Cast) -> np.ndarray:
    """A singer in the middle, a doubled one, a choir, or speech upon the tune."""
    sound = _sung(rng, score, cast)
    sound = effects.compress(effects.equalize(sound, rng), -26, float(rng.uniform(2, 5)), 0.005, 0.15)
    sound = _perhaps(rng, 0.2, lambda s: effects.delay(s, 30 / score.tempo, 0.3, 0.2), sound)
    return _in_a_room(rng, sound, 0.8, (0.4, 2.5), (0.05, 0.3))


def _sung(rng: np.random.Generator, score: Score, cast: _Cast) -> np.ndarray:
    if cast.singing == "choir":
        return voice.choir(score.melody, rng, score.seconds, held_out=cast.held_out)
    if cast.singing == "spoken":
        said = speech.speak_melody(score.melody, score.seconds, rng, held_out=cast.held_out)
        if said is not None:
            return effects.place(said, float(rng.uniform(-0.2, 0.2)), 0.0)
    singer = voice.Singer.draw(rng, held_out=cast.held_out)
    notes = _transposed(score.melody, *singer.range)
    sung = effects.place(voice.sing(notes, singer, score.seconds, rng), float(rng.uniform(-0.15, 0.15)), 0.0)
    if cast.singing == "doubled":
        aside = float(rng.uniform(0.4, 0.9))
        for pan in (-aside, aside):
            sung = sung + 0.5 * effects.place(voice.sing(notes, singer, score.seconds, rng), pan, 0.0)
    return sung


def _transposed(notes: Sequence[Note], low: float, high: float) -> list[Note]:
    """The tune by octaves into a singer's range; a note out of it is folded back."""
    if not notes:
        return []
    middle = float(np.median([note.pitch for note in notes]))
    shift = 12 * round(((low + high) / 2 - middle) / 12)
    found = []
    for note in notes:
        pitch = note.pitch + shift
        pitch += 12 * (pitch < low) - 12 * (pitch > high)
        found.append(Note(note.start, note.length, pitch, note.velocity))
    return found


def _placed(sound: np.ndarray, pan: float) -> np.ndarray:
    """A stereo sound leaned to one side."""
    left, right = min(1.0, 1 - pan), min(1.0, 1 + pan)
    return sound * np.array([[left], [right]], np.float32)


def _in_a_room(
    rng: np.random.Generator, sound: np.ndarray, share: float, seconds: tuple[float, float], wet: tuple[float, float]
) -> np.ndarray:
    return _perhaps(
        rng, share, lambda s: effects.room(s, rng, float(rng.uniform(*seconds)), float(rng.uniform(*wet))), sound
    )


def _perhaps(
    rng: np.random.Generator, share: float, change: Callable[[np.ndarray], np.ndarray], sound: np.ndarray
) -> np.ndarray:
    return change(sound) if rng.random() < share else sound
