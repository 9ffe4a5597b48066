"""Voices: the tune is sung in tune, in its words' rhythm, by singers that differ and are kept apart."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from training.songs import speech, voice
from training.songs.performance import one_by_one, ties
from training.songs.phonemes import Syllable, draw_lyrics
from training.songs.score import RATE, Note
from training.songs.singer import Singer

SECONDS = 3.0
TUNE = (Note(0.5, 0.6, 57, 0.8), Note(1.1, 0.6, 61, 0.7), Note(2.0, 0.7, 52, 0.9))
AH = [Syllable((), ("a",))] * 3


def cents_off(sound: np.ndarray, note: Note, octaves: bool = False) -> float:
    """How far what sounds in the later part of the note is from its pitch, by autocorrelation."""
    part = sound[round((note.start + 0.15) * RATE) : round((note.start + note.length - 0.1) * RATE)].astype(float)
    window = np.hanning(len(part))
    kept = [np.fft.irfft(np.abs(np.fft.rfft(x, 1 << 17)) ** 2)[: len(part) // 2] for x in (part * window, window)]
    hertz = 440 * 2 ** ((note.pitch - 69) / 12)
    low, high = (60, 900) if octaves else (round(RATE / hertz / 1.3), round(RATE / hertz * 1.3))
    period = low + int(np.argmax((kept[0] / kept[1])[low:high]))
    cents = 1200 * np.log2(RATE / period / hertz)
    return float(abs((cents + 600) % 1200 - 600 if octaves else cents))


def level(sound: np.ndarray, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(np.square(sound[..., round(start * RATE) : round(end * RATE)]))))


def share_above(sound: np.ndarray, hertz: float) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(power[round(hertz * len(sound) / RATE) :].sum() / power.sum())


@pytest.mark.parametrize("seed", range(6))
def test_notes_are_in_tune(seed: int) -> None:
    """Whoever sings, what lasts of a note lies within 30 cents of its pitch on the whole, and 60 at worst."""
    rng = np.random.default_rng(seed)
    singer = Singer.draw(rng, held_out=seed % 2 == 1)
    up = round(singer.middle - 57)
    tune = [Note(note.start, note.length, note.pitch + up, note.velocity) for note in TUNE]
    sung = voice.sing(tune, singer, SECONDS, rng, AH)
    off = [cents_off(sung, note) for note in tune]
    assert np.median(off) < 30
    assert max(off) < 60


def test_sound_has_the_asked_shape() -> None:
    """A singer is mono, a choir stereo, each as long as asked, finite and not out of scale."""
    rng = np.random.default_rng(1)
    singer = Singer.draw(rng)
    samples = round(SECONDS * RATE)
    one, many = voice.sing(TUNE, singer, SECONDS, rng), voice.choir(TUNE, rng, SECONDS, voices=3, held_out=True)
    assert [one.shape, many.shape] == [(samples,), (2, samples)]
    for sound in (one, many):
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert 0.1 < np.abs(sound).max() < 2.5


def test_silence_stays_silent() -> None:
    """Without notes nothing sounds, and long after the last note nothing does."""
    rng = np.random.default_rng(2)
    singer = Singer.draw(rng)
    assert not voice.sing((), singer, 1.0, rng).any()
    assert not voice.choir((), rng, 1.0).any()
    sung = voice.sing(TUNE[:1], singer, SECONDS, rng, AH[:1])
    assert level(sung, 0.6, 1.0) > 0.03
    assert level(sung, 2.2, 3.0) < 1e-4


def test_seed_decides() -> None:
    """The same seed sings the same, another one otherwise."""
    takes = [voice.choir(TUNE, np.random.default_rng(seed), SECONDS, voices=2) for seed in (3, 3, 4)]
    assert np.array_equal(takes[0], takes[1])
    assert not np.allclose(takes[0], takes[2], atol=1e-3)


def test_vowels_differ() -> None:
    """The tract is heard: ee has far more above 1.8 kHz than oo."""
    rng = np.random.default_rng(5)
    singer = Singer.draw(rng)
    note = Note(0.3, 1.2, singer.middle - 5, 0.8)
    bright, dark = (
        share_above(voice.sing([note], singer, 2.0, np.random.default_rng(6), [Syllable((), (vowel,))]), 1800)
        for vowel in ("i", "u")
    )
    assert bright > 5 * dark


def test_fricatives_hiss_before_the_note() -> None:
    """An s sounds ahead of the beat, above 4 kHz, and the vowel on it."""
    rng = np.random.default_rng(7)
    singer = Singer.draw(rng)
    sung = voice.sing([Note(1.0, 1.0, singer.middle, 0.8)], singer, SECONDS, rng, [Syllable(("s",), ("a",))])
    hiss = sung[round(0.93 * RATE) : round(0.98 * RATE)]
    assert share_above(hiss, 4000) > 0.8
    assert share_above(sung[round(1.2 * RATE) : round(1.8 * RATE)], 4000) < 0.5


def test_held_out_singers_are_others() -> None:
    """No number of a held-out singer lies where one of the others can have it."""
    drawn = {
        held_out: np.array([Singer.draw(np.random.default_rng(seed), held_out).vibrato_hz for seed in range(200)])
        for held_out in (False, True)
    }
    bins = {held_out: set(((rates - 4.6) / 2.2 * 5).astype(int)) for held_out, rates in drawn.items()}
    assert bins == {False: {0, 2, 4}, True: {1, 3}}


def test_notes_come_one_at_a_time() -> None:
    """Of a chord the top note is sung, a note ends where the next starts, and one past the end isn't sung."""
    chord = [Note(0, 2, 60, 1), Note(0, 2, 67, 1), Note(1, 1, 62, 1), Note(9, 1, 60, 1)]
    assert one_by_one(chord, 3.0) == [Note(0, 1, 67, 1), Note(1, 1, 62, 1)]


