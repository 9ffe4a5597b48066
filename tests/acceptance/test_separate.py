"""Songs come in, become tracks, are asked for again, cancelled and removed; each step is told as was promised."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import requests
from support.deadline import until
from support.server import ENDED, Server
from support.songs import (
    RATE,
    TRACKS,
    completed_song,
    ended_song,
    get_song,
    music,
    send_song,
    song_server,
    song_when,
    track_bytes,
    tracks_of,
)
from support.sound import decode
from support.traces.files import below
from support.traces.tidy import TIDY_SECONDS
from support.wire.events import listen

SECONDS = 2.0
WINDOW_SECONDS = 0.4
UNKNOWN = "0" * 64
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It separates one song at a time, in which a window of the model `slow` takes a while."""
    folder, limit = tmp_path_factory.mktemp("songs"), "2000000"
    with song_server(
        folder, window_seconds=WINDOW_SECONDS, SEPARATE__SONGS="1", LIMITS__MAX_JSON_BYTES=limit
    ) as server:
        yield server


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return music(tmp_path_factory.mktemp("song") / "A song.mp3", seconds=SECONDS)


@pytest.fixture(scope="module")
def song(server: Server, file: Path) -> str:
    """The hash of a song that is Completed; nobody removes it."""
    song = send_song(server, file)
    completed_song(server, song)
    return song


