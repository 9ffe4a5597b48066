"""kill -9 in the middle of an extraction, and full disks: it ends Completed, the same bytes, and nothing done twice."""

import hashlib
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from support.deadline import until
from support.server import Server, descendants
from support.sound import decode, tone
from support.spread import thoroughly
from support.traces.files import assert_clean
from support.traces.log import events
from support.traces.processes import (
    assert_ended,
    assert_no_process,
    command_of,
    ffmpegs,
    processes_of,
    program_of,
    workers,
)
from support.traces.rows import rows
from support.trouble.disk import NO_SPACE, filled
from support.trouble.traps import await_kill, run_into, trapped

STORE = "streamsrv.jobs.sqlite:SqliteJobStore"
STORAGE = "streamsrv.storage.local:LocalStorage"
CLIPS = "streamsrv.extract.clips"
ARCHIVE = "streamsrv.extract.archive:Archive"
SEGMENT, WHOLE = "/extract_audio_segment", "/extract_audio"
WAIT_SECONDS = 40
# Chunks have ten seconds.
CHUNK_BYTES = 10 * 44100 * 2 * 2
CLIPS_AT_ALL = 4

# Each server dies at the next one, all in one extraction.
TRAPS = (
    f"after {STORE}.submit_once",
    "before streamsrv.jobs.attempt:Attempt.run",
    "before streamsrv.storage.shelf:Shelf.grow",
    "after streamsrv.storage.shelf:Shelf.grow",
    f"after {CLIPS}:_write_end",
    f"before {CLIPS}:_write_end PosixPath 2",
    f"after {CLIPS}:_write_end",
    f"before {ARCHIVE}.keep",
    "after streamsrv.jobs.results:SqliteResults.record",
    "after streamsrv.files:_sync extract.",
    f"after {ARCHIVE}.keep",
    f"before {STORE}.finish",
    f"after {STORE}.finish",
)
FEW_TRAPS = (TRAPS[0], TRAPS[3], TRAPS[7], TRAPS[-1])
# The same in one segment, which is asked for again each time.
STEP_TRAPS = (
    "before streamsrv.storage.shelf:Shelf.grow",
    f"before {ARCHIVE}.keep",
    "after streamsrv.jobs.results:SqliteResults.record",
    f"after {STORAGE}.put",
)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four clips, each of three chunks, of which the last is short."""
    folder = tmp_path_factory.mktemp("films").resolve()
    return [
        tone(folder / f"{number}.flac", seconds=23 + number, hertz=330 + 110 * number) for number in range(CLIPS_AT_ALL)
    ]


@pytest.fixture(scope="module")
def long_film(films: list[Path]) -> Path:
    """Minutes, which a worker decodes for a while, and AAC's encoder works on for seconds."""
    return tone(films[0].with_name("long.flac"), seconds=120)


def extracting(
    data_dir: Path, films: list[Path], trap: str = "", *, port: int | None = None
) -> AbstractContextManager[Server]:
    """A server that may read the films and decodes one clip at a time; it kills itself at the trap, if there is one."""
    return trapped(data_dir, trap, environment=variables(films), port=port)


def variables(films: list[Path]) -> dict[str, str]:
    return {
        "STREAMSRV_EXTRACT__MEDIA_ROOTS": str(films[0].parent),
        "STREAMSRV_SERVER__SECRET": "the same for all servers",
        "STREAMSRV_WORKERS__PROCESSES": "1",
    }


def ask(server: Server, route: str, films: list[Path], **more: Any) -> requests.Response:
    body = {"video_files": [film.as_uri() for film in films], **more}
    return requests.post(f"{server.url}{route}", json=body, timeout=WAIT_SECONDS)


def begin(server: Server, films: list[Path], **more: Any) -> str:
    """Begin to extract the whole; gives the job's id."""
    reply = ask(server, WHOLE, films, **more)
    assert reply.status_code == 202, reply.text
    return urlsplit(reply.headers["Location"]).path.removeprefix("/status/")


