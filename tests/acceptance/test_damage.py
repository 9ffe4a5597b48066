"""Damage in the middle of a file: told in every job, and put up with where that was asked for."""

import random
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from support.odd_files import samples, wav
from support.ogg import pages
from support.player import play
from support.server import Server
from support.sound import FFMPEG, decode
from support.spread import thoroughly
from support.ways import pause, ways
from support.wire.conversion import Conversion

RATE = 48000
SECONDS = 8.0
WAYS = ways(pause)
# Holes are found by bytes or by times of frames.
SOURCE = f"-f lavfi -i aevalsrc=0.3*sin(440*2*PI*t)+0.1*random(0)|0.3*sin(660*2*PI*t):s={RATE}:d={SECONDS:g}".split()
Spoil = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Spoilt:
    """A file that ffmpeg makes with these options, what is done to it, and how much of its sound that takes."""

    name: str
    options: str
    spoil: Spoil
    least_seconds: float
    most_seconds: float
    words: str = "missing in the middle"


def hole(count: int, *, at: float = 0.5) -> Spoil:
    """So many bytes are zeros."""

    def spoil(data: bytes) -> bytes:
        start = int(at * len(data))
        return data[:start] + bytes(count) + data[start + count :]

    return spoil


def noise_over(count: int) -> Spoil:
    """So many bytes are any bytes, which demuxers step over without a word."""

    def spoil(data: bytes) -> bytes:
        start = len(data) // 2
        return data[:start] + random.Random(1).randbytes(count) + data[start + count :]

    return spoil


