"""Extraction over HTTP: what is asked, what is told, and where the sound comes from. Real ffmpeg, loopback only."""

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from support.deadline import eventually
from support.neighbours.canary import watch_connections
from support.neighbours.origin import Origin
from support.sound import FFMPEG, decode, loudest_hertz, tone
from support.traces.files import below
from support.traces.processes import ffmpegs, processes_of
from support.wire.link import read
from support.wire.messages import Reply
from yarl import URL

from streamsrv.app import create_app
from streamsrv.config import load_config
from streamsrv.media.tools import FfmpegTools

Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]
SEGMENT, WHOLE, TRACKS, FILES, JOBS = (
    *("/extract_audio_segment", "/extract_audio"),
    *("/v1/extract/tracks", "/v1/extract/files", "/v1/extract/jobs"),
)
RATE = 8000
WAIT_SECONDS = 30.0
GONE_SECONDS = 5.0
_LOOK_SECONDS = 0.02
JOB_FIELDS = "cursor status audio_file progress queue_position eta_seconds phase error clip tracks duration_seconds"
TIME_FIELDS = "created_at started_at completed_at"
REQUEST_FIELDS = "video_files video_count track format on_missing errors lost_seconds"
FIELDS = {*f"{JOB_FIELDS} {TIME_FIELDS} {REQUEST_FIELDS}".split()}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


async def post(client: Client, route: str, uris: list[str], **more: Any) -> Reply:
    async with client.post(route, json={"video_files": uris, **more}) as reply:
        return await read(reply)


async def get(client: Client, url: str, method: str = "GET", **headers: str) -> Reply:
    """Ask for an address of this server, whole or only its path."""
    async with client.request(method, URL(url).relative() if url.startswith("http") else url, headers=headers) as reply:
        return await read(reply)


async def begin(client: Client, uris: list[str], **more: Any) -> str:
    """Begin to extract the whole; gives the path of its status."""
    reply = await post(client, WHOLE, uris, **more)
    assert (reply.status, reply.body) == (202, b""), reply
    location = URL(reply.headers["Location"])
    assert location.origin() == client.make_url("/").origin()
    assert re.fullmatch(r"/status/[0-9a-f]{32}", location.path)
    return location.path


async def told(client: Client, location: str) -> dict[str, Any]:
    reply = await get(client, location)
    assert reply.status == 200, reply
    return reply.document


async def ended(client: Client, location: str) -> dict[str, Any]:
    """The status once the job has ended, which its events do, too."""
    async with asyncio.timeout(WAIT_SECONDS):
        await get(client, f"{location}/events")
    return await told(client, location)


async def extracted(client: Client, uris: list[str], **more: Any) -> dict[str, Any]:
    document = await ended(client, await begin(client, uris, **more))
    assert document["status"] == "Completed", document
    return document


