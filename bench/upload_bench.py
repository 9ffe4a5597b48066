"""Upload one large file to us and to nginx (client_body_in_file_only), in turn; print the ratio of the medians.

    PYTHONPATH=. .venv/bin/python bench/upload_bench.py [--mib 1024] [--runs 5] [--ours streamsrv|receiver]

`streamsrv` is the whole server: a WAV file posted to /v1/stream/transcode, synced to disk and accepted as a job before
the reply. `receiver` is only what reads the form, writes the file and syncs it. nginx neither parses nor syncs.
Then one upload of --memory-mib while another process asks /health: how long the answers take, and how much memory the
server gains. nginx is asked, too: what it shows is the machine's. All is on loopback and below one temporary folder.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

MIB = 1 << 20
BOUNDARY = b"----streamsrv-bench-7MA4YWxkTrZu0gW"
NOISE = os.urandom(4 * MIB)
NGINX_CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 64; }}
http {{
  access_log off; proxy_temp_path {folder}/proxy; {temp_paths}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      client_body_in_file_only on; client_body_temp_path {folder}/stored; client_max_body_size 0; {extra}
      proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-File $request_body_file;
      proxy_pass http://unix:{folder}/reply.sock;
    }}
  }}
  server {{ listen unix:{folder}/reply.sock; location / {{ return 200 "stored"; }} }}
}}
"""


@dataclass(frozen=True)
class Server:
    """A running server: where it takes uploads, and how to remove what one with this reply left there."""

    name: str
    pid: int
    port: int
    path: str
    clean: Callable[[bytes], None]


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upload-bench-", dir=options.folder)))
        nginx = stack.enter_context(run_nginx(folder / "nginx", options.nginx_extra))
        ours = stack.enter_context(OURS[options.ours](folder / "ours"))
        times: dict[str, list[float]] = {nginx.name: [], ours.name: []}
        for server in (nginx, ours):
            server.clean(upload(server, 64 * MIB)[1])
        for _ in range(options.runs):
            for server in (nginx, ours):
                seconds, reply = upload(server, options.mib * MIB)
                times[server.name].append(seconds)
                server.clean(reply)
        report_speed(times, options.mib)
        for server in (nginx, ours):
            measure_load(server, options.memory_mib)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Upload one large file to us and to nginx, in turn.")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory-mib", type=int, default=2048)
    parser.add_argument("--ours", choices=sorted(OURS), default="streamsrv")
    parser.add_argument("--folder", help="where the temporary folder goes: its disk is what is measured")
    parser.add_argument("--nginx-extra", default="", help='more of its settings, e.g. "client_body_buffer_size 1m;"')
    return parser.parse_args()


def report_speed(times: dict[str, list[float]], mib: int) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:10} median {medians[name]:.3f} s  of {' '.join(f'{value:.3f}' for value in values)}")
    peer, ours = medians
    print(f"upload of {mib} MiB, {ours} / {peer}: {medians[ours] / medians[peer]:.2f}")


def measure_load(server: Server, mib: int) -> None:
    """One upload while another process asks /health."""
    with probing(server.port) as idle:
        time.sleep(1.0)
    before = memory_mib(server.pid, "VmRSS")
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak is counted from here on
    with probing(server.port) as meanwhile:
        seconds, reply = upload(server, mib * MIB)
    grown = memory_mib(server.pid, "VmHWM") - before
    print(f"{server.name}: {mib} MiB in {seconds:.2f} s, its memory grew by {grown:.1f} MiB from {before:.1f}")
    server.clean(reply)
    for when, answers in (("idle", idle), ("meanwhile", meanwhile)):
        median, p99, longest = statistics.median(answers), statistics.quantiles(answers, n=100)[98], max(answers)
        print(
            f"  /health {when}: median {median:.1f} ms, p99 {p99:.1f}, longest {longest:.1f} of {len(answers)} answers"
        )


