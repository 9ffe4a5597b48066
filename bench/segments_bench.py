"""Serve one 100 KB segment of a real job under wrk, and the same bytes by one nginx worker; print the ratios.

    PYTHONPATH=. .venv/bin/python bench/segments_bench.py [--seconds 4] [--runs 5] [--connections 1 16]

Both servers run on the first core, wrk on the second one, so that they take turns at the same piece of machine. Beside
requests per second it shows requests per second of the server's own processor time, which other programs disturb less.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.peers import Spent, cpu_seconds, ended_job, fetch, make_sound, medians, pin, send_form, show, take_turns
from bench.upload_bench import Server, free_port, run_child, run_streamsrv

BITRATE = "128000"  # which makes segments of 6 seconds about 100 KB long
NGINX_CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; types {{ video/mp2t ts; }} {temp_paths}
  server {{
    listen 127.0.0.1:{port};
    root {folder}/files;
    location / {{ add_header Cache-Control "public, max-age=31536000, immutable"; {extra} }}
  }}
}}
"""
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segments-bench-", dir=options.folder)))
        folder.chmod(0o755)
        ours = stack.enter_context(run_streamsrv(folder / "ours"))
        path = make_segment(ours, folder)
        body = fetch(ours.port, path)[1]
        nginx = stack.enter_context(run_nginx(folder / "nginx", path, body, options.nginx_extra))
        for server in (nginx, ours):
            pin(server.pid, 0)
        print(f"a segment of {len(body)} bytes, {options.runs} turns of {options.seconds} s each")
        for connections in options.connections:
            sides = {server.name: partial(load, server, path, connections, options.seconds) for server in (nginx, ours)}
            report(take_turns(options.runs, sides), connections)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve one 100 KB segment under wrk, and by nginx, in turn.")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--folder", help="where the temporary folder goes")
    parser.add_argument("--nginx-extra", default="", help='more of its settings, e.g. "open_file_cache max=10;"')
    return parser.parse_args()


def make_segment(server: Server, folder: Path) -> str:
    """Do a job and give the path of one of its segments."""
    sound = make_sound(folder / "sound.wav", 20)
    fields = {"codec": "aac", "bitrate": BITRATE}
    job_id = send_form(server.port, sound, fields, fields_first=True)["job_id"]
    ended_job(server.port, job_id)
    return f"/v1/stream/hls/{job_id}/segment_00002.ts"


def report(spent: dict[str, list[Spent]], connections: int) -> None:
    """`seconds` and `cpu_seconds` are of one request."""
    rows = {name: medians(turns) for name, turns in spent.items()}
    for name, row in rows.items():
        each = " ".join(f"{1 / turn.seconds:.0f}" for turn in spent[name])
        print(f"  {name:10} {1 / row.seconds:7.0f}/s, {1 / row.cpu_seconds:7.0f} per second of CPU   of {each}")
    nginx, ours = rows.values()
    plural = "s" if connections > 1 else ""
    print(f"{connections} connection{plural}, per second of CPU: {nginx.cpu_seconds / ours.cpu_seconds:.3f}")
    show(f"{connections} connection{plural}, streamsrv / nginx", nginx.seconds / ours.seconds, ">= 0.45")


def load(server: Server, path: str, connections: int, seconds: int) -> Spent:
    """What one request takes on average."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{server.port}{path}"]
    if shutil.which("taskset"):
        argv = ["taskset", "--cpu-list", "1", *argv]
    before = cpu_seconds(server.pid)
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    cpu = cpu_seconds(server.pid) - before
    counted = re.search(r"(\d+) requests in", told)
    speed = re.search(r"Requests/sec:\s+([\d.]+)", told)
    if counted is None or speed is None or "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(f"{server.name} under wrk: {told}")
    return Spent(1 / float(speed[1]), cpu / int(counted[1]))


@contextmanager
def run_nginx(folder: Path, path: str, body: bytes, extra: str) -> Iterator[Server]:
    file = folder / "files" / path.lstrip("/")
    file.parent.mkdir(parents=True)
    file.write_bytes(body)
    port, conf = free_port(), folder / "nginx.conf"
    temp_paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in KINDS)
    conf.write_text(NGINX_CONF.format(folder=folder, port=port, extra=extra, temp_paths=temp_paths))
    with run_child(["nginx", "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")], port) as pid:
        worker = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        yield Server("nginx", int(worker), port, path, lambda _reply: None)


if __name__ == "__main__":
    main()
