"""Walks through lists of films, step by step and as a whole, against what bare ffmpeg decodes in one pass."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from support.deadline import until
from support.films import FILMS, Grid, Library, decode
from support.server import ENDED, Server, serving
from support.sound import FFMPEG
from support.spread import thoroughly

ENVIRONMENT = {
    "STREAMSRV_SERVER__SECRET": "one secret for all of these servers",
    "STREAMSRV_SERVER__PUBLIC_URL": "http://films.example.com",
    "STREAMSRV_LOG__FORMAT": "json",
}
CD = Grid(44100, "stereo", 2, 16)
ONE_RATE = ("flac.mkv", "aac.mp4", "late.mkv", "hole.mkv", "small_hole.mkv")
# The first one decides the rate and the layout, the deepest one the depth.
MIXED = ("pcm24.mov", "mp3.avi", "aac.ts", "mono8k.mkv", "late.mp4", "hole_aac.mkv")
LISTS = {"one rate": (ONE_RATE, CD), "mixed": (MIXED, Grid(48000, "stereo", 2, 24))}
OWN_GRIDS = {
    "mono8k.mkv": Grid(8000, "mono", 1, 16),
    "long.mkv": Grid(16000, "mono", 1, 16),
    "ac3.mkv": Grid(48000, "5.1(side)", 6, 16),
    "opus.webm": Grid(48000, "stereo", 2, 16),
    "pcm24.mov": Grid(48000, "stereo", 2, 24),
}
LOSSY = {
    "mp3": "-c:a libmp3lame -q:a 2",
    "m4a": "-c:a aac -b:a 192k",
    "opus": "-c:a libopus -b:a 128k",
    "ogg": "-c:a libvorbis -q:a 6",
}
FRAME_SAMPLES = {"mp3": 1152, "m4a": 1024, "opus": 960, "ogg": 2048}
FORMATS = ("flac", "wav", *LOSSY)


@dataclass(frozen=True)
class Walker:
    """A client of one server."""

    server: Server
    folder: Path

    def ask(self, path: str, asked: dict[str, Any]) -> requests.Response:
        return requests.post(f"{self.server.url}{path}", json=asked, timeout=100)

    def step(self, uris: list[str], **asked: Any) -> dict[str, Any]:
        reply = self.ask("/extract_audio_segment", {"video_files": uris, **asked})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def walk(self, uris: list[str], **asked: Any) -> list[dict[str, Any]]:
        """All steps, of which only the last one says that it is."""
        steps = [self.step(uris, **asked)]
        while not steps[-1]["done"]:
            steps.append(self.step(uris, cursor=steps[-1]["cursor"], **asked))
        return steps

    def whole(self, uris: list[str], **asked: Any) -> dict[str, Any]:
        """The extraction once it has ended."""
        reply = self.ask("/extract_audio", {"video_files": uris, **asked})
        assert reply.status_code == 202, reply.text
        status = reply.headers["Location"].replace(ENVIRONMENT["STREAMSRV_SERVER__PUBLIC_URL"], self.server.url)
        until(lambda: self.look(status)["status"] in ENDED, seconds=60, what=lambda: self.look(status))
        seen = self.look(status)
        assert seen["status"] == "Completed", seen
        return seen

    def look(self, status: str) -> dict[str, Any]:
        """What is said at the address of a status."""
        return requests.get(status, timeout=30).json()

    def fetch(self, audio_file: str) -> Path:
        """The file behind an address, whose name is the hash of its bytes."""
        here = audio_file.replace(ENVIRONMENT["STREAMSRV_SERVER__PUBLIC_URL"], self.server.url)
        reply = requests.get(here, timeout=60)
        assert reply.status_code == 200, reply.text
        name = audio_file.rpartition("/")[2]
        assert hashlib.sha256(reply.content).hexdigest() == name.partition(".")[0]
        path = self.folder / name
        path.write_bytes(reply.content)
        return path

    def sound(self, reply: dict[str, Any], grid: Grid) -> np.ndarray:
        """What ffmpeg decodes of a reply's file at the grid's rate, in rows of bytes."""
        rate = ["-ar", str(grid.rate)]
        return decode(["-i", str(self.fetch(reply["audio_file"])), *rate], grid.raw, grid.channels)

    def extractions(self) -> int:
        """How many files were made, by the server's log."""
        lines = self.server.log.read_text().splitlines()
        return sum(json.loads(line)["event"] == "extracted" for line in lines if line.startswith("{"))


