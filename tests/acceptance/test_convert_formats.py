"""What people have on their disks into every format there is: all of the sound comes back, and it can be played.

Each song goes into formats with the format first, so that it is encoded while it arrives wherever its container allows
that, and into one with the file first, so that the whole file is. All are made, sent and decoded at the beginning, a
few at a time; the tests then look at what came of each. `SOME` reaches into every song and every format; the rest of
the matrix is tried by `make test-all`.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import requests
from support.server import Server
from support.sound import FFMPEG, loudest_hertz
from support.spread import spread
from support.traces.tidy import assert_tidy
from support.wire.conversion import Conversion, convert
from support.wire.messages import Reply

# The first test waits until all songs were sent and all that came back was decoded.
pytestmark = pytest.mark.timeout(300)

T = TypeVar("T")
U = TypeVar("U")

HERTZ, LOW_HERTZ = 880.0, 60.0
# As many as may be encoded while they arrive.
SENDERS = 4
# Once these are there, an upload that can be decoded while it arrives is.
HEAD_BYTES = 64 << 10

# What can be made, with the samples of a codec's frame above 24 kHz and up to there. Lossless: none is added or lost.
FRAMES = {
    "mp3": (1152, 576),
    "ogg": (2048, 1024),
    "m4a": (1024, 1024),
    "aac": (1024, 1024),
    "opus": (960, 960),
    "webm": (960, 960),
}
LOSSLESS = ("wav", "flac", "alac", "aiff", "mka", "wv", "caf")
TARGETS = (*FRAMES, *LOSSLESS)
# One of the two that are the same by different names is enough for each song.
MOST = tuple(target for target in TARGETS if target != "aac")
FEW = ("mp3", "aac", "opus", "flac")
HOLDS_32_BITS = ("wav", "aiff", "wv", "caf")
HOLDS_FLOATS = ("wav", "wv", "caf")
# What knows one layout only for as many channels mixes others into it.
REMIXED = {"4.0": ("ogg", "opus", "webm"), "quad": ("m4a", "aac", "alac")}
MOST_CHANNELS = {"mp3": 2, "alac": 6}
# Matroska counts time in milliseconds.
TICK_SECONDS = {"mka": 0.001}
# A header counts whole frames; LAME's counts those of its delay and padding, too.
HEADER_FRAMES = {"mp3": 3}
# ffmpeg prints lengths in hundredths of a second.
PRINTED_SECONDS = 0.01
# ffmpeg's words on containers that don't say which loudspeakers are meant, or how long their sound is.
NOTES = ("Guessed Channel Layout for Input Stream", "Estimating duration from bitrate, this may be inaccurate")

FILM = "-f lavfi -i testsrc=size=160x120:rate=10:duration=3 -map 1:v -map 0:a"
# Frames that don't get small: two megabytes lie before the index.
LARGE_FILM = "-f lavfi -i nullsrc=size=320x240:rate=10:duration=3,geq=random(1)*255:128:128 -map 1:v -map 0:a"
AVC = "-c:v libx264 -preset ultrafast"
LARGE_AVC = f"{AVC} -qp 12 -pix_fmt yuv420p"
LONG_AAC = "-c:a aac -b:a 500k -aac_coder fast"


@dataclass(frozen=True)
class Song:
    """A file to be made: `options` are ffmpeg's. `live`: its container can be decoded as it arrives.

    `kind`, by ffmpeg's name, is the smallest kind of raw samples that holds its own, `depth_bits` of them.
    """

    suffix: str
    options: str = ""
    rate: int = 44100
    layout: str = "stereo"
    seconds: float = 2.0
    live: bool = True
    kind: str = "s16le"
    depth_bits: int = 16
    targets: tuple[str, ...] = MOST
    peak: float = 0.9


DEEP: dict[str, Any] = {"kind": "s32le", "depth_bits": 24}
SONGS: Mapping[str, Song] = {
    "wav 8 bit, 11.025 kHz mono": Song("wav", "-c:a pcm_u8", rate=11025, layout="mono", seconds=12),
    "wav 16 bit": Song("wav"),
    "wav 24 bit, 5.1": Song("wav", "-c:a pcm_s24le", rate=48000, layout="5.1", **DEEP),
    "wav 32 bit, 96 kHz": Song("wav", "-c:a pcm_s32le", rate=96000, kind="s32le", depth_bits=32),
    "wav 32 bit float, 192 kHz": Song(
        "wav", "-c:a pcm_f32le", rate=192000, seconds=1.5, kind="f32le", depth_bits=32, peak=1.5
    ),
    "flac 16 bit, 8 kHz mono": Song("flac", "-sample_fmt s16", rate=8000, layout="mono", seconds=8),
    "flac 24 bit, 7.1": Song("flac", "-sample_fmt s32", layout="7.1", **DEEP),
    "mp3 constant": Song("mp3", "-b:a 320k", seconds=3),
    "mp3 variable, 22.05 kHz": Song("mp3", "-q:a 0", rate=22050, seconds=8),
    "mp3 without a header": Song("mp3", "-b:a 320k -write_xing 0", seconds=3),
    "m4a": Song("m4a", "-c:a aac -b:a 500k -movflags +faststart", seconds=3),
    "m4a lossless, 4.0": Song("m4a", "-c:a alac -sample_fmt s32p", layout="4.0", live=False, **DEEP),
    "film with its index last": Song("mp4", f"{LARGE_FILM} {LARGE_AVC} -c:a aac", seconds=3, live=False),
    "ogg": Song("ogg", "-c:a libvorbis -q:a 10", seconds=3),
    "opus, 5.1": Song("opus", "-c:a libopus -b:a 1000k -mapping_family 1", rate=48000, layout="5.1"),
    "webm": Song("webm", "-c:a libopus -b:a 450k", rate=48000, seconds=3),
    "mkv film, 5.1(side)": Song("mkv", f"{FILM} {AVC} -c:a ac3 -b:a 640k", layout="5.1(side)", seconds=3),
    "aiff 24 bit, 3.0": Song("aiff", "-c:a pcm_s24be", layout="3.0", live=False, **DEEP),
    # What fewer people have goes into fewer formats.
    "m4a with its index first": Song("m4a", f"{LONG_AAC} -movflags +faststart", seconds=44, targets=FEW),
    "m4a with its index last": Song("m4a", LONG_AAC, seconds=44, live=False, targets=FEW),
    "webm film": Song("webm", f"{FILM} -c:v libvpx -deadline realtime -c:a libvorbis -q:a 8", seconds=3, targets=FEW),
    "adts": Song("aac", "-c:a aac -b:a 500k", seconds=3, targets=FEW),
    "wavpack float": Song("wv", "-sample_fmt fltp", kind="f32le", depth_bits=32, live=False, targets=("wv", *FEW)),
    "caf": Song("caf", "-c:a pcm_s16le", live=False, targets=("caf", *FEW)),
    "wave64, 5.0": Song("w64", "-c:a pcm_s24le", layout="5.0", live=False, targets=FEW, **DEEP),
    "wav quad": Song("wav", layout="quad", targets=("wav", *FEW)),
    "wav 6.1": Song("wav", layout="6.1", targets=("wav", *FEW)),
}
CHANNELS = {"mono": 1, "stereo": 2, "3.0": 3, "2.1": 3, "quad": 4, "4.0": 4, "5.0": 5, "5.1": 6, "6.1": 7, "7.1": 8}
Case = tuple[str, str]
# Each song goes into one format, and each format is made of three songs at least.
SOME: Sequence[Case] = spread({name: song.targets for name, song in SONGS.items()}, in_column=2)
REST: Sequence[Case] = [
    (name, target) for name in SONGS for target in SONGS[name].targets if (name, target) not in SOME
]
# With the file first, each song goes into one of these.
LATE: Sequence[Case] = [[case for case in SOME if case[0] == name][-(index % 2)] for index, name in enumerate(SONGS)]

RAW = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}


def tones(song: Song) -> list[float]:
    """The frequency of each channel; low is what belongs to the low one."""
    low = 3 if count_channels(song.layout) > 5 else -1
    return [LOW_HERTZ if place == low else HERTZ * (1 + place / 4) for place in range(count_channels(song.layout))]


def make(name: str, folder: Path) -> Path:
    """A tone of its own in each channel, the loudest in the first, and noise, which no codec makes small."""
    song = SONGS[name]
    count, hertz = int(song.seconds * song.rate) | 1, tones(song)  # odd: no container's padding fits by chance
    times = np.arange(count) / song.rate
    sound = np.random.default_rng(7).normal(0, 0.03, (count, len(hertz)))
    for place, frequency in enumerate(hertz):
        sound[:, place] += 0.4 / (1 + place / 4) * np.sin(2 * np.pi * frequency * times)
    sound[count // 4] = song.peak
    path = folder / f"{name}.{song.suffix}"
    raw = ["-f", "f64le", "-ar", str(song.rate), "-channel_layout", song.layout, "-i", "pipe:0"]
    subprocess.run([*FFMPEG, *raw, *song.options.split(), str(path)], input=sound.tobytes(), check=True, timeout=60)
    return path


@dataclass(frozen=True, eq=False)
class Made:
    """What came of all that was sent: replies by song and format, and what ffmpeg heard in each file."""

    server: Server
    cases: Sequence[Case]
    files: dict[str, Path]
    early: dict[Case, Reply]
    late: dict[Case, Reply]
    sources: dict[str, "Heard"]
    heard: dict[Case, "Heard"]

    def targets(self, name: str) -> list[str]:
        return [target for song, target in self.cases if song == name]


@dataclass(frozen=True, eq=False)
class Heard:
    """A file as ffmpeg plays it: `whole` and the half behind its middle in raw files; what it says besides.

    `header_seconds` is what the file says of its length. `tracks` are all that it has, not only those of sound.
    """

    whole: Path
    half: Path
    rate: int
    channels: int
    header_seconds: float
    tracks: int
    log: str

    def samples(self, kind: str) -> np.ndarray:
        return np.fromfile(self.whole, dtype=RAW[kind]).reshape(-1, self.channels)

    def half_samples(self, kind: str) -> int:
        return self.half.stat().st_size // np.dtype(RAW[kind]).itemsize // self.channels


@pytest.fixture(scope="module")
def made(
    session_server: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Made]:
    """The cases are the fixture's parameter."""
    folder, cases = tmp_path_factory.mktemp("songs"), request.param
    both_ways = LATE if cases is SOME else []
    with ThreadPoolExecutor(SENDERS) as pool:
        files = pool_map(pool, lambda name: make(name, folder), SONGS)
        early = pool_map(pool, lambda case: send_format_first(session_server, files[case[0]], *case), cases)
        late = pool_map(pool, lambda case: convert(session_server, files[case[0]], case[1], late=True), both_ways)
        sources = pool_map(pool, lambda name: listen(files[name], SONGS[name]), SONGS)
        played = [case for case in cases if early[case].status == 200]
        heard = pool_map(pool, lambda case: listen(save(early[case], folder, case), SONGS[case[0]]), played)
    yield Made(session_server, cases, files, early, late, sources, heard)
    shutil.rmtree(folder)  # it is large
    assert_tidy(session_server)