def upload(server: Server, size: int) -> tuple[float, bytes]:
    """Send a form with a WAV file of `size` bytes of noise; returns the seconds until the reply, and the reply."""
    head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="noise.wav"\r\n\r\n' % BOUNDARY
    head += wav_header(size)
    tail = b"\r\n--%b--\r\n" % BOUNDARY
    request = (
        f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n"
        f"Content-Length: {len(head) + size + len(tail)}\r\n\r\n"
    )
    began = time.perf_counter()
    with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.sendall(request.encode() + head)
        for _ in range(size // len(NOISE)):
            connection.sendall(NOISE)
        connection.sendall(NOISE[: size % len(NOISE)] + tail)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        body = reply.read()
    seconds = time.perf_counter() - began
    if reply.status != 200:
        raise SystemExit(f"{server.name} answered {reply.status}: {body.decode(errors='replace')}")
    return seconds, body


def wav_header(size: int) -> bytes:
    """Stereo, 16 bit, 44.1 kHz; `size` bytes of samples follow."""
    form = struct.pack("<HHIIHH", 1, 2, 44100, 176400, 4, 16)
    return b"RIFF%bWAVEfmt \x10\0\0\0%bdata%b" % (struct.pack("<I", size + 36), form, struct.pack("<I", size))


@contextmanager
def run_nginx(folder: Path, extra: str) -> Iterator[Server]:
    folder.mkdir()
    folder.chmod(0o755)
    port = free_port()
    kinds = ("fastcgi", "uwsgi", "scgi")
    temp_paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(folder=folder, port=port, extra=extra, temp_paths=temp_paths))

    def clean(_reply: bytes) -> None:
        for path in (folder / "stored").iterdir():
            path.unlink()

    user = f"user {Path(folder).owner()};" if os.getuid() == 0 else ""
    argv = ["nginx", "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log"), "-g", user]
    with run_child(argv, port) as pid:
        worker = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        yield Server("nginx", int(worker), port, "/", clean)


@contextmanager
def run_streamsrv(folder: Path) -> Iterator[Server]:
    port = free_port()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)]

    def clean(reply: bytes) -> None:
        """Cancel the job, wait until it is over, remove it."""
        address = f"/v1/stream/job/{json.loads(reply)['job_id']}"
        while ask(port, "DELETE", address) not in (204, 404):
            time.sleep(0.05)

    with run_child([sys.executable, "-m", "streamsrv", "serve", *flags], port) as pid:
        yield Server("streamsrv", pid, port, "/v1/stream/transcode", clean)


@contextmanager
def run_receiver(folder: Path) -> Iterator[Server]:
    port = free_port()
    script = Path(__file__).with_name("receiver.py")
    with run_child([sys.executable, str(script), str(port), str(folder)], port) as pid:

        def clean(_reply: bytes) -> None:
            ask(port, "DELETE", "/")

        yield Server("receiver", pid, port, "/", clean)


OURS = {"streamsrv": run_streamsrv, "receiver": run_receiver}


@contextmanager
def run_child(argv: list[str], port: int) -> Iterator[int]:
    """Run a server until the block ends; the block begins when it listens."""
    if shutil.which(argv[0]) is None:
        raise SystemExit(f"{argv[0]} is not installed")
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 15
        while not listens(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{argv[0]} does not start: {' '.join(argv)}")
            time.sleep(0.02)
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)


@contextmanager
def probing(port: int) -> Iterator[list[float]]:
    """Ask /health from another process while the block runs; the list then has the milliseconds of each answer."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=probe_health, args=(port, there))
    process.start()
    answers: list[float] = []
    here.recv()  # it has begun
    try:
        yield answers
    finally:
        here.send("enough")
        answers += here.recv()
        process.join()


def probe_health(port: int, parent: Connection) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    answers = []
    parent.send("begun")
    while not parent.poll():
        began = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        answers.append(1000 * (time.perf_counter() - began))
        time.sleep(0.002)
    parent.send(answers)


def ask(port: int, method: str, path: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(method, path)
        reply = connection.getresponse()
        reply.read()
        return reply.status


def memory_mib(pid: int, field: str) -> float:
    """VmRSS is what a process has now, VmHWM the most it had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