Start = Callable[[str], AbstractContextManager[Walker]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, library: Library) -> Start:
    """Start a server on the data directory of that name. All have the same secret, address and films."""
    folder = tmp_path_factory.mktemp("servers")

    @contextmanager
    def start_server(name: str) -> Iterator[Walker]:
        data, files = folder / name, folder / f"{name}.files"
        for path in (data, files):
            path.mkdir(exist_ok=True)
        roots = {"STREAMSRV_EXTRACT__MEDIA_ROOTS": str(library.folder)}
        with serving(data, environment={**ENVIRONMENT, **roots}) as server:
            yield Walker(server, files)

    return start_server


@pytest.fixture(scope="module")
def walker(start: Start) -> Iterator[Walker]:
    with start("shared") as walker:
        yield walker


def assert_same(sound: np.ndarray, reference: np.ndarray) -> None:
    """Sample for sample; says where it isn't."""
    both = min(len(sound), len(reference))
    other = np.flatnonzero((sound[:both] != reference[:both]).any(axis=1))
    said = f"{len(sound)} samples instead of {len(reference)}, others from {other[:1]} on, {len(other)} in all"
    assert len(sound) == len(reference), said
    assert not len(other), said


def numbers(sound: np.ndarray) -> np.ndarray:
    """int16 samples of rows of bytes, as floats."""
    return np.ascontiguousarray(sound).view("<i2").astype(float)


# --- lossless: the segments joined, and the whole, are the reference


@pytest.mark.parametrize("name", [name for name in FILMS if FILMS[name].sounds])
def test_a_clip_is_its_one_pass_decode(name: str, walker: Walker, library: Library) -> None:
    """Whatever the container: segments of a clip joined are its decode in one pass, with silence where it is owed."""
    grid = OWN_GRIDS.get(name, CD)
    steps = walker.walk(library.uris((name,)), segment_seconds=1.3)
    joined = np.concatenate([walker.sound(step, grid) for step in steps])
    assert_same(joined, library.reference((name,), grid))