def pool_map(pool: ThreadPoolExecutor, work: Callable[[T], U], cases: Iterable[T]) -> dict[T, U]:
    """What came of each case, several at a time."""
    cases = list(cases)
    return dict(zip(cases, pool.map(work, cases), strict=True))


def send_format_first(server: Server, file: Path, name: str, target: str) -> Reply:
    """Upload a song. Where that is possible, the second half is sent once the first one is being encoded."""
    with Conversion(server, file, target) as conversion:
        if SONGS[name].live:
            conversion.send_slowly(max(0.5, HEAD_BYTES / conversion.left), 0.95, until=conversion.is_read)
        reply = conversion.finish()
    assert '"live_conversion_ended"' not in "".join(log_lines(server, conversion.id))
    return reply


def log_lines(server: Server, conversion_id: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if conversion_id in line]


def save(reply: Reply, folder: Path, case: tuple[str, str]) -> Path:
    """The file under the suffix that its name has."""
    suffix = found(r'filename=".*(\.\w+)"', reply.headers["content-disposition"])[1]
    path = folder / f"{' as '.join(case)}{suffix}"
    path.write_bytes(reply.body)
    return path


def found(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text)
    assert match is not None, text
    return match


def listen(file: Path, song: Song) -> Heard:
    """Play a file from its start, and again from its middle, and keep what ffmpeg says."""
    whole, half = (file.with_suffix(f"{file.suffix}.{part}") for part in ("whole", "half"))
    inputs = ["-i", str(file), "-ss", str(song.seconds / 2), "-i", str(file)]
    outputs = [
        word
        for place, path in enumerate((whole, half))
        for word in ("-map", f"{place}:a:0", "-f", song.kind, "-c:a", f"pcm_{song.kind}", str(path))
    ]
    argv = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "level+info", "-nostats", *inputs, *outputs]
    played = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert played.returncode == 0, f"{file.name}: {played.stderr}"
    opened = played.stderr.partition("Input #1")[0]
    hours, minutes, seconds = found(r"Duration: (\d+):(\d+):([\d.]+)", opened).groups()
    return Heard(
        whole=whole,
        half=half,
        rate=int(found(r"Audio: .*?(\d+) Hz", opened)[1]),
        channels=count_channels(found(r"Audio: .*? Hz, ([^,]+)", opened)[1]),
        header_seconds=int(hours) * 3600 + int(minutes) * 60 + float(seconds),
        tracks=len(re.findall(r"Stream #0:", opened)),
        log=played.stderr,
    )


