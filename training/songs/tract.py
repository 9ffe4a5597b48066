"""A throat: tracks of pitch, breath and formants at a control rate become sound. Pure.

The source is a glottal pulse (Liljencrants and Fant's), read from tables that hold only the harmonics below hearing's
end; a short-time Fourier transform carries it through the tract, whose formants move from frame to frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize

from training.songs.score import RATE

Floats = NDArray[np.floating[Any]]

HOP = 256  # samples from one control frame to the next
FRAME = 1024
TRANSFORM = 2048  # room for the formants to ring after a frame
TABLE = 4096
LOWEST_HZ = 40.0
BANKS = 12  # tables, half an octave apart
BANDWIDTHS = (65.0, 85.0, 120.0, 190.0, 260.0)
CHUNK = 256  # frames at once, so that they stay in the cache


@dataclass(slots=True)
class Tracks:
    """What the throat does, by control frame. `formants` (frames, 5) in Hz, the other tracks (frames,)."""

    pitch: Floats
    voicing: Floats
    effort: Floats
    breath: Floats
    nasal: Floats
    formants: Floats
    noise: Floats
    centre: Floats
    width: Floats


@dataclass(frozen=True, slots=True)
class Throat:
    """What stays as it is for one singer.

    `lax` and `tense` are Rd, the shape of the glottal pulse, at effort 0 and 1; `scale` is the formants' factor,
    `damping` that of their bandwidths; `jitter` and `shimmer` are relative, `breathiness` a gain, `rough` the depth of
    the beat at half the pitch, `tilt_db` by octave above 3 kHz.
    """

    lax: float
    tense: float
    scale: float
    damping: float
    jitter: float
    shimmer: float
    breathiness: float
    rough: float
    tilt_db: float


def frames_in(seconds: float) -> int:
    return int(np.ceil(seconds * RATE / HOP)) + 1


def sound(tracks: Tracks, throat: Throat, rng: np.random.Generator) -> Floats:
    """(frames * HOP,) with a vowel's loudness at about 1, root mean square."""
    source = _source(tracks, throat, rng)
    heard = (tracks.voicing + tracks.breath) > 1e-4
    voice = _through(source, tracks, throat, _grown(heard, 5))
    loud = upsample(tracks.voicing) > 0.5
    level = float(np.sqrt(np.mean(np.square(voice[loud])))) if loud.any() else 1.0
    return (voice / max(level, 1e-6) + _friction(tracks, rng)).astype(np.float32)


def upsample(track: Floats) -> Floats:
    """(frames,) -> (frames * HOP,), straight lines between the frames."""
    ramp = np.arange(HOP, dtype=np.float32) / HOP
    step = np.diff(track, append=track[-1:])
    return (track[:, None] + step[:, None] * ramp).ravel()


def _grown(active: NDArray[np.bool_], frames: int) -> NDArray[np.bool_]:
    return np.asarray(np.convolve(active, np.ones(2 * frames + 1), "same")[: len(active)] > 0.5)


def _source(tracks: Tracks, throat: Throat, rng: np.random.Generator) -> Floats:
    frames = len(tracks.pitch)
    hertz = 440 * 2 ** ((tracks.pitch - 69) / 12)
    hertz = hertz * (1 + throat.jitter * rng.standard_normal(frames))
    shimmer = 1 + throat.shimmer * rng.standard_normal(frames)
    cycles = np.cumsum(upsample(hertz.astype(np.float32)), dtype=np.float64) / RATE + rng.random()
    turn = (cycles % 1).astype(np.float32)
    lax, tight = read(turn, hertz, (glottal_pulse(throat.lax), glottal_pulse(throat.tense)))
    tense = upsample(tracks.effort)
    pulse = lax + tense * (tight - lax)
    pulse *= upsample((tracks.voicing * shimmer).astype(np.float32))
    if throat.rough > 0:
        pulse *= 1 + throat.rough * np.square(tense) * np.cos(np.pi * (cycles % 2)).astype(np.float32)
    # Air rushes while the glottis is open, in the middle of a cycle; where nothing vibrates it is steady.
    gate = 1 - 0.75 * np.cos(2 * np.pi * turn) * upsample(np.clip(tracks.voicing, 0, 1))
    air = rng.standard_normal(len(turn), dtype=np.float32) * gate
    return np.asarray(pulse + air * upsample(tracks.breath), np.float32)


def read(turn: Floats, hertz: Floats, cycles: Sequence[Floats]) -> list[Floats]:
    """Each of `cycles` (TABLE,) at the places `turn` (samples,), 0 to 1, its harmonics cut off for `hertz` (frames,).

    What is read has a root mean square of 1.
    """
    bank = np.clip(np.floor(2 * np.log2(hertz / LOWEST_HZ)) + 1, 0, BANKS - 1).astype(np.int32)
    row = np.repeat(np.maximum(bank, np.append(bank[1:], bank[-1])) * (TABLE + 1), HOP)
    place = turn * TABLE
    whole = np.minimum(place.astype(np.int32), TABLE - 1)
    part = place - whole
    at = row + whole
    waves = []
    for cycle in cycles:
        table = _tables(cycle)
        low = table[at]
        waves.append(low + part * (table[at + 1] - low))
    return waves


def _tables(cycle: Floats) -> Floats:
    """(BANKS * (TABLE + 1),): the cycle with fewer harmonics from table to table, each once around."""
    spectrum = fft.rfft(cycle)
    tables = np.zeros((BANKS, TABLE + 1))
    for bank in range(BANKS):
        harmonics = int(20_000 / (LOWEST_HZ * 2 ** (bank / 2)))
        kept = spectrum.copy()
        kept[0] = 0
        kept[harmonics + 1 :] = 0
        tables[bank, :TABLE] = fft.irfft(kept, TABLE)
    tables[:, TABLE] = tables[:, 0]
    level = np.sqrt(np.mean(np.square(tables), axis=1, keepdims=True))
    return np.asarray(tables / level, np.float32).ravel()