@pytest.mark.parametrize(
    ("which", "form", "seconds"),
    [
        *(("one rate", "flac", 7.3), ("mixed", "wav", 1)),
        *thoroughly(*((which, "flac", seconds) for which in LISTS for seconds in (1, 30))),
        *thoroughly(
            ("one rate", "wav", 30),
            ("mixed", "flac", 7.3),
            ("one rate", "wav", 1),
            ("one rate", "wav", 7.3),
            ("mixed", "wav", 7.3),
            ("mixed", "wav", 30),
        ),
    ],
)
def test_segments_joined_are_the_reference(
    which: str, form: str, seconds: float, walker: Walker, library: Library
) -> None:
    """All segments joined equal the one-pass decode of the clips, sample for sample, and say where they lie."""
    names, grid = LISTS[which]
    steps = walker.walk(library.uris(names), format=form, segment_seconds=seconds)
    sounds = [walker.sound(step, grid) for step in steps]
    reference = library.reference(names, grid)
    assert_same(np.concatenate(sounds), reference)
    length = round(seconds * grid.rate)
    assert [len(sound) for sound in sounds[:-1]] == [length] * (len(steps) - 1)
    assert len(steps) == -(-len(reference) // length)
    for number, (step, sound) in enumerate(zip(steps, sounds, strict=True)):
        assert step["start_seconds"] == number * length / grid.rate
        assert step["duration_seconds"] == len(sound) / grid.rate
        assert step["done"] == (number == len(steps) - 1)
        assert (step["sample_rate"], step["channels"]) == (grid.rate, grid.channels)
        assert step["priming_samples"] == 0


@pytest.mark.parametrize(
    ("which", "form"),
    [*(("one rate", "wav"), ("mixed", "flac")), *thoroughly(("one rate", "flac"), ("mixed", "wav"))],
)
def test_the_whole_is_the_reference(which: str, form: str, walker: Walker, library: Library) -> None:
    """The whole by one encoder is the one-pass decode, too."""
    names, grid = LISTS[which]
    whole = walker.whole(library.uris(names), format=form)
    reference = library.reference(names, grid)
    assert_same(walker.sound(whole, grid), reference)
    assert whole["duration_seconds"] == len(reference) / grid.rate


@pytest.mark.parametrize("first", ["mono8k.mkv", *thoroughly("ac3.mkv")])
def test_the_first_clip_decides_rate_and_layout(first: str, walker: Walker, library: Library) -> None:
    """Stereo becomes telephone behind a telephone call, and 5.1 behind 5.1; silence is put in before that."""
    names, grid = (first, "opus.webm", "vorbis.mkv", "late.mkv", "hole_aac.mkv", "aac.ts"), OWN_GRIDS[first]
    steps = walker.walk(library.uris(names), segment_seconds=7.3)
    assert_same(np.concatenate([walker.sound(step, grid) for step in steps]), library.reference(names, grid))


# --- lossy: within a frame, with the priming that is said, and no seams in the whole


@pytest.mark.parametrize("form", ["mp3", *thoroughly("opus", "m4a", "ogg")])
def test_lossy_segments_are_as_long_as_they_say(form: str, walker: Walker, library: Library) -> None:
    """A lossy segment decodes to its duration within a frame, and its priming is what its file holds."""
    for step in walker.walk(library.uris(("flac.mkv", "aac.mp4")), format=form, segment_seconds=1):
        path = walker.fetch(step["audio_file"])
        rate = file_rate(path)
        frames = len(decode(["-i", str(path)], "s16le", 2))
        assert abs(frames - step["duration_seconds"] * rate) <= FRAME_SAMPLES[form]
        assert step["priming_samples"] == skipped_samples(path)


@pytest.mark.parametrize("form", ["m4a", *thoroughly("ogg", "mp3", "opus")])
def test_a_lossy_whole_has_no_seams(form: str, walker: Walker, library: Library, tmp_path: Path) -> None:
    """The whole lies where the reference does and differs from it as one encode of it differs, at joints, too."""
    names = ("flac.mkv", "hole.mkv", "aac.mp4")
    reference = library.reference(names, CD)
    path = walker.fetch(walker.whole(library.uris(names), format=form)["audio_file"])
    plain = tmp_path / f"plain.{form}"
    source = ["-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", *LOSSY[form].split()]
    subprocess.run([FFMPEG[0], *FFMPEG[2:], *source, str(plain)], input=reference.tobytes(), check=True, timeout=60)
    once, whole = (numbers(decode(["-i", str(file), "-ar", "44100"], "s16le", 2)) for file in (plain, path))
    sound = numbers(reference)
    assert abs(len(whole) - len(sound)) <= FRAME_SAMPLES[form]
    assert lag(whole, sound) == lag(once, sound) == 0
    # A few steps of 16 bit go for nothing, where there is silence.
    assert (noise(whole, sound) <= 2 * noise(once, sound) + 4).all()


@pytest.mark.parametrize("form", FORMATS)
def test_any_number_of_samples_can_be_made(form: str, walker: Walker, library: Library) -> None:
    """What is left behind whole segments is a segment, be it one sample; so is a whole that is no number of frames."""
    uris, samples, length = library.uris(("tail.mkv",)), 100 * 1024 + 1, 50 * 1024
    steps = walker.walk(uris, format=form, segment_seconds=length / 44100)
    assert [step["duration_seconds"] * 44100 for step in steps] == [length, length, 1]
    for reply, most in ((steps[-1], 1), (walker.whole(uris, format=form), samples)):
        sound = walker.sound(reply, CD)
        assert most <= len(sound) <= most + FRAME_SAMPLES.get(form, 0)


def file_rate(path: Path) -> int:
    argv = ["ffprobe", "-loglevel", "error", "-show_entries", "stream=sample_rate", "-of", "csv=p=0", str(path)]
    return int(subprocess.check_output(argv, timeout=60))


def skipped_samples(path: Path) -> int:
    """The samples at the start of a file that players leave out."""
    argv = ["ffprobe", "-loglevel", "error", "-show_packets", "-read_intervals", "%+#1", "-of", "json", str(path)]
    packet = json.loads(subprocess.check_output(argv, timeout=60))["packets"][0]
    return sum(int(side.get("skip_samples", 0)) for side in packet.get("side_data_list", []))


def lag(sound: np.ndarray, reference: np.ndarray) -> int:
    """So many samples later is `sound`, by cross-correlation."""
    size = 1 << (len(sound) + len(reference)).bit_length()
    spectra = (np.fft.rfft(one[:, 0], size) for one in (sound, reference))
    correlation = np.fft.irfft(next(spectra) * np.conj(next(spectra)))
    at = int(correlation.argmax())
    return at if at < size // 2 else at - size


def noise(sound: np.ndarray, reference: np.ndarray, window: int = 882) -> np.ndarray:
    """How far it is from the reference in each window, as a root of mean squares."""
    count = min(len(sound), len(reference)) // window
    off = (sound[: count * window] - reference[: count * window]).reshape(count, -1)
    return np.sqrt((off**2).mean(axis=1))


# --- cursors: the same call, the same answer


WALKS: tuple[dict[str, Any], ...] = ({"segment_seconds": 1}, {"segment_seconds": 2.9, "format": "mp3"})
REPLAYED = ("late.mkv", "mp3.avi")


def test_the_same_cursor_gives_the_same_answer(start: Start, library: Library) -> None:
    """In any order, after a restart, on another server, without the database: the same JSON, and the same bytes."""
    uris = library.uris(REPLAYED)
    with start("first") as walker:
        known = [(asked, walker.walk(uris, **asked)) for asked in WALKS]
        made = walker.extractions()
        assert made == sum(len(steps) for _, steps in known)
        for _ in range(3):
            assert_replays(walker, uris, known)
        assert walker.extractions() == made
    with start("first") as walker:
        assert_replays(walker, uris, known)
        assert walker.extractions() == made
    for file in walker.server.data_dir.glob("streamsrv.sqlite*"):
        file.unlink()
    with start("first") as walker:
        assert_replays(walker, uris, known)
    with start("second") as walker:
        assert_replays(walker, uris, known)


def assert_replays(walker: Walker, uris: list[str], known: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    """Each cursor of the walks, the last one first, answers as it did, with a file whose hash is in its name."""
    for asked, steps in known:
        cursors = [None, *(step["cursor"] for step in steps)]
        for cursor, step in reversed(list(zip(cursors, steps, strict=False))):
            assert walker.step(uris, cursor=cursor, **asked) == step
            walker.fetch(step["audio_file"])
        end = walker.step(uris, cursor=cursors[-1], **asked)
        assert end == {
            **steps[-1],
            "audio_file": None,
            "start_seconds": steps[-1]["start_seconds"] + steps[-1]["duration_seconds"],
            "duration_seconds": 0,
            "priming_samples": 0,
        }


def test_twenty_at_once_are_one_extraction(walker: Walker, library: Library) -> None:
    """Who asks for the same step while it is made gets the same answer, and it is made once."""
    uris, asked = library.uris(("aac.mkv", "ac3.mkv")), {"segment_seconds": 1.9}
    cursor = None
    with ThreadPoolExecutor(20) as threads:
        for _ in range(2):
            before = walker.extractions()
            replies = list(threads.map(lambda _, at=cursor: walker.step(uris, cursor=at, **asked), range(20)))
            assert replies == [replies[0]] * 20
            assert walker.extractions() == before + 1
            walker.fetch(replies[0]["audio_file"])
            cursor = replies[0]["cursor"]


# --- what is missing, and which track


def test_a_clip_without_sound_is_an_error_silence_or_nothing(walker: Walker, library: Library) -> None:
    """By default it is refused and named; it can be silence as long as the film, or be left out."""
    names = ("silent.mp4", "flac.mkv", "silent.mp4", "vorbis.mkv")
    uris = library.uris(names)
    for asked in ({}, {"on_missing": "error"}):
        reply = walker.ask("/extract_audio_segment", {"video_files": uris[1:], **asked})
        assert (reply.status_code, reply.json()["clip"]) == (422, 1)
    first, second = (library.reference((name,), CD) for name in ("flac.mkv", "vorbis.mkv"))
    silence = np.zeros((3 * CD.rate, first.shape[1]), "u1")
    for on_missing, parts in (("silence", [silence, first, silence, second]), ("skip", [first, second])):
        steps = walker.walk(uris, on_missing=on_missing, segment_seconds=2.5)
        assert_same(np.concatenate([walker.sound(step, CD) for step in steps]), np.concatenate(parts))
        whole = walker.whole(uris, on_missing=on_missing)
        assert_same(walker.sound(whole, CD), np.concatenate(parts))


@pytest.mark.parametrize("on_missing", ["error", "silence", "skip"])
def test_no_sound_at_all_is_refused(on_missing: str, walker: Walker, library: Library) -> None:
    """Of films without any sound nothing can be extracted."""
    asked = {"video_files": library.uris(("silent.mp4", "silent.mp4")), "on_missing": on_missing}
    assert walker.ask("/extract_audio_segment", asked).status_code == 422


@pytest.mark.parametrize("name", ["aac.mp4", "aac.mkv"])
def test_tracks_are_counted_from_0(name: str, walker: Walker, library: Library) -> None:
    """Each track of a film is its own sound, on its own grid."""
    second = Grid(48000, "mono", 1, 16) if name == "aac.mp4" else Grid(48000, "stereo", 2, 16)
    for track, grid in ((0, CD), (1, second)):
        steps = walker.walk(library.uris((name,)), track=track, segment_seconds=2)
        joined = np.concatenate([walker.sound(step, grid) for step in steps])
        assert_same(joined, library.reference((name,), grid, track))


def test_a_missing_track_is_refused_with_those_there_are(walker: Walker, library: Library) -> None:
    """The refusal names the clip, and lists its tracks for programs."""
    asked = {"video_files": library.uris(("aac.mp4", "flac.mkv")), "track": 1}
    problem = walker.ask("/extract_audio_segment", asked)
    assert (problem.status_code, problem.headers["Content-Type"]) == (422, "application/problem+json")
    assert problem.json()["clip"] == 1
    flac = {"track": 0, "language": None, "codec": "flac", "channels": 2, "sample_rate": 44100}
    assert problem.json()["tracks"] == [flac]
    problem = walker.ask("/extract_audio_segment", {**asked, "track": 2})
    aac = {"track": 0, "language": "eng", "codec": "aac", "channels": 2, "sample_rate": 44100}
    assert problem.json()["clip"] == 0
    assert problem.json()["tracks"] == [
        aac,
        {**aac, "track": 1, "language": None, "channels": 1, "sample_rate": 48000},
    ]


# --- cursors that don't count


def test_a_cursor_counts_for_its_own_request_only(walker: Walker, library: Library) -> None:
    """With another list, order, track, format, length or rule it is refused."""
    names = ("aac.mp4", "aac.mkv")
    uris = library.uris(names)
    asked = {"video_files": uris, "segment_seconds": 1, "cursor": walker.step(uris, segment_seconds=1)["cursor"]}
    others: list[dict[str, Any]] = [
        {"video_files": uris[::-1]},
        {"video_files": uris[:1]},
        {"video_files": [*uris, uris[0]]},
        {"track": 1},
        {"format": "wav"},
        {"segment_seconds": 2},
        {"on_missing": "skip"},
    ]
    for other in others:
        reply = walker.ask("/extract_audio_segment", {**asked, **other})
        assert reply.status_code == 400, (other, reply.text)
    # Defaults that are said are no other request.
    said = {**asked, "track": 0, "format": "flac", "on_missing": "error"}
    assert walker.ask("/extract_audio_segment", said).status_code == 200


def test_a_changed_cursor_is_refused(walker: Walker, library: Library) -> None:
    """A cursor with a bit turned round, one cut off, one made longer, one in other letters: 400."""
    uris = library.uris(("flac.mkv",))
    cursor = walker.step(uris, segment_seconds=1)["cursor"]
    data = base64.urlsafe_b64decode(cursor)
    turned = [
        bytes(byte ^ (1 << number % 8) * (at == number) for at, byte in enumerate(data)) for number in range(len(data))
    ]
    changed = [*(base64.urlsafe_b64encode(one).decode() for one in turned), cursor[:-1], cursor[:-4], f"{cursor}AAAA"]
    changed += [f"{cursor}=", f" {cursor}", re.sub("[a-z]", lambda found: found[0].upper(), cursor), "x", "\0", "é"]
    assert len(set(changed)) == len(changed)
    for one in changed:
        reply = walker.ask("/extract_audio_segment", {"video_files": uris, "segment_seconds": 1, "cursor": one})
        assert (reply.status_code, "cursor" in reply.json()["detail"].lower()) == (400, True), (one, reply.text)


def test_a_source_that_changed_is_a_conflict(walker: Walker, library: Library) -> None:
    """Once a clip that a walk has been in is another one, its cursors are refused, and a new walk finds the new one."""
    changing = library.folder / "changing.mkv"
    shutil.copy(library.film("flac.mkv"), changing)
    uris = [changing.as_uri(), *library.uris(("late.mkv",))]
    steps = walker.walk(uris, segment_seconds=1)
    changing.touch()
    assert walker.step(uris, segment_seconds=1, cursor=steps[0]["cursor"]) == steps[1]
    shutil.copy(library.film("vorbis.mkv"), changing)
    for step in steps:
        asked = {"video_files": uris, "segment_seconds": 1, "cursor": step["cursor"]}
        assert walker.ask("/extract_audio_segment", asked).status_code == 409
    anew = walker.walk(uris, segment_seconds=1)
    joined = np.concatenate([walker.sound(step, CD) for step in anew])
    assert_same(joined, library.reference(("vorbis.mkv", "late.mkv"), CD))
    assert not {step["cursor"] for step in anew} & {step["cursor"] for step in steps}


def test_a_source_not_reached_yet_may_change(walker: Walker, library: Library) -> None:
    """A cursor knows of the clips up to its own only; behind it the walk takes what is there when it comes there."""
    changing = library.folder / "ahead.mkv"
    shutil.copy(library.film("hole.mkv"), changing)
    uris = [*library.uris(("late.mkv",)), changing.as_uri()]
    first = walker.step(uris, segment_seconds=1.5)
    shutil.copy(library.film("flac.mkv"), changing)
    steps = [first]
    while not steps[-1]["done"]:
        steps.append(walker.step(uris, segment_seconds=1.5, cursor=steps[-1]["cursor"]))
    joined = np.concatenate([walker.sound(step, CD) for step in steps])
    assert_same(joined, library.reference(("late.mkv", "flac.mkv"), CD))
