"""What people have on their disks into every codec, sent both ways: options first, so that it is encoded while it
arrives wherever its container allows that, and file first, so that the whole file is.

All songs are made and sent at the beginning, a few at a time; the tests then look at what came of each.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import m3u8
import numpy as np
import pytest
import requests
from support.player import play
from support.server import Server
from support.sound import FFMPEG, loudest_hertz
from support.spread import spread
from support.traces.tidy import assert_tidy
from support.wire.messages import new_id
from support.wire.stream import StreamUpload

# The first test waits until all songs were sent and all jobs ended.
pytestmark = pytest.mark.timeout(300)

HERTZ = 880.0
# What an encoder puts before the sound, in samples; behind it comes at most what fills the last frame.
PRIMING = {"aac": 1024, "mp3": 1105, "opus": 312}
FRAME = {"aac": 1024, "mp3": 1152, "opus": 960}
# Encoders know other rates than sources do.
RATES = {("opus", 8000): 48000, ("opus", 44100): 48000, ("opus", 96000): 48000, ("mp3", 96000): 48000}
RFC6381 = {"aac": "mp4a.40.2", "mp3": "mp4a.40.34", "opus": "opus", "flac": "fLaC"}
COVER = "-f lavfi -i testsrc2=size=900x900:rate=1:duration=1 -map 0:a -map 1:v -disposition:v attached_pic"
FILM = "-f lavfi -i testsrc=size=160x120:rate=10:duration=7 -map 1:v -map 0:a"
# One less than may be encoded while they arrive: a job has ended a moment before its place is free.
SENDERS = 3


@dataclass(frozen=True)
class Song:
    """A file to be made: `options` are ffmpeg's. `live`: its container can be decoded as it arrives."""

    suffix: str
    options: str
    codecs: tuple[str, ...]
    seconds: float = 7.0
    rate: int = 44100
    layout: str = "stereo"
    depth_bits: int = 16
    live: bool = True


SONGS: Mapping[str, Song] = {
    "wav 8 bit": Song("wav", "-c:a pcm_u8", ("flac", "aac")),
    "wav 16 bit": Song("wav", "-c:a pcm_s16le", ("flac", "mp3")),
    "wav 24 bit": Song("wav", "-c:a pcm_s24le", ("flac", "opus"), depth_bits=24),
    "wav 32 bit float": Song("wav", "-c:a pcm_f32le", ("flac", "aac"), depth_bits=24),
    "flac": Song("flac", "-sample_fmt s16", ("flac", "mp3")),
    "flac 24 bit": Song("flac", "-sample_fmt s32", ("flac", "opus"), depth_bits=24),
    "aiff": Song("aiff", "", ("flac", "mp3"), live=False),
    "mp3 constant": Song("mp3", "-b:a 192k", ("flac", "aac")),
    "mp3 variable": Song("mp3", "-q:a 2", ("flac", "mp3")),
    "mp3 no header": Song("mp3", "-b:a 192k -write_xing 0", ("flac", "opus")),
    "mp3 with a cover": Song("mp3", f"{COVER} -c:v png -b:a 192k", ("flac", "aac")),
    "m4a index first": Song("m4a", "-c:a aac -b:a 500k -movflags +faststart", ("flac", "mp3"), seconds=44),
    "m4a index last": Song("m4a", "-c:a aac -b:a 500k", ("flac", "opus"), seconds=44, live=False),
    "m4a with a cover": Song("m4a", f"{COVER} -c:v mjpeg -c:a aac -b:a 256k -movflags +faststart", ("flac", "aac")),
    "m4a lossless": Song("m4a", "-c:a alac -sample_fmt s32p", ("flac", "mp3"), depth_bits=24, live=False),
    "ogg": Song("ogg", "-c:a libvorbis -b:a 192k", ("flac", "opus")),
    "opus": Song("opus", "-c:a libopus -b:a 192k", ("flac", "aac"), rate=48000),
    "webm": Song("webm", "-c:a libopus -b:a 192k", ("flac", "mp3"), rate=48000),
    "mkv film": Song("mkv", f"{FILM} -c:v libx264 -preset ultrafast -c:a aac -b:a 192k", ("flac", "opus")),
    "webm film": Song("webm", f"{FILM} -c:v libvpx -deadline realtime -c:a libvorbis", ("flac", "aac")),
    "mono": Song("wav", "", ("flac", "aac", "mp3", "opus"), layout="mono"),
    "5.1": Song("wav", "", ("flac", "aac", "mp3", "opus"), layout="5.1"),
    "5.1 of a film": Song(
        "mkv", f"{FILM} -c:v libx264 -preset ultrafast -c:a ac3", ("flac", "opus"), layout="5.1(side)"
    ),
    "8 kHz": Song("wav", "", ("flac", "aac", "mp3", "opus"), rate=8000, layout="mono"),
    "96 kHz": Song("flac", "-sample_fmt s32", ("flac", "aac", "mp3", "opus"), rate=96000, depth_bits=24),
}
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6, "5.1(side)": 6}
Case = tuple[str, str]
ALL: Sequence[Case] = [(name, codec) for name, song in SONGS.items() for codec in song.codecs]
# Every second song in one codec, and each codec made of some; `make test-all` tries the rest.
SOME: Sequence[Case] = spread({name: SONGS[name].codecs for name in list(SONGS)[::2]}, in_column=2)
REST: Sequence[Case] = [case for case in ALL if case not in SOME]
ORDERS = ("options first", "file first")


