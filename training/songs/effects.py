"""What a studio does to a sound: rooms, filters, dynamics, places, echoes. Pure.

A sound is float32 at RATE, (samples,) or (2, samples), full scale at 1. What comes back is as long as what came in, and
the tail of a room or an echo is cut there: leave silence behind a sound to keep it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import signal

from training.songs.score import RATE

Sound = npt.NDArray[np.float32]
Section = list[float]
Rng = np.random.Generator

SILENCE_DB = -120.0
LOUDNESS_SECONDS = 0.4
GATE_DB = 30.0  # what is further below the loudest part counts as silent
ENVELOPE_SAMPLES = 64
# Echoes that make a mono sound wide: (seconds, gain); no two share a factor, so that no pitch is lost in all of them.
WIDENING = ((0.0071, 0.6), (0.0113, -0.6), (0.0179, 0.5))


def lowpass(sound: Sound, hertz: float, order: int = 2) -> Sound:
    """Keep what lies below `hertz` (Butterworth, causal)."""
    return _butterworth(sound, hertz, order, high=False)


def highpass(sound: Sound, hertz: float, order: int = 2) -> Sound:
    """Keep what lies above `hertz` (Butterworth, causal)."""
    return _butterworth(sound, hertz, order, high=True)


def _butterworth(sound: Sound, hertz: float, order: int, *, high: bool) -> Sound:
    """Filter by the sections of the bilinear transform; scipy designs the same, but takes longer than the filtering."""
    low = np.tan(np.pi * min(max(hertz, 5.0), 0.49 * RATE) / RATE)
    way = 1.0 if high else -1.0
    sections = []
    for pair in range(order // 2):
        damped = 2 * np.sin((2 * pair + 1) * np.pi / (2 * order)) * low
        top = 1.0 if high else low**2
        below = (1 + damped + low**2, 2 * (low**2 - 1), 1 - damped + low**2)
        sections.append(_section((top, -2 * way * top, top), below))
    if order % 2:
        top = 1.0 if high else low
        sections.append(_section((top, -way * top, 0.0), (1 + low, low - 1, 0.0)))
    return _filtered(sound, sections)


def _filtered(sound: Sound, sections: Any) -> Sound:
    return np.asarray(signal.sosfilt(np.asarray(sections), sound), np.float32)


def equalize(sound: Sound, rng: Rng) -> Sound:
    """Tilt and bend the spectrum gently, as another microphone would: two or three bands of at most 5 dB."""
    bands = [
        shelf(rng.uniform(80, 350), rng.uniform(-5, 5), high=False),
        shelf(rng.uniform(2500, 9000), rng.uniform(-5, 5), high=True),
        peak(float(np.exp(rng.uniform(np.log(250), np.log(6000)))), rng.uniform(-5, 5), rng.uniform(0.5, 2)),
    ]
    count = int(rng.integers(2, 4))
    chosen = rng.permutation(len(bands))[:count]
    return _filtered(sound, np.array([bands[index] for index in chosen]))


def peak(hertz: float, gain_db: float, quality: float) -> Section:
    """Coefficients (b0, b1, b2, 1, a1, a2) of a bell around `hertz`, after the Audio EQ Cookbook."""
    gain, turn = 10 ** (gain_db / 40), 2 * np.pi * hertz / RATE
    alpha, cosine = np.sin(turn) / (2 * quality), np.cos(turn)
    return _section(
        (1 + alpha * gain, -2 * cosine, 1 - alpha * gain), (1 + alpha / gain, -2 * cosine, 1 - alpha / gain)
    )


def shelf(hertz: float, gain_db: float, *, high: bool) -> Section:
    """Coefficients of a shelf below `hertz`, or above it when `high`, after the Audio EQ Cookbook with slope 1."""
    gain, turn = 10 ** (gain_db / 40), 2 * np.pi * hertz / RATE
    slope, cosine = np.sqrt(2 * gain) * np.sin(turn), np.cos(turn)
    turned = -cosine if high else cosine  # a high shelf is the low one, mirrored in frequency
    more, less = gain + 1, gain - 1
    above = gain * np.array((more - less * turned + slope, 2 * (less - more * turned), more - less * turned - slope))
    below = np.array((more + less * turned + slope, -2 * (less + more * turned), more + less * turned - slope))
    mirror = np.array((1.0, -1.0 if high else 1.0, 1.0))
    return _section(tuple(above * mirror), tuple(below * mirror))


def _section(above: tuple[float, ...], below: tuple[float, ...]) -> Section:
    return [float(value / below[0]) for value in (*above, *below)]


def compress(sound: Sound, threshold_db: float, ratio: float, attack: float, release: float) -> Sound:
    """Turn down what is louder than `threshold_db` (of full scale) by `ratio`, both channels alike.

    `attack` and `release` are time constants in seconds. Nothing is turned up afterwards.
    """
    samples = sound.shape[-1]
    loudest = np.abs(sound) if sound.ndim == 1 else np.abs(sound).max(axis=0)
    blocks = np.pad(loudest, (0, -samples % ENVELOPE_SAMPLES)).reshape(-1, ENVELOPE_SAMPLES).max(axis=1)
    over_db = np.maximum(20 * np.log10(blocks + 1e-9) - threshold_db, 0) * (1 - 1 / ratio)
    gains = 10 ** (-_followed(over_db, attack, release) / 20)
    before = np.concatenate((gains[:1], gains[:-1]))
    ramp = np.arange(1, ENVELOPE_SAMPLES + 1) / ENVELOPE_SAMPLES
    smooth = before[:, None] + (gains - before)[:, None] * ramp
    return sound * smooth.ravel()[:samples].astype(np.float32)


def _followed(targets: npt.NDArray[Any], attack: float, release: float) -> npt.NDArray[Any]:
    """Follow one target for each block, faster upwards than downwards; a loop, as each value needs the last."""
    up, down = (1 - np.exp(-ENVELOPE_SAMPLES / (RATE * max(seconds, 1e-4))) for seconds in (attack, release))
    value, values = 0.0, []
    for target in targets.tolist():
        value += (target - value) * (up if target > value else down)
        values.append(value)
    return np.array(values)


def saturate(sound: Sound, drive: float) -> Sound:
    """Round the peaks off as a tube does; 1 is hardly heard, 10 is a fuzz. The peak stays where it is."""
    top = float(np.abs(sound).max(initial=0))
    if top == 0:
        return sound
    return np.asarray(np.tanh(sound * np.float32(drive / top)) * np.float32(top / np.tanh(drive)), np.float32)


def crush(sound: Sound, bits: float, hold: int) -> Sound:
    """Play from a cheap converter: steps of `bits` of the sound's own peak, each sample held for `hold`."""
    top = float(np.abs(sound).max(initial=0))
    if top == 0:
        return sound
    held = np.repeat(sound[..., ::hold], hold, axis=-1)[..., : sound.shape[-1]]
    step = np.float32(top / 2 ** (bits - 1))
    return np.round(held / step) * step