def status(server: Server, job_id: str) -> dict[str, Any]:
    reply = requests.get(f"{server.url}/status/{job_id}", timeout=WAIT_SECONDS)
    assert reply.status_code == 200, reply.text
    return reply.json()


def ended(server: Server, job_id: str) -> dict[str, Any]:
    return until(
        lambda: found if (found := status(server, job_id))["phase"] == "ended" else None,
        what=lambda: f"{status(server, job_id)}\n{server.log.read_text()[-3000:]}",
    )


def file_of(server: Server, document: Mapping[str, Any]) -> bytes:
    """The bytes of what was extracted; the name is their digest."""
    reply = requests.get(f"{server.url}{urlsplit(document['audio_file']).path}", timeout=WAIT_SECONDS)
    assert reply.status_code == 200
    assert hashlib.sha256(reply.content).hexdigest() in document["audio_file"]
    return reply.content


def completed(server: Server, job_id: str) -> bytes:
    document = ended(server, job_id)
    assert document["status"] == "Completed", document
    return file_of(server, document)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, films: list[Path], long_film: Path) -> dict[str, bytes]:
    """What a server makes that nobody disturbs: all films as FLAC, the long ones as M4A."""
    with extracting(tmp_path_factory.mktemp("quiet") / "data", films) as server:
        jobs = {"flac": begin(server, films), "m4a": begin(server, [long_film, *films], format="m4a")}
        made = {form: completed(server, job_id) for form, job_id in jobs.items()}
    (films[0].parent / "whole.flac").write_bytes(made["flac"])
    sound = decode(films[0].parent / "whole.flac")
    assert np.array_equal(sound, np.concatenate([decode(film) for film in films]))
    return made


Chunks = dict[Path, tuple[int, int]]


def chunks(data_dir: Path) -> Chunks:
    """What needn't be decoded again: all chunks of clips that were ended, and full ones of others. Inodes and times."""
    found = {}
    for path in (data_dir / "cache" / "clips").glob("*/*.pcm"):
        facts = path.stat()
        if facts.st_size == CHUNK_BYTES or (path.parent / "end.json").exists():
            found[path] = facts.st_ino, facts.st_mtime_ns
    return found


def clips_ended(data_dir: Path) -> int:
    return len(list((data_dir / "cache" / "clips").glob("*/end.json")))


def assert_goes_on(server: Server, before: Chunks) -> None:
    """Nothing that was there was written again."""
    after = chunks(server.data_dir)
    assert {path: after.get(path) for path in before} == before


def kept_files(data_dir: Path) -> list[Path]:
    return list((data_dir / "files" / "extracted").glob("*"))


@pytest.mark.parametrize("traps", [FEW_TRAPS, *thoroughly((TRAPS,))], ids=["some", "all"])
def test_an_extraction_survives_kills(
    traps: Sequence[str], data_dir: Path, films: list[Path], undisturbed: dict[str, bytes]
) -> None:
    """Killed at one step after the other it is Completed in the end, with the same bytes; no clip is decoded again.

    That of which nobody was told is in the list, and who asks again finds it; that which ended stays as it was.
    """
    first, *others = traps
    with extracting(data_dir, films, first) as server:
        with pytest.raises(requests.ConnectionError):
            begin(server, films)
        await_kill(server)
    ((job_id, row),) = rows(data_dir).items()
    assert (row.status, row.accepted) == ("Pending", True)
    before, clips_before = chunks(data_dir), 0
    for trap in others:
        run_into(data_dir, trap, environment=variables(films))
        if "_write_end" in trap:
            clips_before += 1
            assert clips_ended(data_dir) == clips_before, trap
        after, clips_before = chunks(data_dir), clips_ended(data_dir)
        assert after.items() >= before.items(), trap
        before, row = after, rows(data_dir)[job_id]
        assert row.status == ("Completed" if "after" in trap and "finish" in trap else "Processing"), trap
    with extracting(data_dir, films) as server:
        listed = requests.get(f"{server.url}/v1/extract/jobs", timeout=WAIT_SECONDS).json()["jobs"]
        assert [job["cursor"] for job in listed] == [begin(server, films)] == [job_id]
        assert completed(server, job_id) == undisturbed["flac"]
        assert_goes_on(server, before)
        assert_clean(data_dir)
    assert not processes_of(films[0].parent)  # which those that read films are known by
    assert rows(data_dir)[job_id] == row
    assert (row.failures, row.restarts) == (0, len(traps) - 2)  # it waited at the first one, and was over at the last
    assert len(kept_files(data_dir)) == 1