@pytest.fixture
def another(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A song that only this test has."""
    seed = int.from_bytes(hashlib.sha256(request.node.name.encode()).digest()[:4])
    return music(tmp_path / "another.wav", seconds=SECONDS, seed=seed)


@pytest.fixture
def long_song(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A song that only this test has, and that `slow` needs some seconds for."""
    seed = int.from_bytes(hashlib.sha256(request.node.name.encode()).digest()[:4])
    return music(tmp_path / "long.flac", seconds=20, seed=seed)


def hash_of(file: Path) -> str:
    return hashlib.sha256(base64.b64encode(file.read_bytes())).hexdigest()


def submit(server: Server, **fields: Any) -> requests.Response:
    return requests.post(f"{server.url}/apiv1/separate", json=fields, timeout=60)


def in_base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def files_of(server: Server) -> set[Path]:
    """All files of songs."""
    folders = ("spool", "scratch", "files/songs", "files/stems", "cache/tracks")
    return {path for folder in folders for path in below(server.data_dir / folder) if path.is_file()}


def assert_files_go_back_to(server: Server, before: set[Path]) -> None:
    until(lambda: files_of(server) <= before, seconds=TIDY_SECONDS, what=lambda: files_of(server) - before)


def cancel(server: Server, song: str) -> None:
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 202
    assert ended_song(server, song, seconds=10)["status"] == "Cancelled"


def running(server: Server, song: str) -> dict[str, Any]:
    return song_when(server, song, lambda found: found["phase"] == "separating" and found["progress"] > 0)


def problem(reply: requests.Response, status: int, kind: str) -> str:
    """The words of a problem of this status and kind."""
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    document = reply.json()
    assert (document["status"], document["type"]) == (status, f"/problems/{kind}"), document
    return document["detail"]


def test_a_form_and_json_are_the_same_song(server: Server, file: Path, song: str) -> None:
    """The hash is the SHA-256 of the file in canonical base64, whichever way it came; its address is in Location."""
    assert song == hash_of(file)
    wrapped = "\r\n".join(re.findall(".{1,76}", in_base64(file)))
    for text in (in_base64(file), wrapped):
        reply = submit(server, mp3=text, song_name="by JSON.mp3")
        assert reply.json()["hash"] == song
        assert reply.headers["Location"] == f"{server.url}/apiv1/song/{song}"
    assert get_song(server, song)["song_name"] == "by JSON.mp3"


def test_a_song_is_separated_once(server: Server, file: Path, song: str) -> None:
    """Asked for again it is answered from what is there, and the reason says so; other settings are another result."""
    before, jobs = get_song(server, song), song_jobs(server)
    reply = submit(server, mp3=in_base64(file))
    assert reply.json() == {"hash": song, "reason": "Song was separated already"}
    after = get_song(server, song)
    assert {**after, "song_name": ""} == {**before, "song_name": ""}
    assert song_jobs(server) == jobs
    assert submit(server, mp3=in_base64(file), overlap=0.5).json()["reason"] == "Song enqueued for separation"
    assert completed_song(server, song)["overlap"] == 0.5
    assert song_jobs(server) == jobs + 1


def song_jobs(server: Server) -> int:
    return (server.log.read_text()).count('"event": "job_started"')


@pytest.mark.thorough
def test_a_song_without_a_track_is_made_anew(server: Server, another: Path) -> None:
    """Once a track was removed the song counts as incomplete: submitted again it is separated again, and is whole."""
    song = send_song(server, another)
    first = completed_song(server, song)
    bass = track_bytes(server, song, "bass.flac")
    for name, status in (("base.mp3", 200), ("bass", 404)):
        assert requests.delete(f"{server.url}/apiv1/remove/{song}/{name}", timeout=30).status_code == status
    removed = tracks_of(get_song(server, song))["bass"]
    assert removed["removed"]
    assert {removed[name] for name in ("playlist_url", "mp3_url", "flac_url", "wav_url")} == {None}
    for name in ("track/{}/bass.mp3", "track/{}/base.flac", "stems/{}/bass/index.m3u8"):
        assert requests.get(f"{server.url}/apiv1/{name.format(song)}", timeout=30).status_code == 404
    assert "bass" not in requests.get(first["master_url"], timeout=30).text
    assert submit(server, mp3=in_base64(another)).json()["reason"] == "Song enqueued for separation"
    assert not tracks_of(completed_song(server, song))["bass"]["removed"]
    assert track_bytes(server, song, "bass.flac") == bass


def test_removed_tracks_leave_no_file(server: Server, another: Path) -> None:
    """With its last track all that was made of a song is gone; DELETE removes the song itself, once."""
    before = files_of(server)
    song = send_song(server, another)
    for track in tracks_of(completed_song(server, song)):
        assert track_bytes(server, song, f"{track}.wav")
        assert requests.get(f"{server.url}/apiv1/remove/{song}/{track}", timeout=30).status_code == 200
    assert requests.get(f"{server.url}/apiv1/archive/{song}.zip", timeout=30).status_code == 404
    assert requests.get(f"{server.url}/apiv1/stems/{song}/master.m3u8", timeout=30).status_code == 404
    assert [get_song(server, song)[name] for name in ("master_url", "archive_url")] == [None, None]
    assert_files_go_back_to(server, before)
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 204
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 404
    assert requests.get(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 404


@pytest.mark.thorough
def test_an_ended_song_goes_with_its_files(server: Server, another: Path) -> None:
    """DELETE of a song that has ended takes its results along, of one model or all, with every file; then it is 404."""
    before = files_of(server)
    song = send_song(server, another)
    completed_song(server, song)
    segments = requests.get(f"{server.url}/apiv1/stems/{song}/vocals/index.m3u8", timeout=30).text
    segment = next(line for line in segments.splitlines() if line.endswith(".m4s"))
    url = f"{server.url}/apiv1/stems/{song}/vocals/{segment}"
    assert requests.get(url, timeout=30).status_code == 200
    send_song(server, another, model="tiny6")
    completed_song(server, song, query="?model=tiny6")
    assert requests.delete(f"{server.url}/apiv1/song/{song}?model=tiny6", timeout=30).status_code == 204
    assert requests.get(f"{server.url}/apiv1/song/{song}?model=tiny6", timeout=30).status_code == 404
    assert requests.get(url, timeout=30).status_code == 200
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 204
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 404
    for path in ("song/{}", "track/{}/vocals", "archive/{}.zip", "stems/{}/master.m3u8"):
        assert requests.get(f"{server.url}/apiv1/{path.format(song)}", timeout=30).status_code == 404
    assert requests.get(url, timeout=30).status_code == 404
    assert_files_go_back_to(server, before)
    assert song not in [found["hash"] for found in list_songs(server)["songs"]]


def list_songs(server: Server, query: str = "") -> dict[str, Any]:
    reply = requests.get(f"{server.url}/apiv1/songs{query}", timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_running_song_is_cancelled(server: Server, long_song: Path, another: Path) -> None:
    """DELETE stops a song that runs: 202, then Cancelled, and its files go; the processes go on with other songs."""
    before = files_of(server)
    song = send_song(server, long_song, model="slow")
    running(server, song)
    children = model_processes(server)
    reply = requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30)
    assert (reply.status_code, reply.json()["hash"]) == (202, song)
    found = ended_song(server, song, seconds=5)
    assert (found["status"], found["phase"], found["master_url"]) == ("Cancelled", "ended", None)
    assert_files_go_back_to(server, before)
    for path in ("track/{}/vocals", "stems/{}/vocals/index.m3u8"):
        assert "Cancelled" in problem(
            requests.get(f"{server.url}/apiv1/{path.format(song)}", timeout=30), 404, "not-found"
        )
    completed_song(server, send_song(server, another))
    assert children <= model_processes(server)
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 204
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 404


def model_processes(server: Server) -> set[int]:
    """Processes of the server that have loaded torch."""
    return {pid for pid in server.children() if "torch" in Path(f"/proc/{pid}/maps").read_text()}


@pytest.mark.thorough
def test_a_cancelled_song_may_come_again(server: Server, long_song: Path) -> None:
    """What was cancelled, while it waited or ran, is separated when it is submitted again."""
    for _ in range(2):
        song = send_song(server, long_song, model="slow")
        running(server, song)
        cancel(server, song)
    send_song(server, long_song)
    assert completed_song(server, song)["model"] == "tiny"


def test_a_running_song_has_no_tracks_yet(server: Server, long_song: Path) -> None:
    """A track of a song that waits or runs is 409, with how far it is, in words and as members of the problem."""
    song = send_song(server, long_song, model="slow")
    running(server, song)
    for path in (f"track/{song}/vocals", f"track/{song}/vocals.wav", f"archive/{song}.zip", f"remove/{song}/vocals"):
        reply = requests.get(f"{server.url}/apiv1/{path}", timeout=30)
        assert re.search(r"\d %", problem(reply, 409, "not-ready"))
        assert int(reply.headers["Retry-After"]) >= 1
        assert reply.json()["song_status"] == "Processing"
        assert 0 < reply.json()["progress"] < 100
    cancel(server, song)


@pytest.mark.thorough
def test_urgent_songs_overtake(server: Server, another: Path, tmp_path: Path) -> None:
    """Of those that wait a background song goes last, and the queue shows that; an urgent one waits for no other."""
    background, normal = music(tmp_path / "b.wav", seconds=1, seed=101), music(tmp_path / "n.wav", seconds=1, seed=102)
    first = send_song(server, music(tmp_path / "long.flac", seconds=60, seed=103), model="slow")
    running(server, first)
    waiting = [send_song(server, background, priority="background"), send_song(server, normal)][::-1]
    assert requests.get(f"{server.url}/apiv1/queue", timeout=30).json() == {"queue": [first, *waiting]}
    assert [get_song(server, song)["queue_position"] for song in waiting] == [1, 2]
    assert get_song(server, waiting[1])["phase"] == "waiting"
    completed_song(server, send_song(server, another, priority="urgent"))
    assert get_song(server, first)["status"] == "Processing"
    assert {get_song(server, song)["status"] for song in waiting} == {"Pending"}
    cancel(server, first)
    started = [completed_song(server, song)["started_at"] for song in waiting]
    assert started == sorted(started)


@pytest.mark.thorough
def test_twenty_at_once_are_one_song(server: Server, another: Path) -> None:
    """However many send the same song at the same time, it is separated once, and all are told the same hash."""
    before, jobs = files_of(server), song_jobs(server)
    text = in_base64(another)
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: submit(server, mp3=text), range(20)))
    assert {reply.status_code for reply in replies} == {200}
    assert {reply.json()["hash"] for reply in replies} == {hash_of(another)}
    song = hash_of(another)
    completed_song(server, song)
    assert song_jobs(server) == jobs + 1
    assert [found["hash"] for found in list_songs(server, "?limit=200")["songs"]].count(song) == 1
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 204
    assert_files_go_back_to(server, before)


