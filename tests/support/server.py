"""The real server as a child process, ended by its pid whatever happens."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from support.forked import ForkedChild, can_fork, launcher
from support.wire.messages import posted_form

Child = ForkedChild | subprocess.Popen[bytes]

ENDED = ("Completed", "Failed", "Cancelled")
START_SECONDS = 30.0
# As `launcher` writes it into the log of a server that it forked.
_LAGGED = "the event loop stood still:"
# Process ids of the servers that this process has running.
SERVING: set[int] = set()
# Below those that a system gives out by itself.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
_PORTS = iter(range(10_100 + 4_000 * _WORKER + random.randrange(2_000), 14_000 + 4_000 * _WORKER))


@dataclass
class Server:
    """A running server. `stop` ends it politely, `kill` as a power cut would."""

    url: str
    child: Child
    data_dir: Path
    log: Path

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def submit(self, file: Path, *, query: str = "", **fields: str) -> str:
        """Send a file, fields first, and return the job's id."""
        form = posted_form(file, fields)
        reply = requests.post(f"{self.url}/v1/stream/transcode{query}", files=form, timeout=120)
        assert reply.status_code == 200, reply.text
        return reply.json()["job_id"]

    def job(self, job_id: str) -> dict[str, Any]:
        reply = requests.get(f"{self.url}/v1/stream/job/{job_id}", timeout=30)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def jobs(self) -> list[dict[str, Any]]:
        return requests.get(f"{self.url}/v1/stream/jobs?limit=200", timeout=30).json()["jobs"]

    def ended(self, job_id: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """The job once it has ended."""
        deadline = time.monotonic() + seconds
        while (job := self.job(job_id))["status"] not in ENDED:
            assert time.monotonic() < deadline, f"the job didn't end: {job}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.05)
        return job

    def playlist(self, job_id: str, name: str = "index.m3u8") -> str:
        return f"{self.url}/v1/stream/hls/{job_id}/{name}"

    def children(self) -> list[int]:
        """Process ids of all that the server started and that still runs, at any depth."""
        return descendants(self.child.pid)


def free_port() -> int:
    """A port that nobody is given by chance before a server takes it, neither here nor in another process of tests."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


@contextmanager
def serving(
    data_dir: Path,
    *arguments: str,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "streamsrv"),
) -> Iterator[Server]:
    """Start `python -m streamsrv serve` (or another `program`) and wait until it answers."""
    with started(data_dir, *arguments, port=port, environment=environment, program=program) as server:
        await_health(server)
        yield server
    assert_never_stood_still(server)


def assert_never_stood_still(server: Server) -> None:
    """Nothing that the server did kept its event loop from the rest for half a second."""
    lagged = [line for line in server.log.read_text(errors="replace").splitlines() if line.startswith(_LAGGED)]
    assert not lagged, lagged


@contextmanager
def started(
    data_dir: Path,
    *arguments: str,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "streamsrv"),
) -> Iterator[Server]:
    """The same for one that may never answer."""
    port = port or free_port()
    log = data_dir.parent / f"{data_dir.name}.log"
    argv = [*program, "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir), *arguments]
    child = start(argv, {**os.environ, **(environment or {})}, log)
    server = Server(f"http://127.0.0.1:{port}", child, data_dir, log)
    SERVING.add(child.pid)
    try:
        yield server
    finally:
        server.stop()
        SERVING.discard(child.pid)


def start(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Child:
    """Start `python *argv`, whose words go to `log`: forked, where that comes to the same."""
    if can_fork(argv, environment):
        return launcher().fork(argv, environment, log, log)
    with log.open("ab") as output:
        return subprocess.Popen([sys.executable, *argv], stdout=output, stderr=output, env=environment)


def await_health(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.child.poll() is None, f"the server ended:\n{server.log.read_text()[-3000:]}"
        try:
            assert requests.get(f"{server.url}/health", timeout=5).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            assert time.monotonic() < deadline, f"the server didn't answer:\n{server.log.read_text()[-3000:]}"
            time.sleep(0.05)
        else:
            return


def descendants(pid: int) -> list[int]:
    """Process ids of all below a process, but for the one that Python itself keeps once it has begun others."""
    found = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*"))
    except OSError:
        return []  # it ended while it was looked at
    for task in tasks:
        try:
            children = [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue  # it ended meanwhile
        for child in children:
            if not _is_resource_tracker(child):
                found += [child, *descendants(child)]
    return found


def _is_resource_tracker(pid: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False  # it ended meanwhile
