"""What chaos tests stand on: clients that are slow or go away, and the truth on the disk after a kill."""

import hashlib
import http.client
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
from support.deadline import WAIT_SECONDS, until
from support.folders import below
from support.server import Server, descendants, serving

FAILPOINTS = str(Path(__file__).with_name("failpoints.py"))
GONE_SECONDS = 5.0
_START_BYTES = 128 << 10
_DROP_BYTES = 2 << 10
_PIECE_BYTES = 32 << 10
_BOUNDARY = "the-chaos-boundary"


def trapped(data_dir: Path, trap: str) -> AbstractContextManager[Server]:
    """The server, which kills itself at the trap: see `failpoints`."""
    return serving(data_dir, program=(FAILPOINTS,), environment={"STREAMSRV_TRAP": trap})


def new_id() -> str:
    return str(uuid.uuid4())


class Upload:
    """A form sent by hand, as slowly as one likes. The fields come before the file, or after it where `late`."""

    def __init__(
        self, server: Server, job_id: str, file: Path, fields: Mapping[str, str], *, late: bool = False
    ) -> None:
        self.job_id = job_id
        self._server = server
        texts = b"".join(_part(f'name="{name}"') + value.encode() + b"\r\n" for name, value in fields.items())
        sound = _part(f'name="file"; filename="{file.name}"') + file.read_bytes() + b"\r\n"
        end = f"--{_BOUNDARY}--\r\n".encode()
        self._left = (sound + texts if late else texts + sound) + end
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=WAIT_SECONDS)
        self._connection.putrequest("POST", f"/v1/stream/transcode?job_id={job_id}")
        self._connection.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
        self._connection.putheader("Content-Length", str(len(self._left)))
        self._connection.endheaders()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def left(self) -> int:
        return len(self._left)

    def send(self, count: int | None = None) -> None:
        """Send so many bytes, or all that are left."""
        now, self._left = self._left[:count], b"" if count is None else self._left[count:]
        self._connection.send(now)

    def go_live(self) -> None:
        """Send a start, and on little by little until the server works on the job."""
        self.send(_START_BYTES)
        until(lambda: self._status() == "Processing" or self.send(_DROP_BYTES))

    def _status(self) -> str:
        url = f"{self._server.url}/v1/stream/job/{self.job_id}"
        return requests.get(url, timeout=WAIT_SECONDS).json()["status"]

    def trickle(self, *, hold_back: int = 0) -> None:
        """Send in small pieces, each after a look at the job, and keep the last `hold_back` bytes."""
        while self.left > hold_back:
            self.send(min(_PIECE_BYTES, self.left - hold_back))
            self._status()

    def reply(self) -> tuple[int, dict[str, Any]]:
        """Status and document, and what type the document is of."""
        reply = self._connection.getresponse()
        return reply.status, {"content_type": reply.headers["Content-Type"], **json.loads(reply.read())}

    def answered(self) -> bool:
        """Send the rest; did the server say 200, or was it gone?"""
        with suppress(OSError, http.client.HTTPException):  # the server is gone
            self.trickle()
            return self.reply()[0] == 200
        return False

    def leave(self) -> None:
        """Go away, as a closed laptop does."""
        self._connection.close()


def _part(disposition: str) -> bytes:
    return f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


@dataclass(frozen=True)
class Row:
    """A job as the disk knows it, and what it has published: the digest of each segment's bytes by name.

    The files of a job that failed may be gone already, so nothing of it counts as published.
    """

    status: str
    accepted: bool
    error: str | None
    attempt: int
    failures: int
    restarts: int
    revision: int
    published: Mapping[str, str]