SONG_FIELDS = [
    *("hash", "song_name", "status", "phase", "progress", "error", "created_at", "started_at", "completed_at"),
    *("queue_position", "eta_seconds", "priority", "model", "model_reason", "overlap", "shifts", "precision"),
    "devices",
    *(
        "duration_seconds",
        "lost_seconds",
        "sample_rate",
        "segment_seconds",
        "revision",
        "master_url",
        "archive_url",
        "tracks",
    ),
    "callbacks",
]
TRACK_FIELDS = ["name", "is_mix", "playlist_url", "mp3_url", "flac_url", "wav_url", "clipped_samples", "removed"]


def test_a_song_is_told_completely(server: Server, song: str, file: Path) -> None:
    """A song has all its fields, whatever state it is in; when it is Completed every address in it leads somewhere."""
    send_song(server, file, song_name="Once more.mp3")
    found = get_song(server, song, "?model=tiny")
    assert list(found) == SONG_FIELDS
    assert (found["hash"], found["song_name"], found["status"]) == (song, "Once more.mp3", "Completed")
    assert (found["phase"], found["progress"], found["error"]) == ("ended", 100, None)
    assert (found["model"], found["overlap"], found["shifts"]) == ("tiny", 0.25, 0)
    assert (found["precision"], found["priority"], found["callbacks"]) == ("float32", "normal", [])
    assert (found["queue_position"], found["eta_seconds"]) == (None, None)
    assert found["devices"]
    assert set(found["devices"]) <= {f"cpu:{number}" for number in range(64)}
    assert (found["duration_seconds"], found["sample_rate"], found["segment_seconds"]) == (SECONDS, RATE, 6)
    times = [found[name] for name in ("created_at", "started_at", "completed_at")]
    assert all(re.fullmatch(TIME, moment) for moment in times)
    assert times == sorted(times)
    assert [(track["name"], track["is_mix"]) for track in found["tracks"]] == [
        (name, name == "instrumental") for name in TRACKS
    ]
    addresses = [found["master_url"], found["archive_url"]]
    for track in found["tracks"]:
        assert list(track) == TRACK_FIELDS
        assert (track["removed"], track["clipped_samples"]) == (False, 0)
        addresses += [value for name, value in track.items() if name.endswith("_url")]
    for url in addresses:
        assert url.startswith(f"{server.url}/apiv1/")
        assert requests.get(url, timeout=30).status_code == 200
    assert get_song(server, song, "?model=tiny") == found