def room(sound: Sound, rng: Rng, seconds: float, wet: float) -> Sound:
    """Put a stereo sound (2, samples) into a room that takes `seconds` to fall by 60 dB; another room with each call.

    `wet` goes from 0 (as it was) to 1 (the room alone, about as loud).
    """
    answer = impulse(rng, seconds)
    heard = 0.7 * sound + 0.3 * sound[::-1]  # a room doesn't keep sides apart
    rung = signal.oaconvolve(heard.astype(np.float32), answer, axes=1)[:, : sound.shape[1]]
    return np.asarray((1 - wet) * sound + wet * rung, np.float32)


def impulse(rng: Rng, seconds: float) -> Sound:
    """What a room answers to a click: (2, samples), some echoes, then noise that gets darker. Its energy is 1."""
    samples = max(int(min(seconds, 6.0) * RATE), int(0.08 * RATE))
    time = np.arange(samples, dtype=np.float32) / RATE
    noise = rng.standard_normal((2, samples), np.float32)
    low = lowpass(noise, rng.uniform(500, 1500), order=1)
    high = highpass(noise, rng.uniform(3000, 6000), order=1)
    fall = np.float32(6.9 / seconds)
    tail = low * np.exp(-fall * time) + (noise - low - high) * np.exp(-1.3 * fall * time)
    tail = tail + np.float32(rng.uniform(0.2, 0.9)) * high * np.exp(-rng.uniform(2, 5) * fall * time)
    late = int(rng.uniform(0.002, 0.03) * RATE)
    answer = np.zeros((2, samples), np.float32)
    answer[:, late:] = tail[:, : samples - late]
    size = float(np.sqrt(np.mean(np.square(answer[:, : int(0.05 * RATE)])))) + 1e-9
    for side in answer:
        echoes = rng.uniform(0.003, 0.07, int(rng.integers(5, 13)))
        side[(echoes * RATE).astype(int)] += (
            size * rng.uniform(4, 14, echoes.size) * rng.choice((-1.0, 1.0), echoes.size) * np.exp(-20 * echoes)
        )
    return np.asarray(answer / np.sqrt(np.sum(np.square(answer)) / 2), np.float32)


