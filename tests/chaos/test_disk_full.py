"""A disk that is really full: clear words, nothing left behind, and all works again once there is space."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import requests
from support.deadline import until
from support.player import play
from support.server import Server, free_port, serving
from support.sound import FFMPEG, decode
from support.spread import thoroughly
from support.traces.files import assert_clean, assert_gone
from support.traces.log import events
from support.traces.processes import GONE_SECONDS, segmenters
from support.traces.tidy import assert_tidy
from support.trouble.disk import NO_SPACE, PAGE_BYTES, filled
from support.trouble.starts import given_up
from support.wire.conversion import assert_converts, convert
from support.wire.messages import Reply, new_id
from support.wire.stream import StreamUpload

pytestmark = pytest.mark.needs_root

FLAC = {"codec": "flac"}


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes of noise: 1 MB as Opus, 25 MB as FLAC."""
    path = tmp_path_factory.mktemp("song") / "noise.ogg"
    source = "anoisesrc=color=white:amplitude=0.5:duration=180:sample_rate=48000"
    argv = [*FFMPEG, "-f", "lavfi", "-i", source, "-ac", "2", "-c:a", "libopus", "-b:a", "40k", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    return path


@pytest.mark.parametrize("fields", [FLAC, {}], ids=["live", "queued"])
def test_upload_larger_than_the_disk(fields: dict[str, str], small_disk: Path, song: Path, tmp_path: Path) -> None:
    """An upload that doesn't fit is answered by 507 in words, and its bytes go; a smaller one then works."""
    large, job_id = tmp_path / "large.wav", new_id()
    large.write_bytes(song.read_bytes() + bytes(20 << 20))
    with serving(small_disk) as server, StreamUpload(server, job_id, large, fields) as upload:
        assert_no_space_for(upload.finish())
        assert_failed_for_space(server, job_id)
        assert_works(server, song)


@pytest.mark.parametrize("late", [False, True], ids=["live", "queued"])
def test_segments_larger_than_the_disk(late: bool, small_disk: Path, noise: Path, song: Path) -> None:
    """A job whose segments don't fit ends Failed, in words, without another try; what it had made goes."""
    job_id = new_id()
    with serving(small_disk) as server, StreamUpload(server, job_id, noise, FLAC, late=late) as upload:
        if not late:
            upload.go_live()
        assert upload.finish().status == 200
        assert_failed_for_space(server, job_id)
        assert not [*events(server, "job_attempt_failed")]
        assert_works(server, song)


def test_full_disk_under_the_database(small_disk: Path, song: Path) -> None:
    """When not even a row can be written, the server goes on to serve and says so; with space it works as before."""
    with serving(small_disk) as server:
        before = server.submit(song, **FLAC)
        assert server.ended(before)["status"] == "Completed"
        with filled(small_disk):
            for fields in (FLAC, {}):
                with StreamUpload(server, new_id(), song, fields) as upload:
                    assert_no_space_for(upload.finish())
            assert server.job(before)["status"] == "Completed"
            assert_plays(server, before, song)
        until(lambda: {job["status"] for job in server.jobs()} <= {"Completed", "Failed"}, what=server.jobs)
        assert_works(server, song)


def test_disk_that_fills_during_a_job(small_disk: Path, noise: Path, song: Path) -> None:
    """A job that fails for lack of space is recorded as Failed on the full disk, and takes its files along."""
    with serving(small_disk) as server:
        job_id = submit_to_queue(server, noise)
        until(lambda: segmenters(server.data_dir))
        with filled(small_disk):
            until(lambda: not segmenters(server.data_dir))
            assert requests.get(f"{server.url}/health", timeout=5).status_code == 200
            assert_failed_for_space(server, job_id)
        until((small_disk / "ballast").exists)
        assert_works(server, song)


def test_log_on_the_full_disk(small_disk: Path, noise: Path, song: Path) -> None:
    """A log that can't be written for lack of space costs lines, and neither jobs nor requests."""
    with serving(small_disk / "data") as server:  # its log lies beside the data directory
        job_id = submit_to_queue(server, noise)
        until(lambda: segmenters(server.data_dir))
        with filled(small_disk):
            for _ in range(50):  # lines for more than the page in which the log ends
                assert requests.post(f"{server.url}/v1/stream/transcode", timeout=5).status_code == 415
            until(lambda: not segmenters(server.data_dir))
        assert_failed_for_space(server, job_id)
        assert_works(server, song)


@pytest.mark.parametrize("fields", [FLAC, *thoroughly({})], ids=["live", "queued"])
def test_disk_that_fills_during_an_upload(fields: dict[str, str], small_disk: Path, song: Path) -> None:
    """An upload that meets a disk which others filled is refused, and its job ends Failed once that can be written."""
    job_id = new_id()
    with serving(small_disk) as server, StreamUpload(server, job_id, song, fields) as upload:
        if fields:
            upload.go_live()
        upload.trickle(hold_back=100_000)
        with filled(small_disk):
            assert_no_space_for(upload.finish())
        assert server.ended(job_id)["status"] == "Failed"
        assert_gone(small_disk, job_id)
        assert_works(server, song)


def test_start_on_a_full_disk(small_disk: Path, song: Path) -> None:
    """A server whose database can't be opened for lack of space says so in one line; with space it starts as before."""
    with serving(small_disk) as server:
        job_id = server.submit(song, **FLAC)
        assert server.ended(job_id)["status"] == "Completed"
    with filled(small_disk):
        line = given_up(small_disk, free_port())
    assert line.startswith(f"The job database {small_disk / 'streamsrv.sqlite'} can't be used: ")
    with serving(small_disk) as server:
        assert_plays(server, job_id, song)


@pytest.mark.parametrize("late", [False, *thoroughly(True)], ids=["live", "whole"])
def test_conversion_of_what_is_larger_than_the_disk(late: bool, small_disk: Path, song: Path, tmp_path: Path) -> None:
    """A file to convert that doesn't fit is answered by 507 in words, and its bytes go; a smaller one then works."""
    large = tmp_path / "large.wav"
    large.write_bytes(song.read_bytes() + bytes(20 << 20))
    with serving(small_disk) as server:
        assert_no_space_for(convert(server, large, "flac", late=late))
        assert_tidy(server, seconds=GONE_SECONDS)
        assert_converts(server, song)


@pytest.mark.parametrize("late", [*thoroughly(False), True], ids=["live", "whole"])
def test_conversion_to_what_is_larger_than_the_disk(late: bool, small_disk: Path, noise: Path, song: Path) -> None:
    """A result that doesn't fit is answered by 507, in whatever format; no part of it is a reply."""
    with serving(small_disk) as server:
        for form in ("wav", "flac", "mp3", "m4a", "ogg"):
            with filled(small_disk, but=noise.stat().st_size + (1 << 18)):
                assert_no_space_for(convert(server, noise, form, late=late))
                assert_tidy(server, seconds=GONE_SECONDS)
        assert_converts(server, song)


@pytest.mark.parametrize("suffixes", [(".mp3", ".ogg", ".m4a"), *thoroughly(None)], ids=["some", "all"])
def test_conversion_whose_last_bytes_dont_fit(small_disk: Path, song: Path, suffixes: tuple[str, ...] | None) -> None:
    """Where all but the end of the result has space the answer is 507, in whatever format."""
    with serving(small_disk, environment={"STREAMSRV_LIMITS__RESERVE_BYTES": "0"}) as server:
        free = os.statvfs(small_disk).f_bavail
        forms = requests.get(f"{server.url}/v1/formats", timeout=30).json()["formats"]
        for form in {
            form["suffix"]: form["name"] for form in forms if suffixes is None or form["suffix"] in suffixes
        }.values():
            fits = convert(server, song, form)
            assert (fits.status, fits.whole) == (200, True), form
            needed = sum(-(-size // PAGE_BYTES) * PAGE_BYTES for size in (song.stat().st_size, len(fits.body)))
            assert_space_is_back(server, free)  # else there would be more of it later
            with filled(small_disk, but=needed - PAGE_BYTES):
                assert_no_space_for(convert(server, song, form))
                assert_tidy(server, seconds=GONE_SECONDS)
            assert_space_is_back(server, free)
        with filled(small_disk, but=needed):
            assert len(convert(server, song, form).body) == len(fits.body)
        assert_tidy(server, seconds=GONE_SECONDS)
        assert_converts(server, song)


def assert_space_is_back(server: Server, free_blocks: int) -> None:
    """Nothing is left, and no deleted file is still open, whose space would come back later only."""
    assert_tidy(server, seconds=GONE_SECONDS)
    until(lambda: os.statvfs(server.data_dir).f_bavail >= free_blocks, seconds=GONE_SECONDS)


def submit_to_queue(server: Server, file: Path) -> str:
    """A job that waits until its upload is whole, so that there is one attempt, and some seconds of work."""
    with StreamUpload(server, new_id(), file, {"codec": "aac", "bitrate": "64000"}, late=True) as upload:
        assert upload.answered()
        return upload.job_id


def assert_no_space_for(answer: Reply) -> None:
    assert answer.status == 507, answer.body[:1000]
    assert NO_SPACE in answer.detail


def assert_failed_for_space(server: Server, job_id: str) -> None:
    """The job is Failed, says why, and its files go."""
    job = server.ended(job_id)
    assert job["status"] == "Failed"
    assert NO_SPACE in job["error"]
    assert_gone(server.data_dir, job_id)
    assert_clean(server.data_dir)


def assert_works(server: Server, song: Path) -> None:
    """The next job of a usual size is done and plays."""
    job_id = server.submit(song, **FLAC)
    assert server.ended(job_id)["status"] == "Completed"
    assert_plays(server, job_id, song)
    assert_clean(server.data_dir)


def assert_plays(server: Server, job_id: str, song: Path) -> None:
    played = play(server.playlist(job_id), server.log.parent)
    assert np.array_equal(played.sound, decode(song))
