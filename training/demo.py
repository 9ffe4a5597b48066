"""The song by which the page shows what separation is: chords, a beat, a bass and a tune with words.

    python -m training.demo static/demo/song.mp3

Nothing of it is left to chance but how loosely it is played: what everybody plays stands here. It is played by
instruments, a kit and a singer that are held out, so that the built-in model separates what it has never heard.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np

from training.measures import Samples
from training.options import told
from training.songs import effects, sampler, voice
from training.songs.phonemes import Syllable
from training.songs.score import STEMS, Hit, Note
from training.soundfiles import mp3, write_song

SECONDS = 20.0
_SEED, _SINGER = 8, 33
_STEP_SECONDS = 15 / 104  # a sixteenth
_STEPS, _LAST = 16, 8  # in a bar, and for how many the last chord is held
_LOOSE_SECONDS = 0.004
# Programs of General MIDI: a steel-string guitar, a piano, strings; a picked bass; a kit.
OTHERS, BASS, KIT = (25, 1, 49), 34, 1
_LEVELS = {"drums": -18.5, "bass": -20.5, "other": -20.0, "vocals": -17.5}
_PEAK = 0.89

# The bass's tone and the three of the chord.
_C, _G, _A, _F = (36, (60, 64, 67)), (31, (59, 62, 67)), (33, (60, 64, 69)), (29, (60, 65, 69))
_BARS = (_C, _G, _A, _F, _C, _G, _F, _G)
_BEAT = {"kick": "X.....x.X.x.....", "snare": "....X.......X...", "closed_hat": "X.x.X.x.X.x.X.x."}
_LIFTED = {**_BEAT, "closed_hat": "X.x.X.x.X.x.X...", "open_hat": "..............x.", "tambourine": "..x...x...x...x."}
_FILL = {
    "kick": "X.....x.X.......", "snare": "....X.....x.X...", "closed_hat": "X.x.X.x.X.......",
    "high_tom": ".............X..", "mid_tom": "..............X.", "low_tom": "...............x",
}  # fmt: skip
# How hard the drums are struck.
_VELOCITIES = {"X": 0.92, "x": 0.7}
# At which steps of a bar a note begins, how many it lasts, and how far it is above the chord's own.
_BASS = ((0, 3, 0), (3, 3, 0), (6, 2, 0), (8, 3, 0), (11, 1, 0), (12, 2, 7), (14, 2, 12))
_STRUM = ((0, 4), (4, 2), (6, 4), (10, 2), (12, 2), (14, 2))
# The tune: a bar, a step, how many steps, the pitch, and what is sung: sounds before the vowel, the vowel, those after.
_TUNE = (
    (0, 0, 4, 64, "h|i @|r"), (0, 4, 2, 62, "dh|@|"), (0, 6, 6, 64, "v|O I|s"), (0, 12, 2, 65, "|ae|n"),
    (0, 14, 4, 67, "h|i @|r"), (1, 2, 2, 64, "dh|@|"), (1, 4, 11, 62, "d r|V|m"),
    (2, 0, 4, 60, "h|i @|r"), (2, 4, 2, 62, "dh|@|"), (2, 6, 8, 64, "b|e I|s"), (2, 14, 4, 62, "|I|s t"),
    (3, 2, 12, 60, "p l|e I|"),
    (4, 0, 4, 67, "t|er|n"), (4, 4, 2, 67, "dh|E|m"), (4, 6, 6, 72, "|V|p"), (4, 12, 2, 69, "|ae|n"),
    (4, 14, 4, 71, "t|er|n"), (5, 2, 2, 69, "dh|E|m"), (5, 4, 11, 67, "d|a U|n"),
    (6, 0, 4, 69, "l|E|t"), (6, 4, 2, 67, "dh|E|m"), (6, 6, 6, 65, "f|e I|d"), (6, 12, 4, 64, "|@|"),
    (7, 0, 11, 62, "w|e|"), (7, 11, 5, 59, "|e|"), (8, 0, 8, 60, "|e I|"),
)  # fmt: skip


def song(soundfont: str) -> Samples:
    """Play it: (4, 2, samples) in the order of STEMS; their sum doesn't clip."""
    rng = np.random.default_rng(_SEED)
    stems = {**_played(soundfont, rng), "vocals": _sung(rng)}
    together = np.stack([effects.gain_to(stems[name], _LEVELS[name]) for name in STEMS])
    return np.asarray(together * np.float32(_PEAK / np.abs(together.sum(0)).max()), np.float32)