@pytest.mark.thorough
def test_a_kill_during_encoding(
    data_dir: Path, films: list[Path], long_film: Path, undisturbed: dict[str, bytes]
) -> None:
    """A file that was half encoded is made anew from the chunks that are there; no process of the dead server stays."""
    with extracting(data_dir, films) as server:
        job_id = begin(server, [long_film, *films], format="m4a")
        until(lambda: encoders(data_dir) and status(server, job_id)["progress"] > 1)
        children = server.children()
        server.kill()
        assert_ended(children)
    assert_no_process(data_dir)
    before = chunks(data_dir)
    assert before
    with extracting(data_dir, films) as server:
        assert completed(server, job_id) == undisturbed["m4a"]
        assert_goes_on(server, before)
        assert_clean(data_dir)


def encoders(data_dir: Path) -> list[int]:
    """The ffmpeg processes that make files of this server, without the sandbox around them."""
    return ffmpegs(data_dir, f"{data_dir}/scratch/extract.")


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory, films: list[Path]) -> tuple[int, bytes, bytes]:
    """The port of a server that nobody disturbs, what it says of the first segment, and the segment."""
    with extracting(tmp_path_factory.mktemp("quiet") / "data", films) as server:
        reply = ask(server, SEGMENT, films)
        return int(server.url.rpartition(":")[2]), reply.content, file_of(server, reply.json())


def test_a_segment_survives_kills(data_dir: Path, films: list[Path], step: tuple[int, bytes, bytes]) -> None:
    """Asked again after kills, a step is the same JSON and the same bytes as from a server that nobody killed."""
    port, document, sound = step
    before: Chunks = {}
    for trap in STEP_TRAPS:
        with extracting(data_dir, films, trap, port=port) as server:
            with pytest.raises(requests.ConnectionError):
                ask(server, SEGMENT, films)
            await_kill(server)
        after = chunks(data_dir)
        assert after.items() >= before.items(), trap
        before = after
    with extracting(data_dir, films, port=port) as server:
        again = ask(server, SEGMENT, films)
        assert (again.status_code, again.content) == (200, document)
        assert file_of(server, again.json()) == sound
        assert_goes_on(server, before)
        assert_clean(data_dir)


def test_killed_workers_cost_nothing(
    data_dir: Path, films: list[Path], long_film: Path, undisturbed: dict[str, bytes]
) -> None:
    """A worker that dies takes its ffmpeg along and is replaced: the first attempt is Completed, the same bytes."""
    with extracting(data_dir, films) as server:
        job_id = begin(server, [long_film, *films], format="m4a")
        while (died := deaths(server)) < 2:
            worker, decoder = until(lambda: decoding(server))
            os.kill(worker, signal.SIGKILL)
            assert_ended([worker, decoder])
            with suppress(AssertionError):  # it had just done its task, so nobody misses it: it is another one's turn
                until(partial(died_more_than, server, died), seconds=5)
        before = chunks(data_dir)
        assert completed(server, job_id) == undisturbed["m4a"]
        assert_goes_on(server, before)
        assert_clean(data_dir)
    row = rows(data_dir)[job_id]
    assert (row.attempt, row.failures, row.restarts) == (1, 0, 0)


