"""kill -9 at any instant: what was accepted ends Completed, what wasn't ends Failed, and nothing is left over."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin

import m3u8
import numpy as np
import pytest
import requests
from support.deadline import until
from support.player import play
from support.server import Child, Server, free_port, serving
from support.sound import decode
from support.spread import thoroughly
from support.traces.files import assert_clean, assert_gone, digest, leftovers
from support.traces.log import endings, events
from support.traces.processes import GONE_SECONDS, assert_no_process, processes_of, segmenters
from support.traces.rows import rows
from support.trouble.starts import given_up
from support.trouble.traps import await_kill, run_into, trapped
from support.wire.messages import new_id
from support.wire.stream import StreamUpload

LAST = "segment_00003"
FLAC = {"codec": "flac"}
STORE = "streamsrv.jobs.sqlite:SqliteJobStore"
STORAGE = "streamsrv.storage.local"
SYNC = "streamsrv.files:_sync"

# Each server dies at the next one, which it comes to with an upload of its own.
NOT_ACCEPTED = {
    "after the job row": f"after {STORE}.submit",
    "after the last byte": "before streamsrv.storage.spool:Spool.end",
    "after the spool's sync": "after streamsrv.storage.spool:Spool.end",
    "between the source's sync and its rename": f"after {SYNC} /spool/",
    "after the source's put": f"after {STORAGE}:LocalStorage.put_all uploads/",
    "before accept": f"before {STORE}.accept",
}
NOT_ACCEPTED_LIVE = {
    "after the claim": f"after {STORE}.claim_upload",
    "after the second segment's rows": f"after {STORE}.add_segments segment_00002",
}
# Each server dies at the next one, all in one job.
ACCEPTED = {
    "after accept": f"after {STORE}.accept",
    "after the claim": "before streamsrv.jobs.attempt:Attempt.run",
    "after the first segment's commit": f"after {STORE}.add_segments segment_00001",
    "between the last segment and its sync": f"before {SYNC} {LAST}",
    "between the last segment's sync and its rename": f"after {SYNC} {LAST}",
    "between the last segment's put and its row": f"after {STORAGE}:LocalStorage.put_all {LAST}",
    "between the last segment's row and the commit": f"after streamsrv.jobs.database:Transaction.run_each {LAST}",
    "before finish": f"before {STORE}.finish",
    "after finish": f"after {STORE}.finish",
}
# Of those, the ones that a live job meets in another state. The last segment races with the acceptance.
LIVE = ("after accept", "between the last segment's put and its row", "before finish")
KILLS, MANY_KILLS = 6, 20


def test_uploads_that_were_not_accepted_fail(data_dir: Path, song: Path) -> None:
    """A kill before the acceptance is recorded: no 200 was sent, the job ends Failed and its files go."""
    sent = []
    for name, trap in NOT_ACCEPTED.items():
        sent.append(job_id := new_id())
        with trapped(data_dir, trap) as server, StreamUpload(server, job_id, song, FLAC, late=True) as upload:
            assert not upload.answered(), name
            await_kill(server)
        assert not rows(data_dir)[job_id].accepted, name
    assert_fail_after_restart(data_dir, sent)


def test_live_jobs_that_were_not_accepted_fail(data_dir: Path, song: Path) -> None:
    """A kill while a job works on an upload that still arrives: it ends Failed, and what it had published goes."""
    sent = []
    for name, trap in NOT_ACCEPTED_LIVE.items():
        sent.append(job_id := new_id())
        with trapped(data_dir, trap) as server, StreamUpload(server, job_id, song, FLAC) as upload:
            with suppress(OSError):  # it dies at any line
                upload.go_live()
                upload.trickle(hold_back=100)
            await_kill(server)
        assert rows(data_dir)[job_id].status == "Processing", name
    assert_fail_after_restart(data_dir, sent)


def test_accepted_job_is_completed(data_dir: Path, song: Path) -> None:
    """Killed at each step after the acceptance: it ends Completed, once, sounds as it should; what it served stays."""
    job_id = new_id()
    served: Mapping[str, str] = {}
    first, *others = ACCEPTED.values()
    with trapped(data_dir, first) as server, StreamUpload(server, job_id, song, FLAC, late=True) as upload:
        upload.answered()
        await_kill(server)
    for trap in others:
        if LAST in trap and any(name.startswith(LAST) for name in served):
            continue  # a busy machine commits all segments at once, and none of them is made again
        run_into(data_dir, trap)
        row = rows(data_dir)[job_id]
        assert row.accepted
        assert row.published.items() >= served.items(), trap
        served = row.published
    assert_completes_after_restart(data_dir, job_id, song)


@pytest.mark.parametrize("trap", [ACCEPTED[name] for name in LIVE], ids=LIVE)
def test_accepted_live_job_is_completed(trap: str, data_dir: Path, song: Path) -> None:
    """The same for a job that began while its upload arrived; a kill that comes before the acceptance fails it."""
    job_id = new_id()
    with trapped(data_dir, trap) as server, StreamUpload(server, job_id, song, FLAC) as upload:
        upload.go_live()
        heard = upload.answered()
        await_kill(server)
    if rows(data_dir)[job_id].accepted:
        assert_completes_after_restart(data_dir, job_id, song)
    else:
        assert not heard
        assert_fail_after_restart(data_dir, [job_id])


def assert_completes_after_restart(data_dir: Path, job_id: str, song: Path) -> None:
    before = rows(data_dir)[job_id]
    assert before.accepted
    with serving(data_dir) as server:
        assert server.ended(job_id)["status"] == "Completed"
        assert_plays(server, job_id, song, before.published)
        assert_clean(data_dir)
        assert endings(server, job_id).count("Completed") <= 1
    assert before.status != "Completed" or rows(data_dir)[job_id] == before


def assert_fail_after_restart(data_dir: Path, sent: Sequence[str]) -> None:
    with serving(data_dir) as server:
        for job_id in sent:
            job = server.job(job_id)
            assert (job["status"], job["error"]) == ("Failed", "The upload did not arrive completely.")
            assert_gone(data_dir, job_id)
        assert_clean(data_dir)


def assert_plays(server: Server, job_id: str, song: Path, served: Mapping[str, str]) -> None:
    """Every sample of the song comes out, and segments that were served before are the same bytes."""
    played = play(server.playlist(job_id), server.data_dir.parent)
    assert np.array_equal(played.sound, decode(song))
    assert segments_of(server, job_id).items() >= served.items()


def segments_of(server: Server, job_id: str) -> dict[str, str]:
    """Name and digest of all that a completed job's playlist lists, the sum of its durations checked."""
    url = server.playlist(job_id)
    reply = requests.get(url, timeout=30)
    assert reply.status_code == 200, reply.text
    playlist = m3u8.loads(reply.text)
    assert sum(segment.duration for segment in playlist.segments) == pytest.approx(13.5, abs=0.1)
    names = [part.uri for part in playlist.segment_map if part] + [segment.uri for segment in playlist.segments]
    return {name: digest(requests.get(urljoin(url, name), timeout=30).content) for name in names}