async def sound_of(client: Client, audio_file: str, folder: Path) -> np.ndarray:
    """Download and decode it; its name is its digest."""
    reply = await get(client, audio_file)
    assert reply.status == 200
    path = folder / URL(audio_file).name
    assert path.stem == hashlib.sha256(reply.body).hexdigest()
    path.write_bytes(reply.body)
    return decode(path)


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch_connections(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films that cost next to nothing: two songs, one with two tracks, one without sound, and a long one."""
    folder = tmp_path_factory.mktemp("made")
    for name, seconds, hertz in (("one.flac", 3, 440), ("two.flac", 2, 880), ("other.flac", 2, 1500)):
        tone(folder / name, seconds=seconds, hertz=hertz, rate=RATE, channels=1)
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=2"]
    voices = [word for hertz in (440, 880) for word in ("-f", "lavfi", "-i", f"sine=f={hertz}:r={RATE}:d=2")]
    languages = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"]
    mapped = ["-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg4", "-c:a", "flac", *languages]
    subprocess.run([*FFMPEG, *picture, *voices, *mapped, str(folder / "film.mkv")], check=True, timeout=60)
    subprocess.run([*FFMPEG, *picture, "-c:v", "mpeg4", str(folder / "mime.mkv")], check=True, timeout=60)
    tone(folder / "long.flac", seconds=400, rate=44100, channels=2)
    return folder


@pytest.fixture
def root(tmp_path: Path, made: Path) -> Path:
    """A media root with copies of the films, for this test alone."""
    root = tmp_path.resolve() / "films"
    shutil.copytree(made, root)
    return root


@pytest.fixture
def uri(root: Path) -> Callable[[str], str]:
    return lambda name: (root / name).as_uri()


@pytest.fixture
async def client(start: Start, root: Path) -> Client:
    return await start(extract={"media_roots": [root], "max_clips": 3}, limits={"max_json_bytes": 20_000})


BAD_VALUES: dict[str, tuple[str, str]] = {
    "no list": ("{}", r"video_files: "),
    "an empty list": ('{"video_files": []}', r"video_files: .*at least 1"),
    "a text for a list": ('{"video_files": "X"}', r"video_files: "),
    "null for a list": ('{"video_files": null}', r"video_files: "),
    "an object for a list": ('{"video_files": {"0": "X"}}', r"video_files: "),
    "a number in the list": ('{"video_files": [1]}', r"video_files\.0: .*string"),
    "null in the list": ('{"video_files": ["X", null]}', r"video_files\.1: "),
    "an empty address": ('{"video_files": [""]}', r"video_files\.0: "),
    "an endless address": (json.dumps({"video_files": ["file:///" + "a" * 5000]}), r"video_files\.0: "),
    "too many": ('{"video_files": ["X", "X", "X", "X"]}', r"video_files may have 3 entries at most"),
    "a negative track": ('{"video_files": ["X"], "track": -1}', r"track: "),
    "half a track": ('{"video_files": ["X"], "track": 0.5}', r"track: "),
    "a track in quotes": ('{"video_files": ["X"], "track": "0"}', r"track: "),
    "a true track": ('{"video_files": ["X"], "track": true}', r"track: "),
    "a far track": ('{"video_files": ["X"], "track": 1000}', r"track: "),
    "an unknown format": ('{"video_files": ["X"], "format": "wma"}', r"format: .*'flac', 'wav', 'mp3', 'm4a'"),
    "a number for a format": ('{"video_files": ["X"], "format": 1}', r"format: "),
    "an unknown wish": ('{"video_files": ["X"], "on_missing": "ignore"}', r"on_missing: .*'silence' or 'skip'"),
    "an unknown field": (
        '{"video_files": ["X"], "colour": "red"}',
        r"There is no field colour here\. There are: video_f",
    ),
    "a name twice": ('{"video_files": ["X"], "video_files": ["X"]}', r"'video_files' twice"),
    "no JSON": ('{"video_files": ["X"', r"isn't JSON at line 1"),
    "nothing": ("", r"body is empty"),
    "a list": ('["X"]', r"must be a JSON object"),
    "half a letter": ('{"video_files": ["\\ud800"]}', r"JSON"),
}
BAD_STEPS: dict[str, tuple[str, str]] = {
    "NaN": ('{"video_files": ["X"], "segment_seconds": NaN}', r"it has no NaN"),
    "Infinity": ('{"video_files": ["X"], "segment_seconds": Infinity}', r"it has no Infinity"),
    "an infinite number": ('{"video_files": ["X"], "segment_seconds": 1e999}', r"number that is too large"),
    "no length": ('{"video_files": ["X"], "segment_seconds": 0}', r"segment_seconds: .*0\.1"),
    "a negative length": ('{"video_files": ["X"], "segment_seconds": -30}', r"segment_seconds: "),
    "a short length": ('{"video_files": ["X"], "segment_seconds": 0.01}', r"segment_seconds: "),
    "a long length": ('{"video_files": ["X"], "segment_seconds": 3601}', r"segment_seconds: .*3600"),
    "a length in quotes": ('{"video_files": ["X"], "segment_seconds": "30"}', r"segment_seconds: "),
    "a number for a cursor": ('{"video_files": ["X"], "cursor": 1}', r"cursor: "),
    "an endless cursor": (json.dumps({"video_files": ["X"], "cursor": "a" * 2000}), r"cursor: "),
    "no cursor of ours": ('{"video_files": ["X"], "cursor": "AQAAAA=="}', r"not one of this server"),
    "a cursor with letters": ('{"video_files": ["X"], "cursor": "ümlaut/.."}', r"not one of this server"),
}


async def ask(client: Client, route: str, body: str, **headers: str) -> Reply:
    headers.setdefault("Content-Type", "application/json")
    async with client.post(route, data=body.encode(), headers=headers) as reply:
        return await read(reply)


async def test_bad_requests_are_400_in_words(client: Client, uri: Callable[[str], str]) -> None:
    """What isn't such a request is a 400 that names the field, in both routes; no job comes of it."""
    cases = {(route, name): case for route in (SEGMENT, WHOLE) for name, case in BAD_VALUES.items()}
    cases |= {(SEGMENT, name): case for name, case in BAD_STEPS.items()}
    for (route, name), (body, words) in cases.items():
        reply = await ask(client, route, body.replace("X", uri("one.flac")))
        assert reply.status == 400, (route, name, reply)
        assert re.search(words, reply.detail), (route, name, reply.detail)
    for field in ('"cursor": "a"', '"segment_seconds": 30'):
        reply = await ask(client, WHOLE, f'{{"video_files": ["{uri("one.flac")}"], {field}}}')
        assert (reply.status, "There is no field" in reply.detail) == (400, True)
    assert (await told(client, JOBS))["jobs"] == []


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + "/b.flac", "a/" * 2040, "one.flac/" + "a" * 300])
async def test_a_name_that_no_disk_takes_is_no_file(client: Client, root: Path, name: str) -> None:
    """What is longer than a name or a path can be isn't there, as anything else that isn't: 422, or an empty job."""
    address = f"{root.as_uri()}/{name}"[:4096]
    for route in (SEGMENT, TRACKS):
        reply = await post(client, route, [address])
        assert (reply.status, reply.detail) == (422, "There is no such file.")
    assert (await ended(client, await begin(client, [address])))["error"] == "There is no such file."
    assert (await get(client, f"{FILES}?folder={address}")).status == 422


async def test_other_bodies_are_refused_by_their_kind(client: Client, uri: Callable[[str], str]) -> None:
    """A form and a packed body are 415, a huge one is 413, whether it says so or not; another method is 405."""
    body = json.dumps({"video_files": [uri("one.flac")]})
    for route in (SEGMENT, WHOLE, TRACKS):
        form = await ask(client, route, body, **{"Content-Type": "application/x-www-form-urlencoded"})
        packed = await ask(client, route, body, **{"Content-Encoding": "gzip"})
        huge = await ask(client, route, body + " " * 30_000)
        assert [reply.status for reply in (form, packed, huge)] == [415, 415, 413]
        assert (await get(client, route)).status == 405

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b" " * 1000

        async with client.post(route, data=endless(), headers={"Content-Type": "application/json"}) as reply:
            assert (await read(reply)).status == 413