@pytest.mark.parametrize("seed", range(4))
def test_each_note_has_a_syllable(seed: int) -> None:
    """There are as many syllables as notes, and a melisma has no consonant in it."""
    tied = ties([*TUNE, *(Note(3 + step / 2, 0.5, 60, 1) for step in range(40))])
    lyrics: Sequence[Syllable] = draw_lyrics(tied, np.random.default_rng(seed))
    assert len(lyrics) == len(tied) == 43
    assert tied[:4] == [False, True, False, False]
    assert any(not syllable.onset and not before.coda for before, syllable in pairwise(lyrics))


def test_speech_is_bent_to_the_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among a few seeds, some sing what espeak-ng says within 30 cents of the notes or octaves of it; all sound."""
    off = []
    for seed in range(8):
        said = speech.speak_melody(TUNE, SECONDS, np.random.default_rng(seed), held_out=seed % 2 == 1)
        assert said is not None
        assert said.shape == (round(SECONDS * RATE),)
        assert 0.1 < np.abs(said).max() < 3
        off.append(np.median([cents_off(said, note, octaves=True) for note in TUNE]))
    assert sum(cents < 30 for cents in off) >= 3
    monkeypatch.setenv("PATH", "")
    assert speech.speak_melody(TUNE, SECONDS, np.random.default_rng(1)) is None


def test_words_are_told_apart() -> None:
    """What lies between pauses of a tenth of a second is a word."""
    tone = np.sin(np.arange(RATE // 4) / 20).astype(np.float32)
    rest = np.zeros(RATE // 5, np.float32)
    assert len(speech.sounding(np.concatenate([rest, tone, rest, tone, rest[:1000], tone]))) == 2


def test_vowel_fills_the_note() -> None:
    """A word's consonants keep their length and its voiced middle is stretched over the note."""
    voicing = np.array([0] * 10 + [1] * 20 + [0] * 8)
    places, ahead = speech.stretched(voicing, 1.0)
    assert list(places[:10]) == list(range(10))
    assert 10 <= ahead < 20
    assert len(places) == ahead + round(RATE / 256)
    assert np.mean(voicing[places[ahead:]]) > 0.9
    assert places[-1] == 37