@pytest.mark.thorough
def test_a_list_is_turned_page_by_page(server: Server, song: str, tmp_path: Path) -> None:
    """Songs are listed newest first, in pages that join without a gap, and by status; they look as they do alone."""
    names = [music(tmp_path / f"{number}.wav", seconds=0.5, seed=200 + number) for number in range(3)]
    newest = [send_song(server, name) for name in names][::-1]
    for one in newest:
        completed_song(server, one)
    whole = list_songs(server, "?limit=200")
    assert whole["next"] is None
    assert [found["hash"] for found in whole["songs"]][:3] == newest
    pages = [list_songs(server, "?limit=2&before=")]
    while (before := pages[-1]["next"]) is not None:
        pages.append(list_songs(server, f"?limit=2&before={before}"))
    assert all(len(page["songs"]) <= 2 for page in pages)
    assert [found for page in pages for found in page["songs"]] == whole["songs"]
    assert whole["songs"][0] == get_song(server, newest[0])
    statuses = {found["status"] for found in whole["songs"]}
    for status in (*ENDED, "Pending", "Processing"):
        some = list_songs(server, f"?limit=200&status={status}")["songs"]
        assert some == [found for found in whole["songs"] if found["status"] == status]
    assert "Completed" in statuses


@pytest.mark.parametrize("query", ["?limit=0", "?limit=x", "?status=Lost", "?before=x", "?page=2", "?limit=2&limit=3"])
def test_lists_know_what_they_can(server: Server, query: str) -> None:
    """A page that can't be is 400, in words."""
    reply = requests.get(f"{server.url}/apiv1/songs{query}", timeout=30)
    assert (reply.status_code, reply.headers["Content-Type"]) == (400, "application/problem+json")
    assert reply.json()["detail"]


def test_events_tell_of_each_change(server: Server, long_song: Path) -> None:
    """The events of a song are the song as it changes: ids grow, progress never falls, the last one is its end."""
    song = send_song(server, long_song, model="slow")
    url = f"{server.url}/apiv1/song/{song}/events"
    events = [(event.number, event.document) for event in listen(url, most=8)]
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers)) == [found["revision"] for _, found in events]
    shares = [found["progress"] for _, found in events]
    assert shares == sorted(shares)
    phases = [found["phase"] for _, found in events]
    order = ["waiting", "loading", "measuring", "separating", "finishing", "ended"]
    assert phases == sorted(phases, key=order.index)
    cancel(server, song)
    last = requests.get(url, headers={"Last-Event-ID": str(numbers[-1])}, timeout=30).text
    (data,) = re.findall(r"^data: (.*?)\r?$", last, re.MULTILINE)
    # Its files go a moment later, which is a change, too.
    assert {**json.loads(data), "revision": None} == {**get_song(server, song), "revision": None}
    assert json.loads(data)["status"] == "Cancelled"
    for _ in range(100):
        seen = {"Last-Event-ID": str(get_song(server, song)["revision"])}
        if "data:" not in (told := requests.get(url, headers=seen, timeout=30).text):
            break
    assert "data:" not in told