class Crowd:
    """Clients that send songs to a server that dies, and remember which of them were told 200."""

    def __init__(self, song: Path, chance: random.Random) -> None:
        self._song = song
        self._chance = chance
        self._threads: list[threading.Thread] = []
        self.sent: list[str] = []
        self.heard: set[str] = set()

    def come(self, server: Server) -> None:
        """Two of these: one whose job waits for its turn, one heard while it is sent, one that sends and sends."""
        kinds = ((FLAC, True, 0), ({"codec": "aac"}, False, 0), (FLAC, False, 1000))
        for fields, late, hold_back in self._chance.sample(kinds, 2):
            job_id = new_id()
            self.sent.append(job_id)
            client = threading.Thread(target=self._send, args=(server, job_id, fields, late, hold_back))
            self._threads.append(client)
            client.start()

    def leave(self) -> None:
        for client in self._threads:
            client.join(60)
            assert not client.is_alive()
        self._threads.clear()

    def _send(self, server: Server, job_id: str, fields: dict[str, str], late: bool, hold_back: int) -> None:
        # The server may be gone at any line.
        with suppress(OSError), StreamUpload(server, job_id, self._song, fields, late=late) as upload:
            if hold_back:
                upload.trickle(hold_back=hold_back)
                server.child.wait()
            elif upload.answered():
                self.heard.add(job_id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", thoroughly(KILLS, MANY_KILLS))
def test_kills_at_random_lose_nothing(data_dir: Path, song: Path, kills: int) -> None:
    """Killed at random instants, a server that starts again completes all it accepted and fails the rest."""
    chance = random.Random(2)
    crowd = Crowd(song, chance)
    served: dict[str, dict[str, str]] = {}
    longest = max(0.9, 2 * upload_seconds(data_dir.with_name("quiet"), song))
    for kill in range(kills):
        if kill % 5 == 4:
            kill_while_starting(data_dir, chance.uniform(0.1, 0.8))
        else:
            with serving(data_dir) as server:
                crowd.come(server)
                outlives(server.child, chance.uniform(0.02, longest))
                server.kill()
                crowd.leave()
        assert_no_process(data_dir)
        known = rows(data_dir)
        for job_id, row in known.items():
            served.setdefault(job_id, {}).update(row.published)
        # Where others use the machine, too, it isn't as fast as it was at first.
        accepted = sum(row.accepted for row in known.values())
        longest *= 1.25 if 3 * accepted < len(known) else 0.8 if 3 * accepted > 2 * len(known) else 1.0
    assert crowd.heard <= {job_id for job_id, row in known.items() if row.accepted}
    assert set(known) <= set(crowd.sent)
    with serving(data_dir) as server:
        ends = {job_id: server.ended(job_id)["status"] for job_id in known}
        assert ends == {job_id: "Completed" if row.accepted else "Failed" for job_id, row in known.items()}
        for job_id, end in ends.items():
            if end == "Completed":
                assert segments_of(server, job_id).items() >= served[job_id].items()
                assert endings(server, job_id).count("Completed") <= 1
        assert_clean(data_dir)
        completed = {job_id for job_id, end in ends.items() if end == "Completed"}
        outputs = data_dir / "files" / "hls"
        until(lambda: {path.name for path in outputs.iterdir()} == completed)
    assert min(len(completed), len(ends) - len(completed)) >= kills // 4, "the kills came too early or too late"


def upload_seconds(data_dir: Path, song: Path) -> float:
    """How long it takes to send the song, and to be answered, where nothing dies."""
    with serving(data_dir) as server, StreamUpload(server, new_id(), song, FLAC, late=True) as upload:
        began = time.monotonic()
        assert upload.answered()
        return time.monotonic() - began


def kill_while_starting(data_dir: Path, after_seconds: float) -> None:
    argv = [sys.executable, "-m", "streamsrv", "serve", "--host", "127.0.0.1", "--port", str(free_port())]
    with (data_dir.parent / "starting.log").open("ab") as log:
        child = subprocess.Popen([*argv, "--data-dir", str(data_dir)], stdout=log, stderr=log)
    outlives(child, after_seconds)
    child.kill()
    assert child.wait() == -signal.SIGKILL


def outlives(child: Child, seconds: float) -> None:
    """The child is still there after so long."""
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(seconds)


@pytest.mark.parametrize("late", [True, *thoroughly(False)], ids=["queued", "live"])
def test_killed_encoder_is_started_again(late: bool, data_dir: Path, long_song: Path) -> None:
    """An encoder that is killed costs an attempt, not the job."""
    job_id = new_id()
    with serving(data_dir) as server, StreamUpload(server, job_id, long_song, FLAC, late=late) as upload:
        if late:
            upload.send()
        else:
            upload.go_live()
            upload.trickle(hold_back=1000)
        os.kill(until(lambda: segmenters(data_dir), what=lambda: server.log.read_text()[-2000:])[0], signal.SIGKILL)
        assert upload.finish().status == 200
        assert server.ended(job_id)["status"] == "Completed"
        assert len(play(server.playlist(job_id), data_dir.parent).sound) == len(decode(long_song))
        assert_clean(data_dir)
        failed = [*events(server, "job_attempt_failed", job_id=job_id), *events(server, "live_attempt_ended")]
        assert len(failed) == 1
        assert "signal 9" in str(failed)


def test_client_that_goes_away_takes_its_encoder_along(data_dir: Path, long_song: Path) -> None:
    """Soon after an upload broke off its encoder is gone; the job is Failed, and nothing is left of it."""
    job_id = new_id()
    with serving(data_dir) as server:
        with StreamUpload(server, job_id, long_song, FLAC) as upload:
            upload.go_live()
            upload.trickle(hold_back=1000)
            until(lambda: segmenters(data_dir))
        until(lambda: not server.children(), seconds=GONE_SECONDS, what=lambda: processes_of(data_dir))
        assert server.ended(job_id)["error"] == "The upload ended before the file was complete."
        assert_gone(data_dir, job_id)
        assert_clean(data_dir)


@pytest.mark.thorough
def test_job_waits_while_the_server_is_restarted(data_dir: Path, long_song: Path) -> None:
    """SIGTERM puts a running job back, uncounted and without its encoder; the next server completes it."""
    with serving(data_dir) as server:
        job_id = server.submit(long_song, codec="aac")
        until(lambda: segmenters(data_dir) and server.job(job_id)["live_url"], what=lambda: server.job(job_id))
        server.child.terminate()
        assert server.child.wait(10) == 0
        assert_no_process(data_dir)
    stopped = rows(data_dir)[job_id]
    assert (stopped.status, stopped.failures, stopped.restarts) == ("Pending", 0, 0)
    assert stopped.published
    with serving(data_dir) as server:
        assert server.ended(job_id)["status"] == "Completed"
        assert requests.get(server.playlist(job_id, LAST + ".ts"), timeout=30).status_code == 200
        assert_clean(data_dir)


def test_upload_ends_when_the_server_stops(data_dir: Path, song: Path) -> None:
    """SIGTERM doesn't wait for ever for a sender that stalls: the server ends within its time, the job Failed."""
    job_id = new_id()
    soon = {"STREAMSRV_SERVER__SHUTDOWN_SECONDS": "0.5"}
    with serving(data_dir, environment=soon) as server, StreamUpload(server, job_id, song, FLAC) as upload:
        upload.go_live()
        upload.trickle(hold_back=1000)
        server.child.terminate()
        assert server.child.wait(10) == 0
    assert rows(data_dir)[job_id].status == "Failed"
    assert leftovers(data_dir) == []
    with serving(data_dir):
        assert_gone(data_dir, job_id)


def test_two_servers_dont_share_a_data_directory(data_dir: Path) -> None:
    """A second server on the same data directory says so in one line and ends with 78; the first isn't disturbed."""
    with serving(data_dir) as server:
        assert given_up(data_dir, free_port()) == f"Another server uses the data directory {data_dir}."
        assert requests.get(f"{server.url}/health", timeout=5).status_code == 200


def test_data_directory_must_be_usable(tmp_path: Path) -> None:
    """Where no folder can be made, below a file for one, the server says so in one line and ends with 78."""
    (tmp_path / "file").touch()
    data_dir = tmp_path / "file" / "data"
    assert given_up(data_dir, free_port()) == f"The data directory {data_dir} can't be used: Not a directory."


def test_data_directory_must_be_writable(small_disk: Path) -> None:
    """On a disk that may only be read the server says so in one line and ends with 78."""
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=30)
    line = f"The data directory {small_disk} can't be used: Read-only file system."
    assert given_up(small_disk, free_port()) == line


def test_port_in_use_is_said(data_dir: Path) -> None:
    """A port that another program has is named in one line; nothing of the start is left running."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert given_up(data_dir, port) == f"Port {port} on 127.0.0.1 is in use by another program."