async def test_status_document(client: Client, uri: Callable[[str], str], tmp_path: Path) -> None:
    """A completed extraction tells all of its fields; its file is all clips joined, and nothing else is left."""
    document = await extracted(client, [uri("one.flac"), uri("two.flac")])
    assert document.keys() == FIELDS
    expected = {
        "status": "Completed",
        "progress": 100.0,
        "phase": "ended",
        "duration_seconds": 5.0,
        "video_files": [uri("one.flac"), uri("two.flac")],
        "video_count": 2,
        "track": 0,
        "format": "flac",
        "on_missing": "error",
        "errors": "strict",
        "lost_seconds": 0.0,
        **dict.fromkeys(("error", "tracks", "clip", "queue_position", "eta_seconds")),
    }
    assert document.items() >= expected.items()
    times = [document[name] for name in ("created_at", "started_at", "completed_at")]
    assert all(re.fullmatch(TIME, time) for time in times)
    assert times == sorted(times)
    sound = await sound_of(client, document["audio_file"], tmp_path)
    both = [decode(tmp_path / "films" / name) for name in ("one.flac", "two.flac")]
    assert np.array_equal(sound, np.concatenate(both))
    assert list((tmp_path / "data" / "scratch").iterdir()) == []


async def test_a_track_that_isnt_there_names_those_that_are(client: Client, uri: Callable[[str], str]) -> None:
    """A missing track is 422, or a Failed job, with the clip's number and its tracks, for people and for programs."""
    uris = [uri("film.mkv"), uri("one.flac")]
    reply = await post(client, SEGMENT, uris, track=1)
    words = "Clip 2: There is no audio track 1. There are: 0 (flac, 1 channel)."
    tracks = [{"track": 0, "language": None, "codec": "flac", "channels": 1, "sample_rate": RATE}]
    assert (reply.status, reply.detail) == (422, words)
    assert (reply.document["clip"], reply.document["tracks"]) == (1, tracks)
    document = await ended(client, await begin(client, uris, track=1))
    assert [document[name] for name in ("status", "error", "clip", "tracks")] == ["Failed", words, 1, tracks]
    assert (document["audio_file"], document["duration_seconds"]) == (None, None)


async def test_tracks_are_listed(client: Client, uri: Callable[[str], str]) -> None:
    """Each clip's tracks in the order of the request, with language and shape; a silent one has none."""
    reply = await post(client, TRACKS, [uri("film.mkv"), uri("mime.mkv"), uri("film.mkv")])
    shape = {"codec": "flac", "channels": 1, "sample_rate": RATE}
    film = [{"track": 0, "language": "eng", **shape}, {"track": 1, "language": "deu", **shape}]
    clips = reply.document["clips"]
    assert [clip["uri"] for clip in clips] == [uri("film.mkv"), uri("mime.mkv"), uri("film.mkv")]
    assert [clip["tracks"] for clip in clips] == [film, [], film]
    assert [clip["duration_seconds"] for clip in clips] == pytest.approx([2.0] * 3, abs=0.05)
    for name, status in (("none.mkv", 422), ("../secret.mkv", 400)):
        wrong = await post(client, TRACKS, [uri("film.mkv"), uri(name)])
        assert wrong.status == status
    assert (await ask(client, TRACKS, '{"video_files": ["file:///x"], "track": 0}')).status == 400


async def test_the_track_that_is_asked_for_comes_out(client: Client, uri: Callable[[str], str], tmp_path: Path) -> None:
    """Tracks are counted from 0: the second sounds as the second."""
    for track, hertz in ((0, 440), (1, 880)):
        document = await extracted(client, [uri("film.mkv")], track=track)
        sound = await sound_of(client, document["audio_file"], tmp_path)
        assert loudest_hertz(sound, RATE) == pytest.approx(hertz, abs=2)


async def test_a_clip_without_sound_is_what_was_wished(client: Client, uri: Callable[[str], str]) -> None:
    """By default it is an error that names the clip; it can be silence as long as its picture, or left out."""
    uris = [uri("one.flac"), uri("mime.mkv")]
    document = await ended(client, await begin(client, uris))
    assert (document["status"], document["clip"]) == ("Failed", 1)
    assert "Clip 2: There is no sound in this file." in document["error"]
    for wish, seconds in (("silence", 5.0), ("skip", 3.0)):
        assert (await extracted(client, uris, on_missing=wish))["duration_seconds"] == pytest.approx(seconds, abs=0.05)
    alone = await ended(client, await begin(client, [uri("mime.mkv")], on_missing="skip"))
    assert (alone["status"], alone["error"]) == ("Failed", "None of the clips has sound.")


async def test_what_isnt_there_is_404(client: Client) -> None:
    """Unknown extractions and files are 404, and so is each spelling that could lead elsewhere."""
    unknown = "0" * 32
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        reply = await get(client, f"/status/{unknown}{path}", method)
        assert (reply.status, reply.detail) == (404, "There is no such extraction.")
    for path in ("/status/x", f"/status/{unknown}0", f"/status/{unknown[1:]}G", "/status/", "/status/..%2fhealth"):
        assert (await get(client, path)).status == 404
    name = "0" * 64
    for path in (f"{name}.flac", f"{name}.mkv", name, f"{name}.sqlite", "..%2f..%2fsecret", f"..%2f{name}.flac", ""):
        assert (await get(client, f"/extracted/{path}")).status == 404, path