def without_page(data: bytes) -> bytes:
    whole = list(pages(data))
    del whole[len(whole) // 2]
    return b"".join(whole)


def without_fragment(data: bytes) -> bytes:
    start = data.index(b"moof", len(data) // 2)
    return data[: start - 4] + data[data.index(b"moof", start + 4) - 4 :]


def over_a_fragment(data: bytes) -> bytes:
    start = data.index(b"moof", len(data) // 2)
    return data[: start - 4] + bytes(40) + data[start + 36 :]


def without(count: int) -> Spoil:
    """So many bytes are gone."""
    return lambda data: data[: len(data) // 2] + data[len(data) // 2 + count :]


def flipped(data: bytes) -> bytes:
    """A single bit is wrong."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


def twice(data: bytes) -> bytes:
    return data * 2


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def tag_within_a_frame(data: bytes) -> bytes:
    start = len(data) // 2
    return data[:start] + b"ID3\x04\0\0\0\0\x07\x76" + bytes(1014) + data[start:]


MP3 = "-c:a libmp3lame -b:a 128k"
JOINED = "joined. Only the first can be read"
FRAGMENTS = "-c:a aac -b:a 128k -movflags empty_moov+default_base_moof -frag_duration 1000000"
SPOILT = {
    "a hole in an MP3": Spoilt("hole.mp3", MP3, hole(2500), 0.1, 0.3),
    "a hole in an MP3 without a header": Spoilt("plain.mp3", f"{MP3} -write_xing 0", hole(2500), 0.1, 0.3),
    "a tag within a frame of an MP3": Spoilt("tag.mp3", MP3, tag_within_a_frame, 0.02, 0.06),
    "a hole in AAC": Spoilt("hole.aac", "-c:a aac -b:a 128k", hole(2500), 0.1, 0.3),
    "a hole in an M4A": Spoilt("hole.m4a", "-c:a aac -b:a 128k -movflags +faststart", hole(2500), 0.1, 0.3),
    "a hole in a FLAC": Spoilt("hole.flac", "", hole(2500), 0.05, 0.3),
    "a long hole in a FLAC": Spoilt("long.flac", "", noise_over(120_000), 0.4, 1.5),
    "a hole in FLAC in Matroska": Spoilt("hole.mka", "-c:a flac", hole(2500), 0.05, 0.3),
    "a cluster of a WebM": Spoilt("hole.webm", "-c:a libopus -cluster_time_limit 1000", hole(4000), 0.2, 1.1),
    "a page that is lost": Spoilt("lost.ogg", "-c:a libvorbis", without_page, 0.3, 1.5),
    "a page that is damaged": Spoilt("page.opus", "-c:a libopus", hole(1), 0.3, 1.5),
    "a hole in a transport stream": Spoilt("hole.ts", "-c:a aac -b:a 128k", hole(2500), 0.1, 0.4),
    "a fragment that is lost": Spoilt("fragment.mp4", FRAGMENTS, without_fragment, 0.9, 1.2),
    "a fragment that is damaged": Spoilt("fragment.m4a", FRAGMENTS, over_a_fragment, 2.0, 4.1),
    "a hole in TrueHD": Spoilt("hole.thd", "-c:a truehd -strict -2", hole(30_000), 0.1, 0.4),
    "a hole in a WMA": Spoilt("hole.wma", "-c:a wmav2", hole(2500), 0.1, 0.5),
    "a hole in an AVI": Spoilt("hole.avi", "-c:a libmp3lame -b:a 128k", hole(8000), 0.4, 0.7),
    "a hole in an AVI of samples": Spoilt("samples.avi", "-c:a pcm_s16le", hole(90_000), 0.4, 0.7),
    "a piece less of an FLV": Spoilt("less.flv", "-c:a libmp3lame -ar 44100 -b:a 128k", without(8000), 0.4, 0.7),
    "a piece less of a RealMedia": Spoilt("less.rm", "-c:a ac3", without(12_000), 0.4, 4.0),
    "a hole in SBC": Spoilt("hole.sbc", "-c:a sbc -b:a 328k", hole(8000), 3.0, 5.0),
    "a hole in a VOC": Spoilt("hole.voc", "", hole(90_000), 3.0, 5.0),
    "a hole in an SWF": Spoilt("hole.swf", "-c:a libmp3lame -ar 44100 -b:a 128k", hole(8000), 3.0, 5.0),
    "a wrong bit in a FLAC": Spoilt("bit.flac", "", flipped, 0.05, 0.2),
    "a wrong bit in a WavPack": Spoilt("bit.wv", "-c:a wavpack", flipped, 0.1, 0.6),
    "a wrong bit in a True Audio": Spoilt("bit.tta", "-c:a tta", flipped, 0.5, 1.2),
    "a wrong bit in FLAC in Matroska": Spoilt("bit.mka", "-c:a flac", flipped, 0.05, 0.2),
    "two FLACs, joined": Spoilt("joined.flac", "", twice, 0.05, 1.0),
    "two M4As, joined": Spoilt("joined.m4a", "-c:a aac -movflags +faststart", twice, 7.9, 8.2, JOINED),
    "two MP4s of fragments, joined": Spoilt("joined.mp4", FRAGMENTS, twice, 0.9, 1.2),
    "two AIFFs, joined": Spoilt("joined.aiff", "", twice, 7.9, 8.1, JOINED),
    "two CAFs, joined": Spoilt("joined.caf", "-c:a pcm_s16le", twice, 7.9, 8.1, JOINED),
    "two Wave64s, joined": Spoilt("joined.w64", "", twice, 7.9, 8.1, JOINED),
    "two WMAs, joined": Spoilt("joined.wma", "-c:a wmav2", twice, 7.8, 8.2, JOINED),
    "two FLVs, joined": Spoilt("joined.flv", "-c:a aac -b:a 128k", twice, 7.8, 8.2, JOINED),
    "two WavPacks, joined": Spoilt("joined.wv", "-c:a wavpack", twice, 7.9, 8.1, JOINED),
    "two True Audios, joined": Spoilt("joined.tta", "-c:a tta", twice, 7.9, 8.1, JOINED),
    "half a FLAC": Spoilt("half.flac", "", half, 3.9, 4.2, "ends in the middle"),
    "half an MP3": Spoilt("half.mp3", MP3, half, 3.9, 4.2, "ends in the middle"),
    "half a WebM": Spoilt("half.webm", "-c:a libopus", half, 2.0, 6.0, "ends in the middle"),
    "half a WAV of A-law": Spoilt("half.wav", "-c:a pcm_alaw", half, 3.9, 4.1, "ends in the middle"),
}
QUICK = ("a hole in an MP3", "a page that is lost", "a fragment that is lost")


def spoilt(folder: Path, case: Spoilt) -> Path:
    file = folder / case.name
    subprocess.run([*FFMPEG, *SOURCE, *case.options.split(), str(file)], check=True, timeout=60)
    file.write_bytes(case.spoil(file.read_bytes()))
    return file


def converted(server: Server, file: Path, work: Path, *, late: bool) -> tuple[np.ndarray, float]:
    with Conversion(server, file, "wav", options={"errors": "tolerate"}, late=late) as conversion:
        if not late:
            pause(conversion)
        reply = conversion.finish()
    sound = decode(reply.saved(work / "tolerated.wav"))
    return sound, float(reply.headers["x-lost-seconds"])


def streamed(server: Server, file: Path, work: Path) -> tuple[np.ndarray, float]:
    job = server.ended(server.submit(file, codec="flac", errors="tolerate"))
    assert job["status"] == "Completed", job
    return play(server.playlist(job["id"]), work).sound, job["lost_seconds"]


def extracted(server: Server, file: Path, work: Path) -> tuple[np.ndarray, float]:
    asked = {"video_files": [file.as_uri()], "format": "wav", "errors": "tolerate"}
    status = requests.post(f"{server.url}/extract_audio", json=asked, timeout=30).headers["Location"]
    requests.get(f"{status}/events", timeout=60).close()
    job = requests.get(status, timeout=30).json()
    assert job["status"] == "Completed", job
    path = work / "tolerated.wav"
    path.write_bytes(requests.get(job["audio_file"], timeout=30).content)
    return decode(path), job["lost_seconds"]


@pytest.mark.parametrize("name", [*QUICK, *thoroughly(*(name for name in SPOILT if name not in QUICK))])
def test_what_is_missing_is_told_or_put_up_with(
    name: str, media_server: Server, media_root: Path, tmp_path: Path
) -> None:
    """It is never a clean 200 with a frame missing; whoever tolerates it gets the rest, and hears how much is lost."""
    case = SPOILT[name]
    file = spoilt(media_root, case)
    for way, job in WAYS.items():
        answer = job(media_server, file, tmp_path)
        assert isinstance(answer, tuple), (way, len(answer))
        assert case.words in answer[1], (way, answer)
        assert "errors=tolerate" in answer[1], (way, answer)
        assert answer[0] in (0, 400, 422), (way, answer)
    tolerant = {
        "converted whole": converted(media_server, file, tmp_path, late=True),
        "converted as it arrives": converted(media_server, file, tmp_path, late=False),
        "streamed": streamed(media_server, file, tmp_path),
        "extracted": extracted(media_server, file, tmp_path),
    }
    for way, (sound, lost_seconds) in tolerant.items():
        assert case.least_seconds <= lost_seconds <= case.most_seconds, (way, lost_seconds)
        # Silence may have filled the hole, by the rule of time.
        whole = 2 * SECONDS if "joined" in name else SECONDS
        assert whole - 1.2 * lost_seconds - 0.3 <= len(sound) / RATE <= whole + 0.25, (way, len(sound) / RATE)


def over_a_picture(data: bytes) -> bytes:
    """The first bytes of a picture, of an AVI or FLV, with its head, are noise."""
    found = re.compile(rb"00dc|\x09\0[\s\S]{6}\0\0\0").search(data, len(data) // 2)
    assert found
    return data[: found.start()] + random.Random(1).randbytes(600) + data[found.start() + 600 :]


JUNK = bytes(range(256)) * 20
PICTURED = "-f lavfi -i testsrc=s=640x480:r=5:d=8 -c:a libmp3lame -ar 44100 -shortest -c:v"
HARMLESS: Mapping[str, tuple[str, str, Spoil]] = {
    "junk before an MP3": ("before.mp3", MP3, lambda data: JUNK + data),
    "junk behind an MP3": ("behind.mp3", MP3, lambda data: data + JUNK),
    "two MP3s with tags, joined": ("joined.mp3", f"{MP3} -metadata title=Tune -id3v2_version 4", twice),
    "an MP3 from within a frame on": ("within.mp3", f"{MP3} -write_xing 0", lambda data: data[len(data) // 2 + 99 :]),
    "AAC from within a frame on": ("within.aac", "-c:a aac", lambda data: data[len(data) // 2 + 99 :]),
    "a transport stream cut anywhere": ("cut.ts", "-c:a aac", lambda data: data[20_099:-3_033]),
    "an MP4 of fragments": ("whole.mp4", FRAGMENTS, lambda data: data),
    "two streams of Ogg, joined": ("joined.opus", "-c:a libopus", twice),
    "two AVIs, joined": ("joined.avi", "-c:a libmp3lame", twice),
    "two NUTs, joined": ("joined.nut", "-c:a libmp3lame", twice),
    "a hole in the picture of an AVI": ("picture.avi", f"{PICTURED} mpeg4", over_a_picture),
    "a hole in the picture of an FLV": ("picture.flv", f"{PICTURED} flv", over_a_picture),
    "a WavPack of six channels": ("six.wv", "-ac 6 -c:a wavpack", lambda data: data),
}


@pytest.mark.parametrize("name", [list(HARMLESS)[1], *thoroughly(*(name for name in HARMLESS if "behind" not in name))])
def test_what_lost_nothing_is_taken(name: str, media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """Junk at either end and tags between recordings cost nothing, though decoders complain of them."""
    filename, options, spoil = HARMLESS[name]
    file = spoilt(media_root, Spoilt(filename, options, spoil, 0, 0))
    for way, job in WAYS.items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
    sound, lost_seconds = converted(media_server, file, tmp_path, late=True)
    assert lost_seconds == 0
    assert len(sound) / RATE > 0.4 * SECONDS


def test_a_segment_says_how_much_is_missing(media_server: Server, media_root: Path) -> None:
    """A walk that tolerates it learns how much of a clip is missing with the segment in which that clip ends."""
    file = spoilt(media_root, SPOILT["a hole in an M4A"])
    asked: dict[str, Any] = {"video_files": [file.as_uri()], "segment_seconds": 5, "errors": "tolerate"}
    first = requests.post(f"{media_server.url}/extract_audio_segment", json=asked, timeout=60).json()
    asked["cursor"] = first["cursor"]
    last = requests.post(f"{media_server.url}/extract_audio_segment", json=asked, timeout=60).json()
    assert (first["lost_seconds"], last["done"]) == (0, True)
    assert 0.1 <= last["lost_seconds"] <= 0.3


def test_strict_and_tolerant_walks_are_two(media_server: Server, media_root: Path) -> None:
    """A cursor of one is none of the other, and what one was given the other isn't."""
    file = spoilt(media_root, SPOILT["a hole in an M4A"])
    asked: dict[str, Any] = {"video_files": [file.as_uri()], "segment_seconds": 5}
    tolerant = {**asked, "errors": "tolerate"}
    given = requests.post(f"{media_server.url}/extract_audio_segment", json=tolerant, timeout=60).json()
    refused = requests.post(f"{media_server.url}/extract_audio_segment", json=asked, timeout=60)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/damaged-file")
    other = {**asked, "cursor": given["cursor"]}
    assert requests.post(f"{media_server.url}/extract_audio_segment", json=other, timeout=60).status_code == 400


def test_what_is_whole_says_so(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """Whoever tolerates damage hears that there is none, and gets the very same."""
    file = media_root / "whole.wav"
    file.write_bytes(wav(samples(2.0)))
    for sound, lost_seconds in (
        converted(media_server, file, tmp_path, late=False),
        streamed(media_server, file, tmp_path),
        extracted(media_server, file, tmp_path),
    ):
        assert lost_seconds == 0
        assert np.array_equal(sound, decode(file))


@pytest.mark.parametrize("route", ["/convert", "/v1/stream/transcode"])
def test_terms_that_there_are_not_are_named(route: str, media_server: Server, media_root: Path) -> None:
    """What else `errors` may be is said at once."""
    file = media_root / "short.wav"
    file.write_bytes(wav(samples(0.1)))
    with file.open("rb") as opened:
        fields = {"format": "wav"} if route == "/convert" else {}
        reply = requests.post(
            f"{media_server.url}{route}", data={**fields, "errors": "ignore"}, files={"file": opened}, timeout=30
        )
    assert (reply.status_code, "strict, tolerate" in reply.json()["detail"]) == (400, True)
