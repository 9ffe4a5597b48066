"""An upload in the making: it is heard while it is sent, watched, cancelled and given up."""

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import m3u8
import numpy as np
import pytest
import requests
from support.deadline import until
from support.player import play
from support.server import ENDED, Server, serving
from support.sound import FFMPEG, decode, loudest_hertz, tone
from support.traces.files import files_of
from support.traces.tidy import assert_tidy
from support.wire.events import Event, listen
from support.wire.messages import new_id
from support.wire.stream import StreamUpload

SECONDS, HERTZ, RATE = 40.0, 660.0, 44100
CANCEL_SECONDS = 2.0


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that works on one job at a time, so that others wait."""
    one = {"STREAMSRV_JOBS__CONCURRENCY": "1"}
    with serving(tmp_path_factory.mktemp("live") / "data", environment=one) as server:
        yield server


@pytest.fixture
def server(quiet_server: Server) -> Iterator[Server]:
    yield quiet_server
    assert_tidy(quiet_server)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven segments of sound, and small enough to be sent at once."""
    return tone(tmp_path_factory.mktemp("song") / "song.wav", seconds=SECONDS, hertz=HERTZ, rate=RATE, channels=1)


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes, which an encoder needs some seconds for."""
    return tone(tmp_path_factory.mktemp("song") / "long.flac", seconds=180)


def find_job(server: Server, job_id: str) -> dict[str, Any] | None:
    reply = requests.get(f"{server.url}/v1/stream/job/{job_id}", timeout=30)
    return reply.json() if reply.status_code == 200 else None


def await_job(server: Server, job_id: str, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job once it is there and as wanted."""

    def as_wanted() -> dict[str, Any] | None:
        job = find_job(server, job_id)
        return job if job is not None and good(job) else None

    return until(as_wanted, what=lambda: find_job(server, job_id))


def plays(server: Server, job_id: str) -> bool:
    """There is something to be heard of the job."""
    job = find_job(server, job_id)
    return job is not None and job["live_url"] is not None


def assert_files_go(server: Server, job_id: str, *, seconds: float) -> None:
    """Within so long there is no file of the job, and no process that works."""

    def left() -> list[object]:
        return [*files_of(server.data_dir, job_id), *server.children()]

    until(lambda: not left(), seconds=seconds, what=left)


def test_a_song_is_heard_while_it_is_sent(server: Server, song: Path, tmp_path: Path) -> None:
    """A named upload is listed from its first bytes on; live.m3u8 waits for the first segment, then plays and grows."""
    job_id = new_id()
    url = server.playlist(job_id, "live.m3u8")
    with StreamUpload(server, job_id, song, {"codec": "flac"}) as upload, ThreadPoolExecutor(1) as pool:
        upload.send_until(0.01)
        assert await_job(server, job_id, lambda _: True)["phase"] == "uploading"
        assert server.jobs()[0]["id"] == job_id
        held = pool.submit(requests.get, url, timeout=30)
        upload.send_slowly(0.1, 0.5, until=held.done)
        early = held.result()
        assert (early.status_code, early.headers["Cache-Control"]) == (200, "no-cache")
        assert not m3u8.loads(early.text).is_endlist
        played = play(url, tmp_path)
        assert loudest_hertz(played.sound, RATE) == pytest.approx(HERTZ, abs=1)
        job = server.job(job_id)
        assert (job["status"], job["phase"]) == ("Processing", "uploading")
        assert job["received_bytes"] < song.stat().st_size
        assert upload.finish().status == 200
    assert server.ended(job_id)["status"] == "Completed"
    whole = play(url, tmp_path)
    assert whole.playlist.is_endlist
    assert requests.get(url, timeout=30).text.startswith(early.text)
    assert np.array_equal(whole.sound, decode(song))