async def test_a_running_extraction_is_cancelled(client: Client, uri: Callable[[str], str], tmp_path: Path) -> None:
    """DELETE is 202, the job ends Cancelled, its encoder and its scratch folder go at once; later it is 204."""
    scratch = tmp_path / "data" / "scratch"
    location = await begin(client, [uri("long.flac")], format="m4a")
    await eventually(lambda: processes_of(scratch))
    reply = await get(client, location, "DELETE")
    assert (reply.status, reply.document.keys()) == (202, FIELDS)
    document = await ended(client, location)
    assert [document[name] for name in ("status", "phase", "audio_file", "error")] == ["Cancelled", "ended", None, None]
    await eventually(lambda: not processes_of(scratch), seconds=GONE_SECONDS)
    await eventually(lambda: not list(scratch.iterdir()), seconds=GONE_SECONDS)
    # What a worker has begun to decode it decodes to the end: whoever asks again has use of it.
    await eventually(lambda: not ffmpegs(tmp_path))
    assert [(await get(client, location, "DELETE")).status for _ in range(2)] == [204, 404]
    assert (await get(client, location)).status == 404


async def test_a_waiting_extraction_is_cancelled(start: Start, root: Path, uri: Callable[[str], str]) -> None:
    """One that waits says its place, ends Cancelled at once, and never begins; the other goes on."""
    client = await start(extract={"media_roots": [root], "concurrency": 1})
    first = await begin(client, [uri("long.flac")], format="m4a")

    async def working() -> bool:
        return (await told(client, first))["phase"] == "working"

    await eventually(working)
    second = await begin(client, [uri("one.flac")])
    waiting = await told(client, second)
    assert [waiting[name] for name in ("status", "phase", "queue_position")] == ["Pending", "waiting", 1]
    assert (await get(client, second, "DELETE")).document["status"] == "Cancelled"
    assert (await told(client, second))["started_at"] is None
    assert (await get(client, first, "DELETE")).status == 202
    assert (await ended(client, first))["status"] == "Cancelled"


async def test_a_removed_extraction_leaves_its_file(client: Client, uri: Callable[[str], str]) -> None:
    """Removing what was completed is 204; whoever has the file's address still gets it, and it isn't made again."""
    location = await begin(client, [uri("one.flac")])
    document = await ended(client, location)
    assert (await get(client, location, "DELETE")).status == 204
    assert (await get(client, location)).status == 404
    assert (await get(client, document["audio_file"])).status == 200
    again = await begin(client, [uri("one.flac")])
    assert again != location
    assert (await ended(client, again))["audio_file"] == document["audio_file"]


async def test_events_tell_each_change_once(client: Client, uri: Callable[[str], str]) -> None:
    """Events have growing ids and never less progress; the last one is the end; who comes back gets what is new."""
    location = await begin(client, [uri("one.flac"), uri("film.mkv")], format="mp3")
    reply = await get(client, f"{location}/events")
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    events = read_events(reply.body)
    ids, documents = [number for number, _ in events], [document for _, document in events]
    assert ids == sorted(set(ids))
    progress = [document["progress"] for document in documents]
    assert (progress, progress[-1]) == (sorted(progress), 100.0)
    assert all(document.keys() == FIELDS for document in documents)
    assert documents[-1] == await told(client, location)
    again = await get(client, f"{location}/events", **{"Last-Event-ID": str(ids[-1] - 1)})
    assert read_events(again.body) == events[-1:]
    assert read_events((await get(client, f"{location}/events", **{"Last-Event-ID": str(ids[-1])})).body) == []


def read_events(body: bytes) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if lines.get("event") == "job":
            found.append((int(lines["id"]), json.loads(lines["data"])))
    return found


async def test_extractions_are_listed(client: Client, uri: Callable[[str], str]) -> None:
    """Newest first, in pages that neither repeat nor leave out, by status; what can't be asked for is 400."""
    wanted = [
        [uri("one.flac")],
        [uri("none.mkv")],
        [uri("two.flac")],
        [uri("one.flac"), uri("two.flac")],
        [uri("gone.mkv")],
    ]
    locations = []
    for uris in wanted:
        locations.append(await begin(client, uris))
        await ended(client, locations[-1])
    newest_first = [location.rpartition("/")[2] for location in reversed(locations)]
    found, query = [], ""
    for size in (2, 2, 1):
        page = await told(client, f"{JOBS}?limit=2{query}")
        found += [job["cursor"] for job in page["jobs"]]
        assert len(page["jobs"]) == size
        query = f"&before={page['next']}"
    assert (found, page["next"]) == (newest_first, None)
    failed = await told(client, f"{JOBS}?status=failed")
    assert [job["cursor"] for job in failed["jobs"]] == [newest_first[0], newest_first[3]]
    assert len((await told(client, f"{JOBS}?status=Completed,Failed"))["jobs"]) == 5
    assert (await told(client, f"{JOBS}?status=cancelled")) == {"jobs": [], "next": None}
    assert (await told(client, JOBS))["jobs"][-1] == await told(client, locations[0])
    for bad in (
        "limit=0",
        "limit=201",
        "limit=x",
        "status=done",
        "before=x",
        "colour=red",
        "limit=1&limit=2",
        "limit=\u0661",
    ):
        assert (await get(client, f"{JOBS}?{bad}")).status == 400, bad
    assert (await told(client, "/v1/stream/jobs"))["jobs"] == []


async def test_the_same_request_is_the_same_extraction(client: Client, uri: Callable[[str], str]) -> None:
    """Twenty at once are one job; asked later, or with the defaults spelt out, it is the same. Another order isn't."""
    uris = [uri("one.flac"), uri("two.flac")]
    locations = await asyncio.gather(*(begin(client, uris) for _ in range(20)))
    assert len(set(locations)) == 1
    assert len((await told(client, JOBS))["jobs"]) == 1
    done = await ended(client, locations[0])
    assert await begin(client, uris) == locations[0]
    assert await begin(client, uris, track=0, format="flac", on_missing="error") == locations[0]
    assert await told(client, locations[0]) == done
    others = [
        await begin(client, uris[::-1]),
        await begin(client, uris, format="wav"),
        await begin(client, uris, on_missing="skip"),
        await begin(client, uris[:1]),
        await begin(client, [*uris, uris[0]]),
    ]
    assert len({*others, locations[0]}) == 6
    files = {(await ended(client, location))["audio_file"] for location in others}
    # What the wish is for there isn't, so the file is one that was there.
    assert len(files) == 5
    assert done["audio_file"] in files


