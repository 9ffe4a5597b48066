"""Songs in trouble, and many of them: cancelled, deadly or too large ones, and what they leave to all others."""

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.deadline import until
from support.server import Server
from support.songs import completed_song, ended_song, get_song, music, send_song, song_when
from support.sound import decode, tone
from support.traces.files import assert_clean, assert_gone
from support.traces.log import events
from support.traces.processes import GONE_SECONDS, ffmpegs, resident_kib, state_of, workers
from support.traces.rows import rows
from support.tracks import has_segments, remove, served
from support.trouble.disk import NO_SPACE, filled
from support.trouble.watched import WORKERS, Note, Studio, plan
from support.wire.upload import connect

# Servers that load models one after the other.
pytestmark = pytest.mark.timeout(300)

WINDOW_SECONDS = 0.1
CROWD, CROWD_SECONDS = 6, 3
# Decoded, the song alone is twice as much as a process may grow by.
LONG_SECONDS = 150
GROWTH_KIB = 40 << 10
STALLED = 20


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def server(studio: Studio) -> Iterator[Server]:
    with studio.open(window_seconds=WINDOW_SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments."""
    return music(tmp_path_factory.mktemp("song") / "song.flac", seconds=14)


@pytest.fixture(scope="module")
def short(song: Path) -> Path:
    """As many windows as wait for an encoder that takes none."""
    return music(song.with_name("short.flac"), seconds=2, seed=7)


@pytest.fixture(scope="module")
def endless(song: Path) -> Path:
    """Hours, which take many seconds to hear through."""
    return tone(song.with_name("endless.flac"), seconds=3 * 3600, rate=8000, channels=1)


def leaning(folder: Path, balance: float, seconds: float) -> Path:
    """Noise whose right channel is so loud beside its left one: its windows are known by that."""
    pan = f"-af pan=stereo|c0=c0|c1={balance}*c0"
    return music(folder / f"{balance}.flac", seconds=seconds, seed=round(balance * 100), channels=1, options=pan)


def windows_of(notes: list[Note], balance: float) -> list[Note]:
    return [note for note in notes if round(note.balance, 1) == balance]


def running_job(server: Server) -> str:
    """The one job that hasn't ended."""
    (job,) = (job for job, row in rows(server.data_dir).items() if row.status in ("Pending", "Processing"))
    return job


@pytest.mark.thorough
def test_a_crowd_of_songs_on_two_workers(tmp_path: Path) -> None:
    """Each worker loads the model once, both work all the time, and who came first is served first."""
    studio = Studio(tmp_path)
    balances = [round(0.2 + 0.1 * number, 1) for number in range(CROWD)]
    files = [leaning(tmp_path, balance, CROWD_SECONDS) for balance in balances]
    with studio.open(window_seconds=WINDOW_SECONDS) as server:
        sent = [send_song(server, file, model="watched") for file in files]
        found = [completed_song(server, song) for song in sent]
    assert {device for each in found for device in each["devices"]} == {"cpu:0", "cpu:1"}
    assert len(studio.notes("loaded")) == WORKERS
    began, ended = studio.notes("began"), studio.notes("ended")
    assert len(began) == len(ended) == len({note.window for note in began}) == CROWD * plan(CROWD_SECONDS).count
    assert [each["started_at"] for each in found] == sorted(each["started_at"] for each in found)
    before_their_turn = [
        note
        for earlier, later in combinations(balances, 2)
        for note in between(windows_of(began, earlier), windows_of(began, later))
    ]
    assert len(before_their_turn) < len(began) / 3
    assert together(began, ended) > 0.5 * CROWD * plan(CROWD_SECONDS).count * WINDOW_SECONDS / WORKERS


def between(overtaking: list[Note], others: list[Note]) -> list[Note]:
    """What others were given while these were there: gaps."""
    return [note for note in others if overtaking[0].at < note.at < overtaking[-1].at]


def together(began: list[Note], ended: list[Note]) -> float:
    """For how many seconds both workers were at a window."""
    changes = sorted([(note.at, 1) for note in began] + [(note.at, -1) for note in ended])
    busy, seconds = 0, 0.0
    for (at, change), (until_then, _) in pairwise(changes):
        busy += change
        seconds += until_then - at if busy == WORKERS else 0.0
    return seconds


@pytest.mark.thorough
def test_an_urgent_song_overtakes(tmp_path: Path) -> None:
    """Once an urgent song is at its windows, one that came before it gets only what it leaves over."""
    studio = Studio(tmp_path)
    # Windows so long that a busy machine's pauses between them hardly count.
    with studio.open(window_seconds=4 * WINDOW_SECONDS) as server:
        long, other = leaning(tmp_path, 0.3, 90), leaning(tmp_path, 0.7, 10)
        first = send_song(server, long, model="watched")
        until(lambda: len(studio.notes("began")) > WORKERS)
        urgent = send_song(server, other, model="watched", priority="urgent")
        completed_song(server, urgent)
        assert get_song(server, first)["status"] == "Processing"
        began = studio.notes("began")
    overtaking = windows_of(began, 0.7)
    assert len(overtaking) == plan(10).count
    assert len(between(overtaking, windows_of(began, 0.3))) < len(overtaking) / 2


@pytest.mark.thorough
def test_a_deadly_model_harms_nobody_else(studio: Studio, server: Server, song: Path, short: Path) -> None:
    """A song that kills whatever works on it is Failed, in words; others don't even start anew, nor does the server."""
    before = studio.written
    other = send_song(server, song, model="watched")
    until(lambda: studio.notes("began", before))
    deadly = send_song(server, short, model="deadly")
    found = ended_song(server, deadly)
    assert found["status"] == "Failed"
    assert found["error"].endswith(".")
    assert 3 <= len([*events(server, "worker_died")]) <= 9
    completed_song(server, other)
    windows = studio.windows(before)
    assert len(windows) == len(set(windows)) == plan(14).count
    completed_song(server, send_song(server, short, model="tiny"))
    for row in rows(server.data_dir).values():
        assert (row.failures, row.restarts, row.attempt) == (0, 0, 1)
    assert_clean(server.data_dir)
    for each in (other, deadly):
        remove(server, each)


def cancelled(server: Server, song: str, job: str) -> None:
    """It ends Cancelled in a moment, with all that belongs to it."""
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=GONE_SECONDS).status_code == 202
    until(lambda: get_song(server, song)["status"] == "Cancelled", seconds=GONE_SECONDS)
    until(lambda: not ffmpegs(server.data_dir, job), seconds=GONE_SECONDS, what=lambda: ffmpegs(server.data_dir, job))
    assert_gone(server.data_dir, job)
    assert_clean(server.data_dir)
    remove(server, song)