def test_progress_follows_the_upload(server: Server, song: Path) -> None:
    """Progress grows with the bytes that have come, never falls, and is 100 only at the end."""
    job_id, seen = new_id(), [0.0]
    with StreamUpload(server, job_id, song, {"quality_profile": "low"}) as upload:
        upload.send_until(0.1)
        for share in (0.25, 0.5, 0.75):
            comes_to = partial(has_come_to, server, job_id, seen, seen[-1] + 5)
            upload.send_slowly(share, share + 0.2, until=comes_to)
        assert seen[-1] < 100
        assert upload.finish().status == 200
    while server.job(job_id)["status"] not in ENDED:
        progress_of(server, job_id, seen)
    assert server.job(job_id)["progress"] == 100
    assert seen == sorted(seen)


def has_come_to(server: Server, job_id: str, seen: list[float], progress: float) -> bool:
    return progress_of(server, job_id, seen) > progress


def progress_of(server: Server, job_id: str, seen: list[float]) -> float:
    job = find_job(server, job_id)
    seen.append(job["progress"] if job else 0.0)
    return seen[-1]


def test_a_player_follows_the_upload_to_its_end(server: Server, song: Path) -> None:
    """ffmpeg as a player opens live.m3u8 while the song is sent, and has heard each sample when it has ended."""
    job_id = new_id()
    with StreamUpload(server, job_id, song, {"codec": "flac"}) as upload, ThreadPoolExecutor(1) as pool:
        upload.send_slowly(0.2, 0.6, until=lambda: plays(server, job_id))
        player = pool.submit(follow, server.playlist(job_id, "live.m3u8"))
        upload.send_slowly(0.6, 0.9, until=lambda: server.job(job_id)["progress"] > 50)
        assert not player.done()
        assert upload.finish().status == 200
        assert np.array_equal(player.result(timeout=60), decode(song))


def follow(url: str) -> np.ndarray:
    """Play from the first segment on, which ffmpeg has to be told, and wait for more until the playlist has ended."""
    argv = [*FFMPEG, "-live_start_index", "0", "-i", url, "-f", "s16le", "pipe:1"]
    heard = subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(heard, dtype="<i2").reshape(-1, 1)


@pytest.mark.parametrize("options", [{"codec": "aac"}, {}], ids=["encoded as it comes", "kept for later"])
def test_a_client_that_leaves_takes_its_job_along(server: Server, song: Path, options: dict[str, str]) -> None:
    """An upload that breaks off ends Failed, in words; its files and ffmpeg go, and its name is free again."""
    job_id = new_id()
    with StreamUpload(server, job_id, song, options) as upload:
        if options:
            upload.send_slowly(0.3, 0.8, until=lambda: plays(server, job_id))
        else:
            upload.send_until(0.5)
            await_job(server, job_id, lambda job: job["phase"] == "uploading")
    left_at = time.monotonic()
    job = server.ended(job_id, seconds=5)
    assert (job["status"], job["error"]) == ("Failed", "The upload ended before the file was complete.")
    assert_files_go(server, job_id, seconds=left_at + 5 - time.monotonic())
    assert requests.get(server.playlist(job_id, "live.m3u8"), timeout=30).status_code == 404
    assert server.submit(song, query=f"?job_id={job_id}") == job_id
    assert server.ended(job_id)["status"] == "Completed"


def test_one_name_is_one_upload(server: Server, song: Path) -> None:
    """While an upload arrives its name is taken: a second one is told so, and the first goes on as if nothing was."""
    job_id = new_id()
    with StreamUpload(server, job_id, song, {"codec": "flac"}) as upload:
        upload.send_slowly(0.3, 0.8, until=lambda: plays(server, job_id))
        with StreamUpload(server, job_id, song, {"codec": "aac"}) as second:
            reply = second.finish()
        assert (reply.status, reply.document["type"]) == (409, "/problems/conflict")
        assert plays(server, job_id)
        assert upload.finish().status == 200
    job = server.ended(job_id)
    assert (job["status"], job["codec"], job["duration_seconds"]) == ("Completed", "flac", SECONDS)


