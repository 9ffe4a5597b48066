"""How a singer sings a melody: notes and syllables become the movements of a throat. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from training.songs.phonemes import CONSONANTS, VOWELS, Syllable
from training.songs.score import RATE, Note
from training.songs.singer import Singer
from training.songs.tract import HOP, Floats, Tracks

LEGATO_SECONDS = 0.06  # a shorter gap between notes is sung over
FRAMES_PER_SECOND = RATE / HOP


def one_by_one(notes: Sequence[Note], seconds: float) -> list[Note]:
    """The notes in order, none over the next or over the end; of those that start together the highest stays."""
    melody: list[Note] = []
    for note in sorted(notes, key=lambda note: (note.start, note.pitch)):
        if melody and note.start - melody[-1].start < 0.04:
            melody.pop()
        if melody and melody[-1].start + melody[-1].length > note.start:
            melody[-1] = replace(melody[-1], length=note.start - melody[-1].start)
        if 0 <= note.start < seconds - 0.1:
            melody.append(replace(note, length=min(max(note.length, 0.05), seconds - 0.05 - note.start)))
    return melody


def ties(melody: Sequence[Note]) -> list[bool]:
    """For each note whether it follows the one before without a gap."""
    gaps = [after.start - before.start - before.length for before, after in pairwise(melody)]
    return [False, *(gap < LEGATO_SECONDS for gap in gaps)][: len(melody)]


def smoothed(track: Floats, seconds: float) -> Floats:
    """Each column under a Hann window of `seconds`."""
    size = max(1, round(seconds * FRAMES_PER_SECOND)) // 2 * 2 + 1
    window = np.hanning(size + 2)[1:-1]
    window /= window.sum()
    columns = np.pad(track.reshape(len(track), -1), ((size // 2, size // 2), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(column, window, "valid") for column in columns.T], axis=1)
    return smooth.reshape(track.shape).astype(np.float32)


class Performance:
    """Writes the tracks of one singer, note by note, then rounds their corners."""

    def __init__(self, singer: Singer, frames: int, rng: np.random.Generator) -> None:
        self.singer, self.frames, self.rng = singer, frames, rng
        self.vibrato = np.zeros(frames, np.float32)
        self.scoops = np.zeros(frames, np.float32)
        zeros = np.zeros((7, frames), np.float32)
        self.tracks = Tracks(
            pitch=np.full(frames, 60, np.float32),
            voicing=zeros[0],
            effort=zeros[1],
            breath=zeros[2],
            nasal=zeros[3],
            noise=zeros[4],
            formants=np.tile(self._shape("@"), (frames, 1)),
            centre=np.full(frames, 5000, np.float32),
            width=np.full(frames, 1, np.float32),
        )

    def of(self, melody: Sequence[Note], lyrics: Sequence[Syllable]) -> Tracks:
        tied = [*ties(melody), False]
        free = room = 0.0  # where the note before ended, and how much of it the next may take
        for index, (note, syllable) in enumerate(zip(melody, lyrics, strict=False)):
            self._vowels(note, syllable, free, tied[index], tied[index + 1])
            if not tied[index + 1] and not syllable.coda:
                self._release(note)
            self._consonants(syllable.coda, note.start + note.length, 0.35 * note.length, note.velocity)
            room = room if tied[index] else max(note.start - free, 0.0) + 0.05
            onset = self._consonants(syllable.onset, note.start + 0.01, room, note.velocity)
            if not tied[index] and onset - free > 0.3:
                self._inhale(free, onset)
            free, room = note.start + note.length, min(0.16, 0.45 * note.length)
        return self._rounded()

    def _frame(self, seconds: float) -> int:
        return int(np.clip(round(seconds * FRAMES_PER_SECOND), 0, self.frames))

    def _shape(self, vowel: str) -> Floats:
        return self._fitted(VOWELS[vowel])

    def _fitted(self, formants: Sequence[float]) -> Floats:
        """A man's formants as this singer's; the third to the fifth draw together around 2.9 kHz in a trained voice."""
        shape = np.array(formants, float)
        shape[3:] += self.singer.cluster * (np.array([3050, 3500]) - shape[3:])
        return (shape * self.singer.throat.scale).astype(np.float32)

    def _vowels(self, note: Note, syllable: Syllable, free: float, tied: bool, ties_on: bool) -> None:
        tracks, singer, rng = self.tracks, self.singer, self.rng
        rest, first, last = self._frame(free), self._frame(note.start), self._frame(note.start + note.length)
        held = slice(first, last if not ties_on else last + round(LEGATO_SECONDS * FRAMES_PER_SECOND))
        tracks.pitch[min(rest + 12, first) :] = note.pitch
        tracks.formants[min(rest + 9, first) :] = self._shape(syllable.vowels[0])
        turn = first + round((last - first) * rng.uniform(0.5, 0.85))
        tracks.formants[turn:] = self._shape(syllable.vowels[-1])
        time = np.arange(len(tracks.pitch[held])) / FRAMES_PER_SECOND
        course = 1 + rng.uniform(-0.1, 0.25) * np.sin(np.pi * time / max(note.length, 0.05))
        course *= 1 - rng.uniform(0, 0.4) * time / max(note.length, 0.05)
        if not tied:
            course *= 1 - 0.9 * np.exp(-time / singer.attack)
            self.scoops[held] = self._approach(time)
        tracks.voicing[held] = course * (0.35 + 0.65 * note.velocity)
        effort = singer.effort + 0.7 * (note.velocity - 0.6) + singer.belt * (note.pitch - singer.middle)
        tracks.effort[held] = effort + rng.normal(0, 0.08)
        tracks.breath[held] = singer.throat.breathiness * (1 + rng.uniform(0, 1))
        delay = singer.vibrato_delay * rng.uniform(0.5, 1.3)
        self.vibrato[held] = singer.vibrato_depth * rng.uniform(0.4, 1.2) * np.clip((time - delay) / 0.35, 0, 1)

    def _approach(self, time: Floats) -> Floats:
        """How far below its pitch a phrase starts: a creak, a scoop or nothing."""
        if self.rng.random() < self.singer.fry:
            return np.where(time < self.rng.uniform(0.03, 0.09), -self.rng.uniform(10, 18), 0)
        scoop = self.singer.scoop * self.rng.random() * (self.rng.random() < 0.6)
        return np.asarray(-scoop * np.exp(-time / 0.06))

    def _release(self, note: Note) -> None:
        """Let the last vowel of a phrase die away, and its pitch fall."""
        first = self._frame(note.start + note.length)
        last = self._frame(note.start + note.length + 2 * self.singer.release)
        away = np.linspace(0, 1, last - first, dtype=np.float32)
        gain = self.tracks.voicing[max(first - 1, 0)]
        self.tracks.voicing[first:last] = gain * np.exp(-4 * away) * (1 - away)
        self.tracks.effort[first:last] = self.tracks.effort[max(first - 1, 0)] * (1 - away)
        self.tracks.breath[first:last] = self.singer.throat.breathiness * (1 - away)
        if self.rng.random() < 0.4:
            self.scoops[first:last] = -self.singer.fall * away

    def _consonants(self, names: Sequence[str], end: float, room: float, velocity: float) -> float:
        """Write `names` so that they end at `end` and last `room` seconds at most; return where they begin."""
        phases = [(CONSONANTS[name], phase) for name in names for phase in CONSONANTS[name].phases]
        long = sum(phase.seconds for _, phase in phases) * self.rng.uniform(0.8, 1.4)
        rate = min(1.0, room / long) * long / sum(phase.seconds for _, phase in phases) if phases else 1.0
        start = max(0.0, end - rate * sum(phase.seconds for _, phase in phases))
        at, tracks, singer = start, self.tracks, self.singer
        gain = 0.35 + 0.65 * velocity
        for consonant, phase in phases:
            here = slice(self._frame(at), max(self._frame(at + rate * phase.seconds), self._frame(at) + 1))
            at += rate * phase.seconds
            tracks.voicing[here] = gain * phase.voicing
            tracks.breath[here] = gain * phase.breath * singer.consonants + singer.throat.breathiness * phase.voicing
            tracks.noise[here] = (0.3 + 0.7 * gain) * phase.noise * singer.consonants
            tracks.centre[here] = min(phase.centre * singer.sibilance, 11_000)
            tracks.width[here] = phase.width
            tracks.nasal[here] = phase.nasal
            if consonant.locus is not None:
                tracks.formants[here] = self._fitted(consonant.locus)
        return start

    def _inhale(self, free: float, onset: float) -> None:
        if self.rng.random() > 0.75:
            return
        end = onset - self.rng.uniform(0.03, 0.1)
        start = max(free + 0.1, end - self.rng.uniform(0.2, 0.5))
        breath = slice(self._frame(start), self._frame(end))
        frames = breath.stop - breath.start
        if frames > 0:
            swell = np.sin(np.pi * np.linspace(0, 1, frames) ** self.rng.uniform(0.8, 1.6))
            self.tracks.breath[breath] = self.singer.inhale * swell * self.rng.uniform(0.5, 1.2)

    def _rounded(self) -> Tracks:
        tracks, singer, rng = self.tracks, self.singer, self.rng
        rate = singer.vibrato_hz * (1 + 0.08 * smoothed(rng.standard_normal(self.frames), 0.4) * 4)
        waves = np.sin(2 * np.pi * np.cumsum(rate) / FRAMES_PER_SECOND)
        drift = smoothed(rng.standard_normal(self.frames), 0.35)
        drift *= singer.drift / max(float(drift.std()), 1e-6)
        pitch = smoothed(tracks.pitch, singer.glide) + smoothed(self.vibrato, 0.1) * waves + self.scoops + drift
        formants = smoothed(tracks.formants, 0.055)
        formants *= 1 + 0.15 * smoothed(rng.standard_normal((self.frames, 5)), 0.25)
        # A high voice opens the mouth, so that its fundamental never lies above the first formant.
        formants[:, 0] = np.maximum(formants[:, 0], 1.02 * 440 * 2 ** ((tracks.pitch - 69) / 12))
        formants[:, 1] = np.maximum(formants[:, 1], formants[:, 0] + 150)
        return Tracks(
            pitch=pitch.astype(np.float32),
            voicing=smoothed(tracks.voicing, 0.035) * (1 + 0.2 * smoothed(rng.standard_normal(self.frames), 0.15)),
            effort=np.clip(smoothed(tracks.effort, 0.06), 0, 1),
            breath=smoothed(tracks.breath, 0.04),
            nasal=smoothed(tracks.nasal, 0.03),
            formants=formants,
            noise=smoothed(tracks.noise, 0.018),
            centre=tracks.centre,
            width=tracks.width,
        )