def deaths(server: Server) -> int:
    """How many workers the server has missed."""
    return len([*events(server, "worker_died")])


def died_more_than(server: Server, count: int) -> bool:
    return deaths(server) > count


def decoding(server: Server) -> tuple[int, int] | None:
    """The worker that decodes, and its ffmpeg, be it in a sandbox or not."""
    for worker in workers(server):
        found = [pid for pid in descendants(worker) if program_of(command_of(pid)) == "ffmpeg"]
        if found:
            return worker, found[0]
    return None


@pytest.mark.thorough
def test_an_extraction_waits_while_the_server_is_restarted(
    data_dir: Path, films: list[Path], long_film: Path, undisturbed: dict[str, bytes]
) -> None:
    """SIGTERM puts it back, uncounted, in time and without a process left; the next server goes on and completes it."""
    with extracting(data_dir, films) as server:
        job_id = begin(server, [long_film, *films], format="m4a")
        until(lambda: encoders(data_dir) and len(chunks(data_dir)) > 3, what=lambda: status(server, job_id))
        children = server.children()
        server.child.terminate()
        assert server.child.wait(10) == 0
        assert_ended(children)
        assert_no_process(data_dir)
    stopped = rows(data_dir)[job_id]
    assert (stopped.status, stopped.failures, stopped.restarts) == ("Pending", 0, 0)
    before = chunks(data_dir)
    with extracting(data_dir, films) as server:
        assert completed(server, job_id) == undisturbed["m4a"]
        assert_goes_on(server, before)
        assert_clean(data_dir)


@pytest.mark.needs_root
def test_a_full_disk_is_said_and_costs_nothing(small_disk: Path, films: list[Path]) -> None:
    """Where nothing can be written a segment is 507 and a whole is 507 or Failed, in words; with space both work."""
    with extracting(small_disk, films) as server:
        with filled(small_disk):
            for route in (SEGMENT, WHOLE):
                reply = ask(server, route, films[:1])
                assert (reply.status_code, NO_SPACE in reply.json()["detail"]) == (507, True), reply.text
            assert requests.get(f"{server.url}/health", timeout=5).status_code == 200
        assert_extracts(server, films[:1])


@pytest.mark.needs_root
def test_a_clip_larger_than_the_disk(small_disk: Path, films: list[Path], long_film: Path) -> None:
    """A clip whose sound doesn't fit is 507, or a Failed job, in words, at once; a smaller one is extracted then."""
    with extracting(small_disk, films) as server:
        document = ended(server, begin(server, [long_film]))
        assert (document["status"], NO_SPACE in document["error"]) == ("Failed", True), document
        assert [*events(server, "job_attempt_failed")] == []
        assert_extracts(server, films[:1])
        step = ask(server, SEGMENT, [long_film], segment_seconds=120)
        assert (step.status_code, NO_SPACE in step.json()["detail"]) == (507, True), step.text
        assert_extracts(server, films[1:2])


@pytest.mark.needs_root
def test_what_is_only_kept_gives_way(small_disk: Path, films: list[Path]) -> None:
    """Sound that was decoded before and that nobody needs now goes when its place is needed: it can be made again."""
    with extracting(small_disk, films) as server:
        for film in films:
            document = ended(server, begin(server, [film], format="mp3"))
            assert document["status"] == "Completed", document


def assert_extracts(server: Server, films: list[Path]) -> None:
    """What fits is extracted, in both ways, and nothing that nobody needs is left."""
    document = ended(server, begin(server, films))
    assert document["status"] == "Completed", document
    path = server.log.with_name("extracted.flac")
    path.write_bytes(file_of(server, document))
    assert np.array_equal(decode(path), np.concatenate([decode(film) for film in films]))
    assert ask(server, SEGMENT, films, segment_seconds=5).status_code == 200
    assert_clean(server.data_dir)