def count_channels(layout: str) -> int:
    """From ffmpeg's words: "5.1(side)", or "3 channels" where it isn't known which."""
    words = re.split(r"[ (]", layout)[0]
    return CHANNELS.get(words) or int(words)


def target_rate(target: str, song: Song) -> int:
    """The song's rate where the encoder knows it, else the highest that it has."""
    highest = {"mp3": 48000, "m4a": 96000, "aac": 96000}.get(target, song.rate)
    return 48000 if target in ("opus", "webm") else min(song.rate, highest)


# The checks of one file that came back; each yields what is wrong with it, in words.


def check_length(song: Song, target: str, source: Heard, heard: Heard) -> Iterator[str]:
    """As many samples as the source has, scaled by the rates; a lossy codec's frame may be filled up."""
    count, wanted = len(heard.samples(song.kind)), len(source.samples(song.kind)) * heard.rate / source.rate
    frame = FRAMES[target][heard.rate <= 24000] if target in FRAMES else 0
    if abs(count - wanted) > frame:
        yield f"{count} samples of {wanted}"
    slack = HEADER_FRAMES.get(target, 1) * frame / heard.rate + PRINTED_SECONDS
    if abs(heard.header_seconds - count / heard.rate) > slack:
        yield f"its header says {heard.header_seconds} s of {count / heard.rate} s"
    half = count - song.seconds / 2 * heard.rate
    if abs(heard.half_samples(song.kind) - half) > max(frame, 1, TICK_SECONDS.get(target, 0.0) * heard.rate):
        yield f"behind its middle there are {heard.half_samples(song.kind)} samples of {half}"