def test_models_are_listed(server: Server) -> None:
    """The models of the server's folder are named, with the default one; each of them may be asked for."""
    reply = requests.get(f"{server.url}/apiv1/models", timeout=30).json()
    assert reply["default"] == "tiny"
    assert reply["default_reason"] is None
    assert [model["name"] for model in reply["models"]] == ["deadly", "slow", "streamsrv-small", "tiny", "tiny6"]
    for model in reply["models"]:
        assert set(model) == {"name", "sources", "state", "detail"}
        assert model["state"] == "available"


def test_all_tracks_in_one_zip(server: Server, song: str, file: Path) -> None:
    """The archive holds each track, as the very file that the track's own address gives, in the format asked for."""
    for suffix in ("mp3", "flac", "wav"):
        reply = requests.get(f"{server.url}/apiv1/archive/{song}.zip?format={suffix}", timeout=60)
        assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/zip")
        assert "attachment" in reply.headers["Content-Disposition"]
        with ZipFile(BytesIO(reply.content)) as archive:
            assert archive.testzip() is None
            assert set(archive.namelist()) == {f"{name}.{suffix}" for name in TRACKS}
            for name in archive.namelist():
                assert archive.read(name) == track_bytes(server, song, name)
    reply = requests.get(f"{server.url}/apiv1/archive/{song}.zip?format=opus", timeout=30)
    assert "mp3, flac, wav" in problem(reply, 400, "bad-parameter")


@pytest.mark.parametrize(
    ("suffix", "media_type"), [("mp3", "audio/mpeg"), ("flac", "audio/flac"), ("wav", "audio/wav")]
)
def test_tracks_are_served_as_files(server: Server, song: str, file: Path, suffix: str, media_type: str) -> None:
    """A track has a strong tag and a name; any range of it is a slice, HEAD is GET without its body, beyond is 416."""
    send_song(server, file, song_name="A song.mp3")
    url = f"{server.url}/apiv1/track/{song}/vocals.{suffix}"
    whole = requests.get(url, timeout=30)
    size, tag = len(whole.content), whole.headers["ETag"]
    assert whole.headers["Content-Type"] == media_type
    assert f"A song (vocals).{suffix}" in whole.headers["Content-Disposition"]
    assert re.fullmatch(r'"[^"]+"', tag)
    head = requests.head(url, timeout=30)
    assert (head.status_code, head.headers["Content-Length"], head.headers["ETag"], head.content) == (
        *(200, str(size), tag),
        b"",
    )
    for asked, part in (("0-0", slice(0, 1)), ("100-199", slice(100, 200)), ("-50", slice(-50, None))):
        reply = requests.get(url, headers={"Range": f"bytes={asked}", "If-Range": tag}, timeout=30)
        assert (reply.status_code, reply.content) == (206, whole.content[part])
    assert requests.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'}, timeout=30).status_code == 200
    beyond = requests.get(url, headers={"Range": f"bytes={size}-"}, timeout=30)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert requests.get(url, headers={"If-None-Match": tag}, timeout=30).status_code == 304
    assert len(decode(url)) == pytest.approx(SECONDS * RATE, abs=1152 if suffix == "mp3" else 0)


def test_a_song_by_upper_case(server: Server, song: str) -> None:
    """A hash is a number: its letters may be of either case."""
    assert get_song(server, song.upper())["hash"] == song
    assert requests.get(f"{server.url}/apiv1/track/{song.upper()}/vocals", timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("Mr. Brightside", "Mr. Brightside (bass).mp3"),
        ("../../etc/passwd", "_.._etc_passwd (bass).mp3"),
        (".mp3", "mp3 (bass).mp3"),
        ('a"b\r\nc', None),
        ("歌.flac", None),
    ],
)
def test_tracks_are_called_like_the_song(server: Server, song: str, file: Path, name: str, saved: str | None) -> None:
    """A track is saved under the song's name without its suffix, whatever that name is; the header stays one line."""
    assert submit(server, mp3=in_base64(file), song_name=name).status_code == 200
    # What a terminal would obey isn't shown.
    assert get_song(server, song, "?model=tiny")["song_name"] == name.strip().replace("\r\n", "")
    shown = requests.head(f"{server.url}/apiv1/track/{song}/bass?model=tiny", timeout=30).headers["Content-Disposition"]
    assert shown.startswith('inline; filename="')
    assert saved is None or f'filename="{saved}"' in shown, shown
    assert name != "歌.flac" or "%E6%AD%8C%20%28bass%29.mp3" in shown