def make(name: str, folder: Path) -> Path:
    """A tone of its own in each channel, the loudest in the first, and noise, which no codec makes small."""
    song = SONGS[name]
    count, channels = int(song.seconds * song.rate), CHANNELS[song.layout]
    time_axis = np.arange(count) / song.rate
    sound = np.random.default_rng(7).normal(0, 0.02, (count, channels))
    for channel in range(channels):
        sound[:, channel] += 0.4 / (channel + 1) * np.sin(2 * np.pi * HERTZ * (1 + channel / 4) * time_axis)
    path = folder / f"{name}.{song.suffix}"
    raw = ["-f", "f32le", "-ar", str(song.rate), "-channel_layout", song.layout, "-i", "pipe:0"]
    argv = [*FFMPEG, *raw, *song.options.split(), str(path)]
    subprocess.run(argv, input=sound.astype("<f4").tobytes(), check=True, timeout=60)
    return path


@dataclass(frozen=True, eq=False)
class Made:
    """What came of all that was sent: the files by name, the jobs' ids by song, codec and order."""

    server: Server
    cases: Sequence[Case]
    files: dict[str, Path]
    jobs: dict[tuple[str, str, str], str]

    def codecs(self, name: str) -> list[str]:
        return [codec for song, codec in self.cases if song == name]


@pytest.fixture(scope="module")
def made(
    session_server: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Made]:
    """The cases are the fixture's parameter."""
    folder, cases = tmp_path_factory.mktemp("formats"), request.param
    with ThreadPoolExecutor(SENDERS) as pool:
        files = dict(zip(SONGS, pool.map(lambda name: make(name, folder), SONGS), strict=True))
        sent = [(name, codec, order) for name, codec in cases for order in ORDERS]
        ids = pool.map(lambda key: send(session_server, files[key[0]], *key), sent)
        jobs = dict(zip(sent, ids, strict=True))
    yield Made(session_server, cases, files, jobs)
    assert_tidy(session_server)


def send(server: Server, file: Path, name: str, codec: str, order: str) -> str:
    """Upload a song. With options first it goes slowly from its half on, until the first half is being decoded."""
    late = order == "file first"
    with StreamUpload(server, new_id(), file, {"codec": codec}, late=late) as upload:
        if SONGS[name].live and not late:
            upload.send_slowly(0.5, 0.9, until=upload.is_processing)
        reply = upload.finish()
    assert reply.status == 200, reply
    server.ended(upload.job_id)
    return upload.job_id


def fetch_parts(url: str) -> list[bytes]:
    """All that the playlist names, in its order."""
    playlist = m3u8.loads(requests.get(url, timeout=30).text, uri=url)
    uris = [part.absolute_uri for part in playlist.segment_map if part]
    uris += [segment.absolute_uri for segment in playlist.segments]
    return [requests.get(uri, timeout=30).content for uri in uris]


@cache
def source_sound(made: Made, name: str) -> np.ndarray:
    """ffmpeg's own decode of the file: int16, or int32 where it has more than 16 bits."""
    song = SONGS[name]
    return decode_deep(made.files[name], CHANNELS[song.layout], song.depth_bits)


def decode_deep(file: Path, channels: int, depth_bits: int) -> np.ndarray:
    kind = "s16le" if depth_bits == 16 else "s32le"
    argv = [*FFMPEG, "-i", str(file), "-map", "0:a:0", "-f", kind, "-c:a", f"pcm_{kind}", "pipe:1"]
    raw = subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout
    return np.frombuffer(raw, dtype="<i2" if depth_bits == 16 else "<i4").reshape(-1, channels)