def check_shape(song: Song, target: str, source: Heard, heard: Heard) -> Iterator[str]:
    channels = min(source.channels, MOST_CHANNELS.get(target, 8))
    shape = (heard.rate, heard.channels, heard.tracks)
    if shape != (target_rate(target, song), channels, 1):
        yield f"rate, channels and tracks are {shape}"


def check_tones(song: Song, target: str, source: Heard, heard: Heard) -> Iterator[str]:
    """Each channel has its own tone; of those that were mixed together the first one's is the loudest."""
    sound = heard.samples(song.kind)
    is_mixed = heard.channels != source.channels or target in REMIXED.get(song.layout, ())
    wanted = [HERTZ] if is_mixed else tones(song)
    found = [loudest_hertz(sound[:, [place]], heard.rate) for place in range(len(wanted))]
    if any(abs(one - other) > 2 for one, other in zip(found, wanted, strict=True)):
        yield f"its tones are {found}, not {wanted}"


def check_words(song: Song, target: str, source: Heard, heard: Heard) -> Iterator[str]:
    """It decodes without a warning. What ffmpeg notes of containers that don't tell everything is none."""
    lines = [
        line for line in heard.log.splitlines() if re.match(r"(\[[^\]]+ @ \w+\] )?\[(warning|error|fatal)\]", line)
    ]
    yield from (line for line in lines if not any(note in line for note in NOTES))