def rows(data_dir: Path) -> dict[str, Row]:
    """What was committed when the server died. Asked of a copy: nothing is repaired or moved by looking."""
    with tempfile.TemporaryDirectory() as folder:
        for file in data_dir.glob("streamsrv.sqlite*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / "streamsrv.sqlite")) as database:
            database.row_factory = sqlite3.Row
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            jobs = database.execute("SELECT * FROM jobs").fetchall()
            segments = database.execute(
                "SELECT segments.*, status FROM segments JOIN jobs ON sequence = job ORDER BY number"
            ).fetchall()
    published: dict[int, dict[str, str]] = {job["sequence"]: {} for job in jobs}
    for row in segments:
        if row["status"] != "Failed":
            published[row["job"]][row["name"]] = digest((data_dir / "files" / row["key"]).read_bytes())
    return {
        job["id"]: Row(
            job["status"],
            job["accepted_at"] is not None,
            job["error"],
            job["attempt"],
            job["failures"],
            job["restarts"],
            job["revision"],
            published[job["sequence"]],
        )
        for job in jobs
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def leftovers(data_dir: Path) -> list[str]:
    """What lies where nothing may lie once every job has ended."""
    folders = (data_dir / "spool", data_dir / "scratch", data_dir / "files" / "uploads")
    return [str(path.relative_to(data_dir)) for folder in folders for path in below(folder)]


def assert_clean(data_dir: Path) -> None:
    until(lambda: not leftovers(data_dir), seconds=10, what=lambda: leftovers(data_dir))


def files_of(data_dir: Path, job_id: str) -> list[str]:
    """All files and folders that have to do with a job, by their names."""
    return [str(path.relative_to(data_dir)) for path in below(data_dir) if job_id in path.name]


def processes_of(data_dir: Path) -> dict[int, str]:
    """Every process that works in this data directory or was told of it, by its command line. Zombies aside."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # it ended meanwhile
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(data_dir) in command or str((entry / "cwd").readlink()).startswith(str(data_dir)):
                found[int(entry.name)] = command
    return found


def encoders(data_dir: Path) -> list[int]:
    """The ffmpeg processes that make segments, without the sandbox around them."""
    return [pid for pid, command in processes_of(data_dir).items() if _is_encoder(command)]


def _is_encoder(command: str) -> bool:
    program = command.partition(" ")[0]
    return program.rpartition("/")[2] == "ffmpeg" and "hls_segment_filename" in command


def assert_no_process(data_dir: Path) -> None:
    """No process of a dead server lives on, but for sandboxes that hadn't begun: those the next server ends."""

    def living() -> dict[int, str]:
        return {pid: command for pid, command in processes_of(data_dir).items() if not _never_began(pid)}

    until(lambda: not living(), seconds=GONE_SECONDS, what=living)


def _never_began(pid: int) -> bool:
    """bubblewrap doesn't follow its parent before that has told it to begin; then it waits for ever."""
    with suppress(OSError):  # it ended meanwhile
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return (status["Name"], status["PPid"]) == ("bwrap", "1") and not descendants(pid)
    return False


def await_kill(server: Server, *, seconds: float = WAIT_SECONDS) -> None:
    """The server dies at its trap, and all its processes with it."""
    assert server.child.wait(seconds) == -9, server.log.read_text()[-3000:]
    assert_no_process(server.data_dir)


def events(server: Server, name: str, **fields: object) -> Iterator[dict[str, Any]]:
    """What the servers on this data directory, dead ones included, have logged under a name."""
    for line in server.log.read_text(errors="replace").splitlines():
        with suppress(ValueError):  # another program's words, or a line that the kill cut
            event = json.loads(line)
            if event.get("event") == name and fields.items() <= event.items():
                yield event


def endings(server: Server, job_id: str) -> list[str]:
    return [event["status"] for event in events(server, "job_ended", job_id=job_id)]


def given_up(data_dir: Path, port: int) -> str:
    """What a server that can't start tells people, apart from its log."""
    argv = [sys.executable, "-m", "streamsrv", "serve", "--host", "127.0.0.1", "--port", str(port)]
    ended = subprocess.run([*argv, "--data-dir", data_dir], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 78, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, ended.stderr
    return lines[0]