some = pytest.mark.parametrize("made", [SOME], ids=["some"], indirect=True)
some_and_rest = pytest.mark.parametrize(
    "made",
    [pytest.param(SOME, id="some"), pytest.param(REST, id="rest", marks=pytest.mark.thorough)],
    indirect=True,
)


@some_and_rest
@pytest.mark.parametrize("name", SONGS)
def test_both_ways_give_the_whole_sound(made: Made, tmp_path: Path, name: str) -> None:
    """Sent either way a song gives the same samples: those of its own decode in FLAC, else within a frame of them."""
    for codec in made.codecs(name):
        check_both_ways(made, tmp_path, name, codec)


def check_both_ways(made: Made, folder: Path, name: str, codec: str) -> None:
    song = SONGS[name]
    jobs = [made.server.job(made.jobs[name, codec, order]) for order in ORDERS]
    assert [(job["status"], job["error"], job["codec"]) for job in jobs] == [("Completed", None, codec)] * 2
    early_url, late_url = (made.server.playlist(job["id"]) for job in jobs)
    early = play(early_url, folder)
    if fetch_parts(late_url) != early.parts:  # the same bytes are the same sound
        assert np.array_equal(play(late_url, folder).sound, early.sound)
    assert early.playlist.is_endlist
    rate = RATES.get((codec, song.rate), song.rate)
    assert early.sound.shape[1] == (CHANNELS[song.layout] if codec == "flac" else min(2, CHANNELS[song.layout]))
    assert loudest_hertz(early.sound[:, :1], rate) == pytest.approx(HERTZ, abs=2)
    source = source_sound(made, name)
    if codec == "flac":
        assert_same_samples(folder / "joined.mp4", source, song)
    else:
        more = len(early.sound) - len(source) * rate / song.rate
        assert -1 <= more <= PRIMING[codec] + FRAME[codec] + 1
    listed = sum(segment.duration for segment in early.playlist.segments)
    assert listed == pytest.approx(len(early.sound) / rate, abs=(PRIMING.get(codec, 0) + FRAME.get(codec, 1)) / rate)


def assert_same_samples(joined: Path, source: np.ndarray, song: Song) -> None:
    """FLAC keeps each sample, at 16 or 24 bits."""
    sound = decode_deep(joined, CHANNELS[song.layout], song.depth_bits)
    kept = source if song.depth_bits == 16 else source >> 8 << 8
    assert sound.shape == source.shape
    assert np.array_equal(sound, kept)


@some
@pytest.mark.parametrize("name", SONGS)
def test_what_can_be_streamed_is(made: Made, name: str) -> None:
    """With its options first a song is encoded as it arrives, and not once more when it is there; else it isn't."""
    log = made.server.log.read_text()
    if name.startswith("m4a index"):
        assert made.files[name].stat().st_size >= 2_000_000  # less would fit into ffmpeg's buffer
    for codec in made.codecs(name):
        job_id = made.jobs[name, codec, "options first"]
        starts = re.findall(rf'^.*"{job_id}".*"job_started".*$|^.*"job_started".*"{job_id}".*$', log, re.MULTILINE)
        assert len(starts) == 1
        assert ('"live": true' in starts[0]) is SONGS[name].live, starts
        assert not [line for line in log.splitlines() if "live_attempt_ended" in line and job_id in line]


@some
@pytest.mark.parametrize("codec", RFC6381)
def test_playlists_say_what_they_are(made: Made, codec: str) -> None:
    """live.m3u8 is an EVENT playlist that ended, index.m3u8 a VOD one of the same parts, the master names the codec."""
    name = next(name for name, made_in in made.cases if made_in == codec)
    job_id = made.jobs[name, codec, "options first"]
    texts = {
        kind: requests.get(made.server.playlist(job_id, f"{kind}.m3u8"), timeout=30).text
        for kind in ("index", "live", "master")
    }
    lists = {kind: m3u8.loads(text) for kind, text in texts.items()}
    assert (lists["live"].playlist_type, lists["live"].is_endlist) == ("event", True)
    assert (lists["index"].playlist_type, lists["index"].is_endlist) == ("vod", True)
    assert "#EXT-X-START:TIME-OFFSET=0" in texts["live"]
    parts = [[(part.uri, part.duration) for part in lists[kind].segments] for kind in ("live", "index")]
    assert parts[0] == parts[1] != []
    for kind in ("live", "index"):
        assert max(part.duration for part in lists[kind].segments) <= lists[kind].target_duration
    (variant,) = lists["master"].playlists
    assert (variant.uri, variant.stream_info.codecs) == ("live.m3u8", RFC6381[codec])
    assert 0 < variant.stream_info.average_bandwidth <= variant.stream_info.bandwidth