def check_samples(song: Song, target: str, source: Heard, heard: Heard) -> Iterator[str]:
    """A lossless format keeps every sample; all bits of it, or as many as it has."""
    if target not in LOSSLESS or heard.channels != source.channels or target in REMIXED.get(song.layout, ()):
        return
    before, after = source.samples(song.kind), heard.samples(song.kind)
    most = 0.0
    if song.kind == "f32le" and target not in HOLDS_FLOATS:
        before, most = before.clip(-1.0, 1.0), 2.0**-23
    elif song.depth_bits == 32 and target not in HOLDS_32_BITS:
        most = 2.0**8
    if before.shape != after.shape:
        yield f"{after.shape} samples of {before.shape}"
    elif np.abs(after.astype(float) - before).max() > most:
        yield f"samples differ by up to {np.abs(after.astype(float) - before).max()}"


CHECKS = (check_length, check_shape, check_tones, check_words, check_samples)


some = pytest.mark.parametrize("made", [SOME], ids=["some"], indirect=True)
some_and_rest = pytest.mark.parametrize(
    "made",
    [pytest.param(SOME, id="some"), pytest.param(REST, id="rest", marks=pytest.mark.thorough)],
    indirect=True,
)


@some_and_rest
@pytest.mark.parametrize("name", SONGS)
def test_all_of_it_comes_back_in_every_format(made: Made, name: str) -> None:
    """A song comes back with all its sound: its length, tones, rate and channels, and where that is possible each
    sample. Its header states the length, it can be played from its middle, and a player has nothing to complain of."""
    song, source, targets = SONGS[name], made.sources[name], made.targets(name)
    refused = {target: made.early[name, target] for target in targets if (name, target) not in made.heard}
    wrong = [
        f"{target}: {words}"
        for target in targets
        if target not in refused
        for check in CHECKS
        for words in check(song, target, source, made.heard[name, target])
    ]
    assert (refused, wrong) == ({}, [])


@some
@pytest.mark.parametrize(("name", "target"), LATE)
def test_the_order_of_fields_changes_nothing(made: Made, name: str, target: str) -> None:
    """With the file first the very same file comes back: muxers and encoders draw nothing at random."""
    early, late = made.early[name, target], made.late[name, target]
    assert (late.status, late.headers["content-length"]) == (early.status, early.headers["content-length"])
    assert late.body == early.body


@some
def test_every_format_was_made(made: Made) -> None:
    """What GET /v1/formats lists is what was tried, and no more is lossless."""
    listed = requests.get(f"{made.server.url}/v1/formats", timeout=30).json()["formats"]
    assert sorted(form["name"] for form in listed) == sorted(TARGETS) == sorted({target for _, target in made.cases})
    assert {form["name"] for form in listed if form["lossless"]} == set(LOSSLESS)


@some
def test_replies_say_what_they_are(made: Made) -> None:
    """Each reply has its length, the media type of its format, and the song's name with the format's suffix."""
    listed = requests.get(f"{made.server.url}/v1/formats", timeout=30).json()["formats"]
    forms = {form["name"]: form for form in listed}
    for (_, target), reply in made.early.items():
        assert int(reply.headers["content-length"]) == len(reply.body)
        assert reply.headers["content-type"] == forms[target]["media_type"]
        assert reply.headers["content-disposition"].startswith('attachment; filename="')
        assert f'{forms[target]["suffix"]}"' in reply.headers["content-disposition"]


@some
@pytest.mark.parametrize("name", ["film with its index last", "m4a with its index last"])
def test_an_index_at_the_end_is_far_away(made: Made, name: str) -> None:
    """What is decoded from the whole file only is larger than ffmpeg's buffer, in which a short one would fit."""
    assert made.files[name].stat().st_size >= 2_000_000