def _played(soundfont: str, rng: np.random.Generator) -> Mapping[str, Samples]:
    """What FluidSynth plays: each player at a place in a room of its own."""
    band = [
        sampler.Player(KIT, hits=[*_hits(rng)]),
        sampler.Player(BASS, [*_bass(rng)]),
        *map(sampler.Player, OTHERS, ([*_strummed(rng)], [*_broken(rng)], [*_held(rng)])),
    ]
    drums, bass, guitar, piano, strings = sampler.play(band, SECONDS, soundfont, rng)
    placed = ((guitar, (1.0, 0.5), -20), (piano, (0.5, 1.0), -22), (strings, (1.0, 1.0), -25))
    chords = sum(effects.gain_to(sound * np.array(sides, np.float32)[:, None], db) for sound, sides, db in placed)
    bass = np.repeat(bass.mean(0, keepdims=True), 2, axis=0)
    return {
        "drums": effects.room(effects.saturate(effects.compress(drums, -26, 3, 0.004, 0.12), 3), rng, 0.5, 0.08),
        "bass": effects.compress(bass, -26, 4, 0.004, 0.15),
        "other": effects.room(effects.compress(np.asarray(chords, np.float32), -24, 4, 0.003, 0.2), rng, 1.2, 0.12),
    }


def _sung(rng: np.random.Generator) -> Samples:
    singer = voice.Singer.draw(np.random.default_rng(_SINGER), held_out=True)
    notes = [Note(_at(bar, step), steps * _STEP_SECONDS, pitch, 0.9) for bar, step, steps, pitch, _ in _TUNE]
    words = [Syllable(*(tuple(part.split()) for part in sounds.split("|"))) for *_, sounds in _TUNE]
    sung = effects.place(voice.sing(notes, singer, SECONDS, rng, words), 0.0, 0.2)
    sung = effects.compress(effects.highpass(sung, 110), -28, 3, 0.005, 0.15)
    return effects.room(sung, rng, 1.6, 0.14)


def _hits(rng: np.random.Generator) -> Iterator[Hit]:
    half = len(_BARS) // 2
    for bar in range(len(_BARS)):
        rows = _FILL if bar % half == half - 1 else _LIFTED if bar >= half else _BEAT
        for drum, row in ({**rows, "crash": "X"} if bar % half == 0 else rows).items():
            for step, letter in enumerate(row):
                if letter != ".":
                    yield Hit(_loose(rng, bar, step), drum, _VELOCITIES[letter] * rng.uniform(0.9, 1.05))
    for drum in ("kick", "crash"):
        yield Hit(_at(len(_BARS), 0), drum, 0.95)


def _bass(rng: np.random.Generator) -> Iterator[Note]:
    for bar, (root, _) in enumerate(_BARS):
        for step, steps, above in _BASS:
            yield _note(rng, bar, step, steps * 0.95, root + above)
    yield _note(rng, len(_BARS), 0, _LAST, _C[0])


def _strummed(rng: np.random.Generator) -> Iterator[Note]:
    """The chord and its lowest tone an octave above, down and up again."""
    for bar, (_, chord) in enumerate(_BARS):
        for number, (step, steps) in enumerate(_STRUM):
            tones = (*chord, chord[0] + 12)[:: -1 if number % 2 else 1]
            for place, tone in enumerate(tones):
                yield _note(rng, bar, step + 0.09 * place, steps, tone)
    for place, tone in enumerate((48, *_C[1], 72)):
        yield _note(rng, len(_BARS), 0.5 * place, _LAST - 0.5 * place, tone)


def _broken(rng: np.random.Generator) -> Iterator[Note]:
    """Eighths up and down the chord, an octave above."""
    for bar, (_, (low, middle, high)) in enumerate(_BARS):
        for number, tone in enumerate((low, middle, high, low + 12, high, middle, high, middle)):
            yield _note(rng, bar, 2 * number, 2.5, tone + 12)
    for tone in _C[1]:
        yield _note(rng, len(_BARS), 1, _LAST - 1, tone + 12)


def _held(rng: np.random.Generator) -> Iterator[Note]:
    """The chord all bar long, an octave above."""
    for bar, (_, chord) in enumerate((*_BARS, _C)):
        for tone in chord:
            yield _note(rng, bar, 0, _STEPS if bar < len(_BARS) else _LAST, tone + 12)


def _at(bar: int, step: float) -> float:
    return (bar * _STEPS + step) * _STEP_SECONDS


def _loose(rng: np.random.Generator, bar: int, step: float) -> float:
    return max(0.0, _at(bar, step) + float(rng.normal(0, _LOOSE_SECONDS)))


def _note(rng: np.random.Generator, bar: int, step: float, steps: float, pitch: int) -> Note:
    """A note of a bar, a little early or late; what is on a beat is louder."""
    velocity = (0.78 if step % 4 == 0 else 0.66) * float(rng.uniform(0.94, 1.06))
    return Note(_loose(rng, bar, step), steps * _STEP_SECONDS, pitch, velocity)


@click.command(context_settings={"show_default": True})
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--soundfont", default=sampler.SOUNDFONTS[0], help="What the instruments are played by.")
@click.option("--stems", type=click.Path(path_type=Path, dir_okay=False), help="Keep the stems, too, as NAME.npy.")
def main(file: Path, soundfont: str, stems: Path | None) -> None:
    """Make the song, and write it to FILE as an MP3."""
    with told():
        sampler.soundfont_file(soundfont)
        file.parent.mkdir(parents=True, exist_ok=True)
        made = song(soundfont)
        file.write_bytes(mp3(made.sum(0)))
        if stems is not None:
            write_song(made, stems)
        click.echo(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
