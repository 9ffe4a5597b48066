"""What the benchmarks share: sound to send, jobs to wait for, processor time, and a figure shown beside its aim."""

import http.client
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNDARY = b"----streamsrv-bench-4YWxkTrZu0gW7M"
SENT_AT_ONCE = 1 << 20
ENDED = ("Completed", "Failed", "Cancelled")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """What one turn took, in seconds of the clock and of processors."""

    seconds: float
    cpu_seconds: float


def take_turns(runs: int, sides: Mapping[str, Callable[[], Spent]]) -> dict[str, list[Spent]]:
    """Let each side do its work `runs` times, one after the other, so that a busy machine meets both."""
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            spent[name].append(side())
    return spent


def await_quiet(seconds: float = 60.0) -> None:
    """Wait for a second in which nine tenths of all processors have nothing to do, but for so long at most."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = _processor_ticks()
        time.sleep(1.0)
        idle, total = (after - was for after, was in zip(_processor_ticks(), before, strict=True))
        if idle > 0.9 * total:
            return


def _processor_ticks() -> tuple[int, int]:
    """So long did the processors have nothing to do, of how long there were (proc(5), its line of all processors)."""
    spent = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return spent[3] + spent[4], sum(spent[:8])


def medians(spent: Iterable[Spent]) -> Spent:
    rows = list(spent)
    return Spent(statistics.median(row.seconds for row in rows), statistics.median(row.cpu_seconds for row in rows))


def show(what: str, reached: float, aim: str, *, unit: str = "") -> None:
    """One line: what was reached beside its aim, e.g. "<= 1.05" or ">= 0.45"."""
    sign, bound = aim.split()
    good = reached <= float(bound) if sign == "<=" else reached >= float(bound)
    print(f"{what}: {reached:.3f}{unit}   aim {aim}{unit}   {'reached' if good else 'MISSED'}", flush=True)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def pin(pid: int, core: int) -> None:
    """Keep all threads of a process on one core, where there are several."""
    if len(os.sched_getaffinity(0)) > core:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def make_sound(path: Path, seconds: float) -> Path:
    """Pink noise under a wandering chord, stereo, 44.1 kHz, 16 bit: as hard to encode as music is."""
    chord = "0.2*sin(2*PI*220*t)+0.1*sin(2*PI*(660+40*sin(t/3))*t)+0.1*sin(2*PI*1760*t)*sin(t)"
    graph = (
        f"aevalsrc={chord}:s=44100[chord];anoisesrc=c=pink:a=0.2:r=44100:seed=1[left];"
        "anoisesrc=c=pink:a=0.2:r=44100:seed=2[right];[chord]asplit[c1][c2];"
        "[c1][left]amix=normalize=0[l];[c2][right]amix=normalize=0[r];[l][r]join=channel_layout=stereo"
    )
    argv = ["ffmpeg", "-nostdin", "-loglevel", "error", "-filter_complex", graph, "-t", f"{seconds}", str(path)]
    subprocess.run(argv, check=True)
    return path


def send_form(
    port: int,
    file: Path,
    fields: Mapping[str, str],
    *,
    query: str = "",
    fields_first: bool,
    bytes_per_second: float = 0.0,
    sent: Callable[[int], None] = lambda _count: None,
) -> dict[str, Any]:
    """Post a file as a job and give the reply's document. See `post_form`."""
    path = f"/v1/stream/transcode{query}"
    with post_form(
        port, path, file, fields, fields_first=fields_first, bytes_per_second=bytes_per_second, sent=sent
    ) as reply:
        return json.loads(reply.read())


@contextmanager
def post_form(
    port: int,
    path: str,
    file: Path,
    fields: Mapping[str, str],
    *,
    fields_first: bool,
    bytes_per_second: float = 0.0,
    sent: Callable[[int], None] = lambda _count: None,
) -> Iterator[http.client.HTTPResponse]:
    """Upload a file, as fast as it goes or evenly at a speed; `sent` is told how many of its bytes are on their way.

    In the block the head of the reply was read.
    """
    named = b"".join(_part(name) + value.encode() + b"\r\n" for name, value in fields.items())
    opening = _part("file", file.name)
    head, tail = (named + opening, b"\r\n") if fields_first else (opening, b"\r\n" + named)
    tail += b"--%b--\r\n" % BOUNDARY
    size = file.stat().st_size
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n"
        f"Content-Length: {len(head) + size + len(tail)}\r\n\r\n"
    )
    with file.open("rb") as source, closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(request.encode() + head)
        step = int(bytes_per_second / 200) or SENT_AT_ONCE
        began, count = time.monotonic(), 0
        while data := source.read(step):
            connection.sendall(data)
            count += len(data)
            if count == size:
                connection.sendall(tail)
            sent(count)
            if bytes_per_second:
                time.sleep(max(0.0, began + count / bytes_per_second - time.monotonic()))
        with http.client.HTTPResponse(connection) as reply:
            reply.begin()
            if reply.status != 200:
                raise SystemExit(f"the server answered {reply.status}: {reply.read().decode(errors='replace')}")
            yield reply


def _part(name: str, filename: str = "") -> bytes:
    extra = f'; filename="{filename}"' if filename else ""
    return f'--{BOUNDARY.decode()}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()


def fetch(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()


def ended_job(port: int, job_id: str) -> dict[str, Any]:
    """The job once it is Completed; its events are listened to, so that waiting costs the server nothing."""
    for job in follow_events(port, f"/v1/stream/job/{job_id}/events"):
        if job["status"] in ENDED:
            if job["status"] != "Completed":
                raise SystemExit(f"the job ended otherwise: {job}")
            return job
    raise SystemExit("the server ended the job's events before the job")


def follow_events(port: int, path: str) -> Iterator[dict[str, Any]]:
    """What a stream of server-sent events tells, one document after the other."""
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", path)
        for line in connection.getresponse():
            if line.startswith(b"data:"):
                yield json.loads(line[5:])
