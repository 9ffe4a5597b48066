"""Files that people have and no encoder writes: what plays is taken, what is missing is told, in every job alike."""

import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from support.odd_files import RATE, au, dff, dsf, extensible, fmt, long_wav, rifx, samples, wav
from support.server import Server
from support.sound import FFMPEG, decode, loudest_hertz, tone
from support.spread import thoroughly
from support.ways import pause, ways
from support.wire.conversion import convert

SOUND = samples(3.0)
WIDE = samples(3.0, rate=16000, channels=1)
ALAW = bytes(range(256)) * 94
WAYS = ways(pause)
TITLE = b"INFOINAM\x04\0\0\0Tune"
AS_IT_IS = np.frombuffer(SOUND, "<i2").reshape(-1, 2)
TOLERANCE_SECONDS = 0.06


def floats(*, odd: float) -> bytes:
    """A second of mono floats, one of which is none."""
    values = [0.5 * np.sin(number / 10) for number in range(RATE)]
    values[20000] = odd
    return struct.pack(f"<{RATE}f", *values)


# Name of the file, its bytes, and how long its sound is.
PLAYED: Mapping[str, tuple[str, Callable[[], bytes], float]] = {
    "node's placeholder": ("a.wav", lambda: wav(SOUND, size=0xFFFFFF9B, riff_size=0xFFFFFFBF), 3.0),
    "two gigabytes": ("b.wav", lambda: wav(SOUND, size=0x80000000, riff_size=0x80000024), 3.0),
    "two gigabytes less some": ("c.wav", lambda: wav(SOUND, size=0x7FFFFFFF - 99, riff_size=0x7FFFFFFF), 3.0),
    "three gigabytes": ("d.wav", lambda: wav(SOUND, size=3 << 30, riff_size=0xFFFFFFFF), 3.0),
    "A-law with a placeholder": (
        "e.wav",
        lambda: wav(ALAW, fmt(rate=8000, channels=1, bits=8, tag=6), size=0xFFFFFF9B),
        3.0,
    ),
    "A-law that counts its header": (
        "f.wav",
        lambda: wav(ALAW, fmt(rate=8000, channels=1, bits=8, tag=6), size=len(ALAW) + 44),
        3.0,
    ),
    "eight bits that count their header": (
        "g.wav",
        lambda: wav(ALAW, fmt(rate=8000, channels=1, bits=8), size=len(ALAW) + 44),
        3.0,
    ),
    "RF64 that knows no length": ("h.wav", lambda: long_wav(SOUND, size=2**63 - 1), 3.0),
    "BW64": ("i.wav", lambda: long_wav(SOUND, name=b"BW64"), 3.0),
    "RIFX": ("j.wav", lambda: rifx(SOUND), 3.0),
    "AU with a placeholder": ("k.au", lambda: au(SOUND, size=0x7FFFFFFF), 3.0),
    "DSD in DSF": ("l.dsf", lambda: dsf(1.0), 1.0),
    "DSD in DSDIFF": ("m.dff", lambda: dff(1.0), 1.0),
    "a wrong block size": ("q.wav", lambda: wav(WIDE, fmt(rate=16000, channels=1, block_align=1)), 3.0),
    "24 bits of 32": ("r.wav", lambda: wav(widened(SOUND), extensible(bits=32, valid_bits=24, mask=3)), 3.0),
    "left and centre": ("s.wav", lambda: wav(SOUND, extensible(bits=16, valid_bits=16, mask=5)), 3.0),
    "more than it states": ("t.wav", lambda: wav(SOUND, size=len(SOUND) // 2, riff_size=len(SOUND) // 2 + 36), 3.0),
    "two WAVs, joined": ("u.wav", lambda: wav(SOUND) + wav(SOUND), 6.0),
    "two chunks of sound": ("v.wav", lambda: with_chunk(wav(SOUND), b"data", SOUND), 6.0),
    "tags behind the sound": (
        "w.wav",
        lambda: with_chunk(wav(SOUND), b"LIST", b"INFOINAM\x04\0\0\0Tune") + b"TAG" + bytes(125),
        3.0,
    ),
    "768 kHz": ("n.wav", lambda: wav(samples(0.4, rate=768000), fmt(rate=768000)), 0.4),
    "705.6 kHz": ("o.wav", lambda: wav(samples(0.4, rate=705600), fmt(rate=705600)), 0.4),
    "a rate that isn't whole in tens": ("p.wav", lambda: wav(samples(0.4, rate=100001), fmt(rate=100001)), 0.4),
}

# Name of the file, its bytes, and words that say what is wrong.
REFUSED: Mapping[str, tuple[str, Callable[[], bytes], str]] = {
    "half a BW64": ("half.wav", lambda: halved(long_wav(SOUND, name=b"BW64")), "ends in the middle"),
    "half an RF64": ("half64.wav", lambda: halved(long_wav(SOUND)), "ends in the middle"),
    "half a RIFX": ("halfx.wav", lambda: halved(rifx(SOUND)), "ends in the middle"),
    "half a DSF": ("half.dsf", lambda: halved(dsf(2.0)), "ends in the middle"),
    "half a DSDIFF": ("half.dff", lambda: halved(dff(2.0)), "ends in the middle"),
    "a sample that is no number": (
        "nan.wav",
        lambda: wav(floats(odd=np.nan), fmt(channels=1, bits=32, tag=3)),
        "aren't numbers",
    ),
    "a sample without an end": (
        "inf.wav",
        lambda: wav(floats(odd=np.inf), fmt(channels=1, bits=32, tag=3)),
        "aren't numbers",
    ),
    "WAVs of two kinds, joined": (
        "kinds.wav",
        lambda: wav(SOUND) + wav(WIDE, fmt(rate=16000, channels=1)),
        "different kinds",
    ),
    "joined, and cut off": ("joined.wav", lambda: wav(SOUND) + wav(SOUND)[: len(SOUND) // 2], "ends in the middle"),
    "no bits in a sample": ("none.wav", lambda: wav(ALAW, fmt(bits=0)), "kind that isn't known"),
    "as many channels as fit in a header": (
        "many.wav",
        lambda: wav(ALAW, fmt(channels=65535, block_align=1)),
        "",
    ),
    "one sample a second": ("slow.wav", lambda: wav(samples(30, rate=1), fmt(rate=1)), "rate is 1 Hz"),
    "a codec without a name": (
        "tag.wav",
        lambda: wav(ALAW, fmt(rate=8000, channels=1, bits=8, tag=0x1234)),
        "kind that isn't known",
    ),
}


def widened(data: bytes) -> bytes:
    """16 bits as the upper ones of 32."""
    return np.frombuffer(data, "<i2").astype("<i4").__lshift__(16).tobytes()


def with_chunk(file: bytes, name: bytes, body: bytes) -> bytes:
    """A WAV with one chunk more."""
    whole = file + name + struct.pack("<I", len(body)) + body
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


PLAYED_FIRST = list(PLAYED)[::3]


@pytest.mark.parametrize("name", [*PLAYED_FIRST, *thoroughly(*(name for name in PLAYED if name not in PLAYED_FIRST))])
def test_what_plays_is_taken(name: str, media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """All of its sound comes back, and both ways of sending give the same."""
    filename, make, seconds = PLAYED[name]
    file = media_root / filename
    file.write_bytes(make())
    sounds = {way: job(media_server, file, tmp_path) for way, job in WAYS.items()}
    for way, sound in sounds.items():
        assert not isinstance(sound, tuple), (way, sound)
        rates = (
            len(sound) / seconds,
            len(sound) / (seconds + TOLERANCE_SECONDS),
            len(sound) / (seconds - TOLERANCE_SECONDS),
        )
        assert any(rates[1] <= rate <= rates[2] for rate in KNOWN_RATES), (way, rates)
        if file.suffix == ".wav" and len(sound) == seconds * RATE:
            assert np.array_equal(sound, np.resize(AS_IT_IS, sound.shape)), way
    for job in ("converted", "streamed"):
        whole, arriving = sounds[f"{job} whole"], sounds[f"{job} as it arrives"]
        assert np.array_equal(whole, arriving), job


KNOWN_RATES = (8000, 16000, 44100, 100000, 352800, 384000)


@pytest.mark.parametrize("name", [*list(REFUSED)[::2], *thoroughly(*list(REFUSED)[1::2])])
def test_what_is_wrong_is_said_alike(name: str, media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """Every job refuses it in the same words, and tries it once."""
    filename, make, words = REFUSED[name]
    file = media_root / filename
    file.write_bytes(make())
    for way, job in WAYS.items():
        answer = job(media_server, file, tmp_path)
        assert isinstance(answer, tuple), (way, len(answer))
        status, said = answer
        assert words in said, (way, answer)
        assert status in (0, 400, 422), (way, answer)


def test_a_second_track_spoils_nothing(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """The track that is asked for decides, whatever kind another one is of."""
    sound, file = tone(media_root / "base.wav", seconds=4), media_root / "two.mkv"
    argv = [
        "-i",
        str(sound),
        "-map",
        "0",
        "-map",
        "0",
        "-c:a:0",
        "flac",
        "-c:a:1",
        "sonicls",
        "-strict",
        "-2",
        str(file),
    ]
    subprocess.run([*FFMPEG, *argv], check=True, timeout=60)
    for way, job in WAYS.items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        assert len(answer) == 4 * RATE, way


@pytest.mark.parametrize("count", [1, 10])
def test_a_few_samples_are_too_short_for_opus(count: int, media_server: Server, media_root: Path) -> None:
    """There is sound, and words say why that format can't hold it."""
    file = media_root / f"{count}.wav"
    file.write_bytes(wav(SOUND[: 4 * count]))
    reply = convert(media_server, file, "opus", late=True)
    assert (reply.status, "too short for this format" in reply.detail) == (422, True)


@pytest.mark.parametrize("form", ["mp3", *thoroughly("opus", "m4a", "ogg")])
def test_any_two_loudspeakers_are_stereo(form: str, media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """A mask of left and centre doesn't stop an encoder that knows stereo only."""
    file = media_root / "mask.wav"
    file.write_bytes(wav(SOUND, extensible(bits=16, valid_bits=16, mask=5)))
    sound = decode(convert(media_server, file, form, late=True).saved(tmp_path / f"sound.{form}"))
    assert sound.shape[1] == 2
    assert loudest_hertz(sound[:, :1], 48000 if form == "opus" else RATE) == pytest.approx(440, abs=3)