def glottal_pulse(shape: float) -> NDArray[np.float64]:
    """(TABLE,): one cycle of the flow's derivative, by Rd (Fant 1995): 0.4 pressed, 1 modal, 2.5 breathy."""
    back = (-1 + 4.8 * shape) / 100
    rise = (22.4 + 11.8 * shape) / 100
    speed = rise / (4 * (0.11 * shape / (0.5 + 1.2 * rise) - back))
    peak = 1 / (2 * speed)
    closing = peak * (1 + rise)
    decay = 1 / back
    for _ in range(50):
        decay = (1 - np.exp(-decay * (1 - closing))) / back
    time = np.arange(TABLE) / TABLE
    end = np.exp(-decay * (1 - closing))
    shut = -(np.exp(-decay * np.maximum(time - closing, 0)) - end) / (1 - end)

    def cycle(growth: float) -> NDArray[np.float64]:
        wave = -np.exp(growth * (time - closing)) * np.sin(np.pi * time / peak) / np.sin(np.pi * closing / peak)
        return np.asarray(np.where(time < closing, wave, shut))

    # No flow is left over at the end of a cycle: that fixes the growth.
    growth = optimize.brentq(lambda guess: float(np.sum(cycle(guess))), -40, 80)
    return np.asarray(cycle(float(growth)))


def _through(source: Floats, tracks: Tracks, throat: Throat, active: NDArray[np.bool_]) -> Floats:
    fixed = _fixed_part(throat)

    def response(frames: NDArray[np.intp]) -> NDArray[Any]:
        return fixed * _formant_response(tracks.formants[frames], tracks.nasal[frames], throat)

    return filtered(source, np.flatnonzero(active), response)


def filtered(source: Floats, frames: NDArray[np.intp], response: Callable[[NDArray[np.intp]], NDArray[Any]]) -> Floats:
    """The source through a filter that changes from frame to frame; silence outside of `frames`.

    `response` gives (frames, TRANSFORM // 2 + 1) for some frames at a time.
    """
    count = len(source) // HOP
    padded = np.pad(source, (FRAME // 2, FRAME))
    windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:count]
    hann = np.hanning(FRAME + 1)[:-1].astype(np.float32) / 2
    blocks = np.zeros((count + TRANSFORM // HOP, HOP), np.float32)
    for first in range(0, len(frames), CHUNK):
        chunk = frames[first : first + CHUNK]
        spectrum = fft.rfft(windows[chunk] * hann, TRANSFORM, axis=1)
        spectrum *= response(chunk)
        ringing = fft.irfft(spectrum, TRANSFORM, axis=1).reshape(len(chunk), -1, HOP)
        for block in range(TRANSFORM // HOP):
            blocks[chunk + block] += ringing[:, block]
    return blocks.ravel()[FRAME // 2 :][: count * HOP]


def _bins() -> Floats:
    return (np.arange(TRANSFORM // 2 + 1) * (RATE / TRANSFORM)).astype(np.float32)


def _fixed_part(throat: Throat) -> NDArray[np.complex64]:
    """The poles above the fifth, which hardly move, and the tilt."""
    hertz = _bins().astype(np.float64)
    response = np.ones(len(hertz), complex)
    for number in range(6, 21):
        pole = (number - 0.5) * 1000 * throat.scale
        band = 60 * number * throat.damping
        response *= pole**2 / (pole**2 - hertz**2 + 1j * hertz * band)
    tilt = 10 ** (throat.tilt_db * np.log2(np.maximum(hertz, 3000) / 3000) / 20)
    # A microphone near the mouth hears no rumble.
    return np.asarray(response * tilt * hertz**2 / (hertz**2 + 60**2), np.complex64)


def _formant_response(formants: Floats, nasal: Floats, throat: Throat) -> NDArray[np.complex64]:
    """(frames, bins): five resonances in a row, and the nose's notch where it is open."""
    hertz = _bins()
    square = np.square(hertz)
    below = np.ones((len(formants), len(hertz)), np.complex64)
    factor = np.empty_like(below)
    for number, band in enumerate(BANDWIDTHS):
        pole = formants[:, number, None]
        factor.real = pole**2 - square
        factor.imag = hertz * (band * throat.damping * (1 + 1.2 * nasal[:, None]) + 0.01 * pole)
        factor /= pole**2
        below *= factor
    response = 1 / below
    open_nose = np.flatnonzero(nasal > 0.01)
    if len(open_nose):
        notch = (1100 * throat.scale) ** 2
        zero = ((notch - square + 1j * hertz * 300) / (notch + square)).astype(np.complex64)
        share = nasal[open_nose, None]
        response[open_nose] *= 1 - share + share * zero
    return response


def _friction(tracks: Tracks, rng: np.random.Generator) -> Floats:
    """Noise of the lips and the tongue, in a band that the tracks choose; as loud as `tracks.noise` says."""
    octaves = np.log2(np.maximum(_bins(), 20))

    def response(frames: NDArray[np.intp]) -> NDArray[Any]:
        away = (octaves - np.log2(tracks.centre[frames, None])) / tracks.width[frames, None]
        shape = np.exp(-0.5 * np.square(away)) + 0.01
        return np.asarray(shape / np.sqrt(np.mean(np.square(shape), axis=1, keepdims=True)))

    gains = upsample(tracks.noise)
    white = rng.standard_normal(len(gains), dtype=np.float32) * gains
    return filtered(white, np.flatnonzero(_grown(tracks.noise > 1e-4, 2)), response)