@pytest.mark.thorough
def test_cancelled_while_loading(studio: Studio, server: Server, song: Path, short: Path) -> None:
    """A song whose model is being loaded ends Cancelled at once; the other worker takes the next song meanwhile."""
    sent = send_song(server, song, model="heavy")
    until(lambda: studio.notes("loading"))
    cancelled(server, sent, running_job(server))
    assert_works(server, short)


@pytest.mark.thorough
def test_cancelled_while_measuring(server: Server, endless: Path, short: Path) -> None:
    """A song that is being heard through ends Cancelled at once, and nobody hears it to its end."""
    sent = send_song(server, endless, model="tiny")
    job = running_job(server)
    until(lambda: ffmpegs(server.data_dir, job))
    assert get_song(server, sent)["phase"] == "measuring"
    cancelled(server, sent, job)
    assert_works(server, short)


def test_cancelled_while_separating(studio: Studio, server: Server, short: Path, tmp_path: Path) -> None:
    """A song that is half separated ends Cancelled at once, and at most the windows that were begun are ended."""
    before = studio.written
    sent = send_song(server, music(tmp_path / "long.flac", seconds=60), model="watched")
    job = running_job(server)
    song_when(server, sent, has_segments(1))
    cancelled(server, sent, job)
    begun = len(studio.windows(before))
    assert begun < plan(60).count
    assert_works(server, short)
    assert len(studio.windows(before)) == begun
    until(lambda: memory_files(server) == 0, seconds=GONE_SECONDS)


@pytest.mark.thorough
def test_cancelled_while_finishing(server: Server, short: Path) -> None:
    """A song that waits for its encoders ends Cancelled at once, even where one of them has stopped for good."""
    sent = send_song(server, short, model="watched")
    job = running_job(server)
    encoder = until(lambda: ffmpegs(server.data_dir, "track.mp3"))[0]
    os.kill(encoder, signal.SIGSTOP)
    song_when(server, sent, lambda found: found["phase"] == "finishing")
    cancelled(server, sent, job)
    assert_works(server, short)


def assert_works(server: Server, short: Path) -> None:
    """The next song is done."""
    sent = send_song(server, short, model="tiny")
    completed_song(server, sent)
    remove(server, sent)
    assert_clean(server.data_dir)


def test_players_that_take_nothing_hold_up_nobody(server: Server, song: Path) -> None:
    """Any number of clients may stop in the middle of a segment: the song goes on, and others get all of it."""
    sent = send_song(server, song, model="watched")
    song_when(server, sent, has_segments(1))
    paths = [path for path in served(server, sent) if "segment" in path]
    with ExitStack() as stack:
        for number in range(STALLED):
            stack.enter_context(stalled(server, paths[number % len(paths)]))
        completed_song(server, sent)
        had = served(server, sent)
        assert all(path in had for path in paths)
    assert requests.get(f"{server.url}/health", timeout=5).status_code == 200
    remove(server, sent)