async def test_a_changed_source_is_another_extraction(client: Client, root: Path, uri: Callable[[str], str]) -> None:
    """Once a source has changed the same request begins anew, with the new sound; changed back, with the old one."""
    location = await begin(client, [uri("one.flac")])
    before = await ended(client, location)
    old = (root / "one.flac").read_bytes()
    shutil.copy(root / "two.flac", root / "one.flac")
    again = await begin(client, [uri("one.flac")])
    after = await ended(client, again)
    assert again != location
    assert after["audio_file"] != before["audio_file"]
    assert (after["duration_seconds"], before["duration_seconds"]) == (2.0, 3.0)
    assert (await told(client, location)) == before
    (root / "one.flac").write_bytes(old)
    assert (await extracted(client, [uri("one.flac")]))["audio_file"] == before["audio_file"]


async def test_what_failed_is_tried_again(client: Client, root: Path, uri: Callable[[str], str]) -> None:
    """After a failure, a cancellation or the loss of its file the same request is a new try."""
    failed = await begin(client, [uri("new.flac")])
    assert (await ended(client, failed))["error"] == "There is no such file."
    shutil.copy(root / "one.flac", root / "new.flac")
    completed = await begin(client, [uri("new.flac")])
    assert completed != failed
    file = (await ended(client, completed))["audio_file"]
    (root.parent / "data" / "files" / "extracted" / URL(file).name).unlink()
    assert (await told(client, completed))["audio_file"] is None
    assert (await get(client, file)).status == 404
    again = await begin(client, [uri("new.flac")])
    assert again != completed
    assert (await ended(client, again))["audio_file"] == file
    assert (await get(client, file)).status == 200