@pytest.mark.parametrize("when", ["uploading", "encoded as it comes", "running", "queued"])
def test_cancelled_within_two_seconds(server: Server, song: Path, long_song: Path, when: str) -> None:
    """DELETE ends a job wherever it is: soon it is Cancelled, nothing of it is left, and its sender is told."""
    job_id = new_id()
    with ExitStack() as stack:
        upload, others = cancellable(server, stack, when, job_id, song, long_song)
        begun = time.monotonic()
        assert requests.delete(f"{server.url}/v1/stream/job/{job_id}", timeout=30).status_code == 202
        assert server.ended(job_id, seconds=CANCEL_SECONDS)["status"] == "Cancelled"
        until(lambda: not files_of(server.data_dir, job_id), seconds=begun + CANCEL_SECONDS - time.monotonic())
        if upload is not None:
            reply = upload.reply()
            assert (reply.status, reply.document["type"]) == (409, "/problems/conflict")
        for other in others:
            requests.delete(f"{server.url}/v1/stream/job/{other}", timeout=30)
            server.ended(other)
    assert_files_go(server, job_id, seconds=CANCEL_SECONDS)
    assert requests.get(server.playlist(job_id, "live.m3u8"), timeout=30).status_code == 404
    assert requests.delete(f"{server.url}/v1/stream/job/{job_id}", timeout=30).status_code == 204
    assert find_job(server, job_id) is None


def cancellable(
    server: Server, stack: ExitStack, when: str, job_id: str, song: Path, long_song: Path
) -> tuple[StreamUpload | None, list[str]]:
    """Bring the job to where it is to be cancelled; gives its upload, if that goes on, and jobs before it."""
    if when == "queued":
        before = server.submit(long_song)
        server.submit(long_song, query=f"?job_id={job_id}")
        await_job(server, job_id, lambda job: job["queue_position"] == 1)
        return None, [before]
    if when == "running":
        server.submit(long_song, query=f"?job_id={job_id}")
        await_job(server, job_id, lambda job: job["phase"] == "working" and job["live_url"] is not None)
        return None, []
    options = {"codec": "mp3"} if when == "encoded as it comes" else {}
    upload = stack.enter_context(StreamUpload(server, job_id, song, options))
    upload.send_slowly(0.3, 0.8, until=lambda: plays(server, job_id) or not options)
    await_job(server, job_id, lambda job: job["phase"] == "uploading")
    return upload, []


def events_of(server: Server, job_id: str, *, last: int = 0, most: int = 1000) -> list[Event]:
    events = listen(f"{server.url}/v1/stream/job/{job_id}/events", last=last, most=most)
    assert {event.name for event in events} <= {"job"}
    return events


def test_events_go_on_where_they_broke_off(server: Server, long_song: Path) -> None:
    """A listener that comes back with Last-Event-ID is told what is new, each change once, up to the job's end."""
    job_id = server.submit(long_song)
    first = events_of(server, job_id, most=2)
    rest = events_of(server, job_id, last=first[-1].number)
    events = [*first, *rest]
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    shares = [event.document["progress"] for event in events]
    assert shares == sorted(shares)
    assert {event.document["status"] for event in events[:-1]} <= {"Pending", "Processing"}
    assert (events[-1].document["status"], events[-1].document["progress"]) == ("Completed", 100)
    assert events_of(server, job_id, last=numbers[-1]) == []
    assert [event.number for event in events_of(server, job_id)] == [numbers[-1]]


def test_events_tell_of_an_upload(server: Server, song: Path) -> None:
    """A listener sees an upload from its arrival to its end: uploading, working or waiting, ended."""
    job_id = new_id()
    with StreamUpload(server, job_id, song, {"codec": "opus"}) as upload, ThreadPoolExecutor(1) as pool:
        upload.send_until(0.05)
        await_job(server, job_id, lambda _: True)
        heard = pool.submit(events_of, server, job_id)
        upload.send_slowly(0.3, 0.8, until=lambda: plays(server, job_id))
        assert upload.finish().status == 200
        events = heard.result(timeout=30)
    phases = list(dict.fromkeys(event.document["phase"] for event in events))
    assert phases in (["uploading", "working", "ended"], ["uploading", "ended"])
    assert any(event.document["live_url"] for event in events if event.document["phase"] == "uploading")
    assert events[-1].document["status"] == "Completed"