def stalled(server: Server, path: str) -> socket.socket:
    """A client that has taken the first bytes of a reply, and no more."""
    client = connect(server.url, patience=GONE_SECONDS, window_bytes=1024)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


@pytest.mark.thorough
def test_a_song_that_changes_is_measured_anew(tmp_path: Path, song: Path, short: Path) -> None:
    """A file that isn't what was measured is our own fault, and tried again; one that is gone for good is Failed."""
    studio = Studio(tmp_path)
    trap = "before streamsrv.separate.listening:Listening.tape"
    with studio.open(trap=trap, variables={"STREAMSRV_TRAP_HOLDS": "1"}) as server:
        sent = send_song(server, song, model="tiny")
        held(server)
        (source,) = (server.data_dir / "files" / "songs").iterdir()
        source.write_bytes(short.read_bytes())
        go_on(server)
        held(server)
        go_on(server)
        assert completed_song(server, sent)["duration_seconds"] == 2.0
        assert [row.attempt for row in rows(server.data_dir).values()] == [2]
        remove(server, sent)
        sent = send_song(server, song, model="tiny")
        held(server)
        next((server.data_dir / "files" / "songs").iterdir()).unlink()
        go_on(server)
        found = ended_song(server, sent)
        assert (found["status"], found["error"]) == ("Failed", "The server failed while it worked on this job.")
        assert_clean(server.data_dir)


def held(server: Server) -> None:
    """The server stands at its trap."""
    until(lambda: state_of(server.child.pid) == "T")


def go_on(server: Server) -> None:
    server.child.send_signal(signal.SIGCONT)
    until(lambda: state_of(server.child.pid) != "T")


@pytest.mark.needs_root
def test_a_disk_that_is_full(small_disk: Path, tmp_path: Path, short: Path) -> None:
    """A song that it hinders, or that is larger, is Failed, in words, and all of it goes; what is done stays."""
    studio = Studio(tmp_path / "studio")
    longer = music(tmp_path / "longer.flac", seconds=8)
    with studio.open(data_dir=small_disk, window_seconds=0.5) as server:
        done = send_song(server, short, model="watched")
        completed_song(server, done)
        had, before = served(server, done), studio.written
        sent = send_song(server, longer, model="watched")
        job = running_job(server)
        song_when(server, sent, has_segments(1))
        with filled(small_disk):
            until(lambda: not ffmpegs(small_disk, "scratch"))
            assert served(server, done) == had
        found = ended_song(server, sent)
        assert (found["status"], NO_SPACE in found["error"]) == ("Failed", True), found
        assert len(set(studio.windows(before))) <= plan(8).count
        assert_gone(small_disk, job)
        found = ended_song(server, send_song(server, music(tmp_path / "large.flac", seconds=30), model="tiny"))
        assert (found["status"], NO_SPACE in found["error"]) == ("Failed", True), found
        assert not [*events(server, "job_attempt_failed")]
        assert_works(server, music(tmp_path / "next.flac", seconds=2, seed=9))
        assert served(server, done) == had


@pytest.mark.thorough
def test_a_long_song_takes_no_more_memory(server: Server, tmp_path: Path) -> None:
    """Minutes of sound pass through the server and its workers without staying there."""
    sent = send_song(server, tone(tmp_path / "long.flac", seconds=LONG_SECONDS), model="tiny")
    song_when(server, sent, lambda found: found["progress"] > 10)
    pids = [server.child.pid, *workers(server)]
    start = {pid: resident_kib(pid) for pid in pids}
    files, growth = [0], [0]

    def is_over(found: Mapping[str, Any]) -> bool:
        files.append(memory_files(server))
        growth.extend(resident_kib(pid) - start[pid] for pid in pids)
        return found["status"] != "Processing"

    found = song_when(server, sent, is_over, seconds=100)
    assert found["status"] == "Completed"
    assert max(growth) < GROWTH_KIB
    # A window and what comes of it, each by a descriptor and that of its mapping: for each worker, and for what waits.
    assert 0 < max(files) <= 4 * (WORKERS + 2)
    until(lambda: memory_files(server) == 0, seconds=GONE_SECONDS)
    assert len(decode(found["tracks"][0]["wav_url"])) == LONG_SECONDS * found["sample_rate"]
    remove(server, sent)


def memory_files(server: Server) -> int:
    """The shared arrays that the server has open."""
    found = 0
    for entry in Path(f"/proc/{server.child.pid}/fd").iterdir():
        try:
            found += "streamsrv-array" in str(entry.readlink())
        except FileNotFoundError:
            continue  # it was closed meanwhile
    return found