async def test_the_file_is_served_as_files_are(client: Client, uri: Callable[[str], str]) -> None:
    """Its type, its length, its tag; in part, from where it broke off, not at all where it is known; never changing."""
    document = await extracted(client, [uri("one.flac")])
    url = document["audio_file"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/extracted/[0-9a-f]{64}\.flac", url)
    whole = await get(client, url)
    tag, size = whole.headers["ETag"], len(whole.body)
    assert re.fullmatch(r'"[0-9a-f]+"', tag)
    assert whole.headers["Content-Type"] == "audio/flac"
    assert whole.headers["Content-Disposition"].startswith("inline")
    assert (whole.headers["Accept-Ranges"], whole.headers["Content-Length"]) == ("bytes", str(size))
    assert "immutable" in whole.headers["Cache-Control"]
    head = await get(client, url, "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))
    assert head.headers["ETag"] == tag
    part = await get(client, url, Range="bytes=10-99")
    assert (part.status, part.body) == (206, whole.body[10:100])
    assert part.headers["Content-Range"] == f"bytes 10-99/{size}"
    rest = await get(client, url, Range="bytes=100-", **{"If-Range": tag})
    assert (rest.status, rest.body) == (206, whole.body[100:])
    other = await get(client, url, Range="bytes=100-", **{"If-Range": '"other"'})
    assert (other.status, other.body) == (200, whole.body)
    beyond = await get(client, url, Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    known = await get(client, url, **{"If-None-Match": tag})
    assert (known.status, known.body, known.headers["ETag"]) == (304, b"", tag)


async def test_every_format_has_its_type(client: Client, uri: Callable[[str], str]) -> None:
    """Each format is served under its suffix and media type, and says so."""
    types = {
        "flac": "audio/flac",
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
        "m4a": "audio/mp4",
        "opus": "audio/ogg",
        "ogg": "audio/ogg",
    }
    locations = {form: await begin(client, [uri("two.flac")], format=form) for form in types}
    for form, media_type in types.items():
        document = await ended(client, locations[form])
        assert (document["status"], document["format"]) == ("Completed", form), document
        reply = await get(client, document["audio_file"], "HEAD")
        assert (URL(document["audio_file"]).suffix, reply.headers["Content-Type"]) == (f".{form}", media_type)


async def test_a_walk_is_the_whole(client: Client, uri: Callable[[str], str], tmp_path: Path) -> None:
    """Steps follow one another without hole or overlap, twice the same, and joined are all clips joined."""
    uris, cursor = [uri("one.flac"), uri("two.flac")], None
    pieces: list[np.ndarray] = []
    while True:
        more = {"segment_seconds": 1.5, **({} if cursor is None else {"cursor": cursor})}
        first, second = await asyncio.gather(*(post(client, SEGMENT, uris, **more) for _ in range(2)))
        assert first.document == second.document == (await post(client, SEGMENT, uris, **more)).document
        step = first.document
        assert step["start_seconds"] == 1.5 * len(pieces)
        pieces.append(await sound_of(client, step["audio_file"], tmp_path))
        cursor = step["cursor"]
        if step["done"]:
            break
    assert [len(piece) for piece in pieces] == [12_000, 12_000, 12_000, 4_000]
    both = np.concatenate([decode(tmp_path / "films" / name) for name in ("one.flac", "two.flac")])
    assert np.array_equal(np.concatenate(pieces), both)
    end = (await post(client, SEGMENT, uris, segment_seconds=1.5, cursor=cursor)).document
    assert (end["audio_file"], end["done"], end["cursor"], end["duration_seconds"]) == (None, True, cursor, 0)


async def test_cursors_are_bound_to_what_was_asked(client: Client, root: Path, uri: Callable[[str], str]) -> None:
    """A cursor is 400 once it was changed or for another list or option, and 409 once a source has changed."""
    uris = [uri("one.flac"), uri("two.flac")]
    cursor = (await post(client, SEGMENT, uris, segment_seconds=2)).document["cursor"]
    assert (await post(client, SEGMENT, uris, segment_seconds=2.0, cursor=cursor)).status == 200
    changed = cursor[:30] + ("A" if cursor[30] != "A" else "B") + cursor[31:]
    for bad in (changed, cursor[:-4], cursor + "AAAA", cursor.swapcase(), cursor + "="):
        assert (await post(client, SEGMENT, uris, segment_seconds=2, cursor=bad)).status == 400
    others: tuple[dict[str, Any], ...] = (
        {"segment_seconds": 3},
        {"track": 1},
        {"format": "mp3"},
        {"on_missing": "skip"},
    )
    for other in others:
        reply = await post(client, SEGMENT, uris, **{"segment_seconds": 2, "cursor": cursor, **other})
        assert (reply.status, "belongs to another list" in reply.detail) == (400, True)
    assert (await post(client, SEGMENT, uris[:1], segment_seconds=2, cursor=cursor)).status == 400
    shutil.copy(root / "other.flac", root / "one.flac")
    reply = await post(client, SEGMENT, uris, segment_seconds=2, cursor=cursor)
    assert (reply.status, "Begin anew" in reply.detail) == (409, True)


@pytest.fixture
async def origin(made: Path) -> AsyncIterator[Origin]:
    origin = Origin((made / "one.flac").read_bytes())
    async with origin.canary.serve():
        yield origin


def open_to_loopback(**more: Any) -> dict[str, dict[str, Any]]:
    return {"outbound": {"allow": ["127.0.0.1"], **more}}


async def test_a_film_is_downloaded_once(start: Start, origin: Origin, made: Path, tmp_path: Path) -> None:
    """However many ask for a film at once and later, its server sends it once; what comes out is its sound."""
    client = await start(**open_to_loopback())
    url = f"{origin.url()}?token=hidden"
    many = [post(client, SEGMENT, [url], segment_seconds=seconds) for seconds in (1, 2, 3, 1, 2)]
    replies = await asyncio.gather(post(client, TRACKS, [url]), post(client, WHOLE, [url, url]), *many)
    assert {reply.status for reply in replies} == {200, 202}
    document = await ended(client, replies[1].headers["Location"])
    assert document["video_files"] == [origin.url()] * 2
    sound = decode(made / "one.flac")
    whole = await sound_of(client, document["audio_file"], tmp_path)
    assert np.array_equal(whole, np.concatenate([sound, sound]))
    following = await post(client, SEGMENT, [url], segment_seconds=1, cursor=replies[2].document["cursor"])
    assert np.array_equal(await sound_of(client, following.document["audio_file"], tmp_path), sound[RATE : 2 * RATE])
    assert origin.asked == ["whole"]
    assert "hidden" not in json.dumps([document, *(reply.document for reply in replies[2:])])


async def test_a_download_goes_on_where_it_was_cut(start: Start, origin: Origin, made: Path, tmp_path: Path) -> None:
    """A connection that breaks costs what is missing, and nobody hears of it."""
    client, origin.cuts = await start(**open_to_loopback()), 1
    document = await extracted(client, [origin.url()])
    assert np.array_equal(await sound_of(client, document["audio_file"], tmp_path), decode(made / "one.flac"))
    assert origin.asked == ["whole", "rest"]


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (500, 5), (503, 5)])
async def test_what_a_server_answers_is_told(
    start: Start, origin: Origin, root: Path, uri: Callable[[str], str], status: int, tries: int
) -> None:
    """A film that can't be had is 422, or a Failed job, with the status of its server and the number of the clip."""
    client = await start(extract={"media_roots": [root]}, **open_to_loopback())
    uris = [uri("one.flac"), origin.url()]
    words = f"Clip 2: The server answered {status}."
    origin.statuses = [status] * tries
    reply = await post(client, SEGMENT, uris)
    assert (reply.status, reply.detail, reply.document["clip"]) == (422, words, 1)
    origin.statuses = [status] * tries
    document = await ended(client, await begin(client, uris))
    assert [document[name] for name in ("status", "error", "clip")] == ["Failed", words, 1]
    assert origin.canary.hits == 2 * tries
    assert (await extracted(client, uris))["duration_seconds"] == 6.0


async def test_a_film_that_changes_on_its_server(start: Start, origin: Origin, made: Path) -> None:
    """Whoever begins gets what is there now; a cursor of what was there before is 409, once the new one is here."""
    client = await start(extract={"fresh_seconds": 0}, **open_to_loopback())
    first = await post(client, SEGMENT, [origin.url()], segment_seconds=1)
    whole = await extracted(client, [origin.url()])
    assert await begin(client, [origin.url()]) != whole["cursor"]
    origin.body, origin.etag = (made / "other.flac").read_bytes(), '"two"'
    more = {"segment_seconds": 1, "cursor": first.document["cursor"]}
    goes_on = await post(client, SEGMENT, [origin.url()], **more)
    assert (goes_on.status, goes_on.document["start_seconds"]) == (200, 1.0)
    again = await extracted(client, [origin.url()])
    assert (whole["duration_seconds"], again["duration_seconds"]) == (3.0, 2.0)
    assert again["audio_file"] != whole["audio_file"]
    assert (await post(client, SEGMENT, [origin.url()], **more)).status == 409
    renewed = await post(client, SEGMENT, [origin.url()], segment_seconds=1)
    assert renewed.document["audio_file"] != first.document["audio_file"]
    assert origin.asked.count("whole") + origin.asked.count("rest") <= 3


async def test_a_film_that_is_too_large_is_refused(start: Start, origin: Origin, tmp_path: Path) -> None:
    """More bytes than a download may have are 422 in words, and none of them stay."""
    client = await start(**open_to_loopback(max_download_bytes=5000))
    reply = await post(client, SEGMENT, [origin.url()])
    assert (reply.status, reply.detail) == (422, "The file has more than 5000 bytes.")
    document = await ended(client, await begin(client, [origin.url()]))
    assert (document["status"], document["error"]) == ("Failed", "The file has more than 5000 bytes.")
    files = [path for path in below(tmp_path / "data" / "cache" / "downloads") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5000


class RealServer(TestServer):
    """Handlers of a real server aren't cancelled when a client leaves, those of aiohttp's test server are."""

    async def _make_runner(self, **settings: Any) -> web.BaseRunner:
        return await super()._make_runner(**{**settings, "handler_cancellation": False})


@pytest.fixture
async def real_client(tmp_path: Path, tools: FfmpegTools) -> AsyncIterator[Client]:
    (tmp_path / "data").mkdir()
    config = load_config(flags={"server": {"data_dir": tmp_path / "data"}, **open_to_loopback()})
    app = create_app(config, tools)
    async with TestClient(RealServer(app)) as client:
        yield client


async def test_a_download_ends_when_nobody_waits_for_it(
    real_client: Client, origin: Origin, made: Path, tmp_path: Path
) -> None:
    """A client that leaves stops the download only if it was the last one; later it goes on where it stopped."""
    client, origin.gate = real_client, asyncio.Event()
    origin.body = (made / "long.flac").read_bytes()  # more than is held back before it is written
    one, two = (asyncio.ensure_future(post(client, SEGMENT, [origin.url()], segment_seconds=n)) for n in (1, 2))
    await eventually(lambda: origin.open_replies == 1)
    await eventually(lambda: parts(tmp_path))
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    tracks = asyncio.ensure_future(post(client, TRACKS, [origin.url()]))
    two.cancel()
    with pytest.raises(asyncio.CancelledError):
        await two
    assert origin.open_replies == 1
    tracks.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tracks
    await eventually(lambda: origin.open_replies == 0, seconds=GONE_SECONDS)
    origin.gate.set()
    assert (await post(client, SEGMENT, [origin.url()])).status == 200
    assert origin.asked == ["whole", "rest"]


def parts(folder: Path) -> list[Path]:
    found = []
    for path in (folder / "data" / "cache" / "downloads").glob("*/part"):
        with suppress(FileNotFoundError):  # it went meanwhile
            found += [path] if path.stat().st_size else []
    return found


async def test_extractions_that_wait_for_a_slow_server_hold_up_nobody(
    start: Start, origin: Origin, root: Path, uri: Callable[[str], str]
) -> None:
    """With one place for extractions, some whose films don't come leave it to one whose films are here."""
    settings = open_to_loopback()
    settings["extract"] = {**settings.get("extract", {}), "media_roots": [root], "concurrency": 1}
    client, origin.gate = await start(**settings), asyncio.Event()
    slow = [await begin(client, [origin.url(f"/{number}.flac")]) for number in range(5)]
    await eventually(lambda: origin.open_replies == 2)
    document = await extracted(client, [uri("one.flac"), uri("two.flac")])
    assert document["status"] == "Completed"
    assert [(await told(client, location))["phase"] for location in slow] == ["fetching"] * 5
    origin.gate.set()
    assert [(await ended(client, location))["status"] for location in slow] == ["Completed"] * 5


async def test_a_source_below_the_least_rate_is_left(start: Start, origin: Origin) -> None:
    """A server that sends next to nothing is 422, or a Failed job, in words."""
    client = await start(**open_to_loopback(min_bytes_per_second=100_000, grace_seconds=0.2))
    origin.half_bytes, origin.gate = 10, asyncio.Event()
    words = "The server sends less than 100000 bytes per second."
    reply = await post(client, SEGMENT, [origin.url()])
    assert (reply.status, reply.detail) == (422, words)
    document = await ended(client, await begin(client, [origin.url()]))
    assert (document["status"], document["error"]) == ("Failed", words)


async def test_an_extraction_that_fetches_says_so_and_can_be_cancelled(start: Start, origin: Origin) -> None:
    """While a film comes the job is fetching, with the progress of that; DELETE ends the download."""
    client, origin.gate = await start(**open_to_loopback()), asyncio.Event()
    location = await begin(client, [origin.url()])

    async def fetches() -> dict[str, Any] | None:
        document = await told(client, location)
        return document if document["progress"] > 0 else None

    document = await eventually(fetches)
    assert (document["status"], document["phase"]) == ("Processing", "fetching")
    assert 0 < document["progress"] <= 20
    assert (await get(client, location, "DELETE")).status == 202
    assert (await ended(client, location))["status"] == "Cancelled"
    await eventually(lambda: origin.open_replies == 0, seconds=GONE_SECONDS)


async def test_too_many_at_once_are_503(start: Start, origin: Origin) -> None:
    """With all places taken a segment is 503 with Retry-After; a place is free again when its client has left."""
    client, origin.gate = await start(extract={"max_requests": 1}, **open_to_loopback()), asyncio.Event()
    waiting = asyncio.ensure_future(post(client, SEGMENT, [origin.url()]))
    await eventually(lambda: origin.open_replies == 1)
    for route in (SEGMENT, TRACKS):
        reply = await post(client, route, [origin.url()])
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    waiting.cancel()
    origin.gate.set()

    async def admitted() -> bool:
        return (await post(client, SEGMENT, [origin.url()])).status == 200

    await eventually(admitted)


async def test_folders_are_listed(client: Client, root: Path, tmp_path: Path) -> None:
    """The roots, then folders before films, by name; without what is hidden, no film, or leads out of the roots."""
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(root / "one.flac", outside)
    inner = root / "B folder"
    (inner / "deeper #1?").mkdir(parents=True)
    for name in (".hidden.mkv", "notes.txt", "list.m3u8", "script.sh", "UPPER.MKV", "ünïcode 100%.mp4"):
        (inner / name).touch()
    (inner / ".git").mkdir()
    (inner / "out.flac").symlink_to(outside / "one.flac")
    (inner / "outlet").symlink_to(outside)
    (inner / "broken.mkv").symlink_to("nowhere.mkv")
    (inner / "inside.flac").symlink_to("../one.flac")
    roots = await told(client, FILES)
    assert roots == {"folder": None, "parent": None, "entries": [listed(root, str(root), folder=True)], "more": False}
    top = await told(client, f"{FILES}?folder={root.as_uri()}")
    assert (top["folder"], top["parent"], top["more"]) == (root.as_uri(), None, False)
    assert [entry["name"] for entry in top["entries"]] == ["B folder", *sorted(path.name for path in root.glob("*.*"))]
    below = (await get(client, str(URL(FILES).with_query(folder=inner.as_uri())))).document
    assert (below["folder"], below["parent"]) == (inner.as_uri(), root.as_uri())
    assert below["entries"] == [
        listed(inner / "deeper #1?", folder=True),
        *(listed(inner / name) for name in ("inside.flac", "UPPER.MKV", "ünïcode 100%.mp4")),
    ]
    deep = below["entries"][0]["uri"]
    empty = (await get(client, str(URL(FILES).with_query(folder=deep)))).document
    assert (empty["folder"], empty["parent"], empty["entries"]) == (deep, inner.as_uri(), [])


def listed(path: Path, name: str = "", *, folder: bool = False) -> dict[str, Any]:
    size = None if folder else path.stat().st_size
    return {"name": name or path.name, "uri": path.as_uri(), "kind": "folder" if folder else "file", "size": size}


async def test_what_is_listed_can_be_extracted(client: Client, root: Path) -> None:
    """Addresses come as they can be sent back, whatever is in a name."""
    odd = root / "ünï #1? 100% & +;.flac"
    shutil.copy(root / "one.flac", odd)
    entries = (await told(client, f"{FILES}?folder={root.as_uri()}"))["entries"]
    uri = next(entry["uri"] for entry in entries if entry["name"] == odd.name)
    assert (await extracted(client, [uri]))["video_files"] == [uri]


async def test_folders_that_cant_be_listed(client: Client, root: Path, uri: Callable[[str], str]) -> None:
    """Outside the roots is 400, what is no folder 422, an unknown parameter 400; a large folder ends with `more`."""
    outside = ("file:///etc", f"{uri('')}/%2e%2e%2f", "http://127.0.0.1/", str(root), f"http://{root}", "file:///")
    refused = [await get(client, str(URL(FILES).with_query(folder=text))) for text in outside]
    assert {reply.status for reply in refused} == {400}
    for name in ("none", "one.flac"):
        assert (await get(client, f"{FILES}?folder={uri(name)}")).status == 422
    assert (await get(client, f"{FILES}?path=x")).status == 400
    many = root / "many"
    many.mkdir()
    for number in range(1001):
        (many / f"{number:04}.mkv").touch()
    large = await told(client, f"{FILES}?folder={many.as_uri()}")
    assert (len(large["entries"]), large["entries"][-1]["name"], large["more"]) == (1000, "0999.mkv", True)


async def test_without_roots_no_file_is_read(start: Start, uri: Callable[[str], str]) -> None:
    """By default no file of this machine can be named, nothing is listed, and no address inside is asked."""
    client = await start()
    assert await told(client, FILES) == {"folder": None, "parent": None, "entries": [], "more": False}
    for route in (SEGMENT, WHOLE, TRACKS):
        assert (await post(client, route, [uri("one.flac")])).status == 400
        assert (await post(client, route, ["http://127.0.0.1/film.mkv"])).status == 400
    assert (await get(client, f"{FILES}?folder={uri('')}")).status == 400


async def test_cursors_and_files_survive_a_lost_database(
    start: Start, root: Path, uri: Callable[[str], str], tmp_path: Path
) -> None:
    """With an empty database and the same secret, a cursor goes on as before; jobs are gone, files are there."""
    settings = {"extract": {"media_roots": [root]}, "server": {"secret": "a secret of two servers"}}
    client = await start(**settings)
    first = (await post(client, SEGMENT, [uri("one.flac")], segment_seconds=1)).document
    second = await post(client, SEGMENT, [uri("one.flac")], segment_seconds=1, cursor=first["cursor"])
    location = await begin(client, [uri("one.flac")])
    whole = await ended(client, location)
    await client.close()
    shutil.rmtree(tmp_path / "data" / "cache")
    for file in (tmp_path / "data").glob("streamsrv.sqlite*"):
        file.unlink()
    client = await start(**settings)
    again = await post(client, SEGMENT, [uri("one.flac")], segment_seconds=1, cursor=first["cursor"])
    assert without_host(again.document) == without_host(second.document)
    assert (await get(client, location)).status == 404
    assert (await get(client, whole["audio_file"])).status == 200


def without_host(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "audio_file": URL(document["audio_file"]).path}