def place(mono: Sound, pan: float, width: float = 0.0) -> Sound:
    """Place a mono sound (samples,) between -1 (left) and 1 (right) with the same power everywhere: (2, samples).

    `width` from 0 to 1 adds what the sides hear differently: short echoes, on one side what they are not on the other.
    """
    angle = (pan + 1) * np.pi / 4
    sides = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32)
    if width == 0:
        return sides * mono
    apart = np.zeros_like(mono)
    for seconds, gain in WIDENING:
        late = int(seconds * RATE)
        apart[late:] += np.float32(gain) * mono[: max(mono.size - late, 0)]
    signs = np.array([[width], [-width]], np.float32)
    return sides * (mono + signs * apart) / np.float32(np.sqrt(1 + width**2))


def chorus(sound: Sound, rng: Rng) -> Sound:
    """Let some players play the same, each a little late and out of tune: (2, samples), of mono or stereo."""
    stereo = np.broadcast_to(sound, (2, sound.shape[-1]))
    time = np.arange(sound.shape[-1], dtype=np.float32) / np.float32(RATE)
    wet = rng.uniform(0.25, 0.6)
    voices = int(rng.integers(1, 3))
    together = (1 - wet) * stereo
    for side in range(2):
        for _ in range(voices):
            late, depth = rng.uniform(0.008, 0.022), rng.uniform(0.001, 0.004)
            wave = np.sin(np.float32(2 * np.pi * rng.uniform(0.15, 1.5)) * time + np.float32(rng.uniform(0, 6.28)))
            together[side] += (
                wet / voices * _delayed(stereo[side], (wave * np.float32(depth) + np.float32(late)) * RATE)
            )
    return np.asarray(together, np.float32)


def _delayed(mono: Sound, late_samples: Sound) -> Sound:
    """`mono`, each sample from `late_samples` ago, between samples in a straight line."""
    whole = late_samples.astype(np.int32)
    part = late_samples - whole
    ahead = int(whole.max(initial=0)) + 1
    padded = np.concatenate((np.zeros(ahead, np.float32), mono))
    at = np.arange(ahead, ahead + mono.size, dtype=np.int32) - whole
    return np.asarray(padded[at] * (1 - part) + padded[at - 1] * part, np.float32)


def tremolo(sound: Sound, hertz: float, depth: float, spread: float = 0.0) -> Sound:
    """Swell `hertz` times a second, down to 1 - `depth`; with `spread` 1 a stereo sound wanders from side to side."""
    time = np.arange(sound.shape[-1], dtype=np.float32) * np.float32(2 * np.pi * hertz / RATE)
    phases = np.zeros(1) if sound.ndim == 1 else np.array([[0.0], [spread * np.pi]])
    swell = 1 - np.float32(depth / 2) * (1 + np.sin(time + phases.astype(np.float32)))
    return np.asarray(sound * swell, np.float32)


def delay(sound: Sound, seconds: float, feedback: float, wet: float) -> Sound:
    """Repeat a stereo sound (2, samples) every `seconds`, left and right in turn, each `feedback` times the last.

    The first repeat is `wet` times the sound. Repeats are darker than the sound and end 50 dB below the first.
    """
    sent = lowpass(sound.mean(axis=0), 5000, order=1)
    together, gain, late = sound.copy(), wet, 0
    step = max(int(seconds * RATE), 1)
    count = 1 + int(np.log(10 ** (-50 / 20)) / np.log(min(max(feedback, 1e-3), 0.95)))
    for repeat in range(count):
        late += step
        together[repeat % 2, late:] += np.float32(gain) * sent[: max(sent.size - late, 0)]
        gain *= feedback
    return together


def loudness_db(sound: Sound) -> float:
    """RMS in dB of full scale, over those 400 ms that are not silent: within 30 dB of the loudest. Silence is -120."""
    power = np.square(sound, dtype=np.float32)
    power = power if sound.ndim == 1 else power.mean(axis=0)
    length = min(int(LOUDNESS_SECONDS * RATE), power.size)
    if length == 0:
        return SILENCE_DB
    means = power[: power.size // length * length].reshape(-1, length).mean(axis=1, dtype=np.float64)
    heard = means[means >= means.max() * 10 ** (-GATE_DB / 10)]
    return max(10 * float(np.log10(heard.mean() + 1e-30)), SILENCE_DB)


def gain_to(sound: Sound, db: float) -> Sound:
    """Make a sound `db` loud, as loudness_db measures it; silence stays silent."""
    now = loudness_db(sound)
    return sound if now <= SILENCE_DB else sound * np.float32(10 ** ((db - now) / 20))
