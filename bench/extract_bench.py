"""Extract the sound of ten films as one file, beside one bare ffmpeg that joins them; then segment by segment.

    PYTHONPATH=. .venv/bin/python bench/extract_bench.py [--parts whole memory first walk] [--runs 3]

`whole`: from the POST to Completed, by a server that has never seen the films but whose workers run. ffmpeg gets the
same films in one command line, with the options, niceness and sandbox that ours has, and syncs nothing.
`memory`: the most that the server and its workers ever had, after short films and after long ones.
`first`: the first segment of a long film that the server has never seen, before and after its workers have started.
`walk`: a segment that is kept, asked for again; and segments one after the other, when they are first made and again.

The films are different ones: the same frames of sound, each time beginning at another one, under the same picture.
"""

import argparse
import asyncio
import http.client
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from bench.peers import ENDED, Spent, cpu_seconds, make_sound, medians, show, take_turns
from bench.transcode_bench import run_bare
from bench.upload_bench import MIB, Server, memory_mib, run_streamsrv
from streamsrv.config import load_config
from streamsrv.encoding.options import EncodingOptions, encoding_for
from streamsrv.extract.timeline import grid_of
from streamsrv.media.arguments import Cargo, Input, file_arguments
from streamsrv.media.film import probe_film
from streamsrv.media.formats import FORMATS
from streamsrv.media.tools import find_tools

AIMS = {"flac": "<= 0.8", "wav": "<= 0.6"}
MEMORY_MIB = 64
MEMORY_CLIPS = 3
FIRST_SECONDS = 1.0
LOOP_SECONDS = 60
SHORT_SECONDS = 20
REPLAYS = 200
DEADLINE_SECONDS = 600  # for decoding one film


@dataclass(frozen=True)
class Reel:
    """What all films are made of: a minute of sound as frames of AAC, and a minute of picture."""

    frames: tuple[bytes, ...]
    picture: Path

    def film(self, path: Path, seconds: float, number: int) -> Path:
        """A film whose sound begins at another frame for each number."""
        first = 37 * number % len(self.frames)
        minute = b"".join((*self.frames[first:], *self.frames[:first]))
        sound = path.with_suffix(".aac")
        with sound.open("wb") as file:
            for _ in range(int(seconds / LOOP_SECONDS) + 1):
                file.write(minute)
        tracks = ["-stream_loop", "-1", "-i", str(self.picture), "-i", str(sound), "-map", "0:v", "-map", "1:a"]
        run_ffmpeg(*tracks, "-c", "copy", "-t", f"{seconds}", str(path))
        sound.unlink()
        return path


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extract-bench-", dir=options.folder)))
        os.environ["STREAMSRV_EXTRACT__MEDIA_ROOTS"] = str(folder)
        reel = make_reel(folder, options.picture_kbps)
        for part in options.parts:
            print(f"{part}, load average {os.getloadavg()[0]:.1f}", flush=True)
            PARTS[part](reel, folder, options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Extract the sound of films, at once and segment by segment.")
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=["flac", "wav"])
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--clip-seconds", type=int, default=600)
    parser.add_argument("--long-seconds", type=int, default=10800, help="length of the film whose start is asked for")
    parser.add_argument("--memory-seconds", type=int, default=3600, help="length of the long films of `memory`")
    parser.add_argument("--picture-kbps", type=int, default=300, help="how large the films are besides their sound")
    parser.add_argument("--folder", help="where the temporary folder goes")
    return parser.parse_args()


def make_reel(folder: Path, kbps: int = 300) -> Reel:
    sound, frames, picture = (
        make_sound(folder / "minute.wav", LOOP_SECONDS),
        folder / "minute.aac",
        folder / "minute.mp4",
    )
    run_ffmpeg("-i", str(sound), "-b:a", "160k", str(frames))
    drawn = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", f"{LOOP_SECONDS}", "-pix_fmt", "yuv420p"]
    run_ffmpeg(*drawn, "-preset", "veryfast", "-b:v", f"{kbps}k", str(picture))
    return Reel(tuple(frames_of(frames.read_bytes())), picture)


def frames_of(sound: bytes) -> list[bytes]:
    """Split a stream of ADTS frames, whose headers hold their length in 13 bits (ISO/IEC 13818-7, section 6.2)."""
    frames, at = [], 0
    while at < len(sound):
        size = (int.from_bytes(sound[at + 3 : at + 6], "big") >> 5) & 0x1FFF
        frames.append(sound[at : at + size])
        at += size
    return frames


def run_ffmpeg(*words: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *words], check=True)


def compare_whole(reel: Reel, folder: Path, options: argparse.Namespace) -> None:
    films = [reel.film(folder / f"film{n}.mp4", options.clip_seconds, n) for n in range(options.clips)]
    short = [reel.film(folder / f"short{n}.mp4", SHORT_SECONDS, n) for n in range(os.cpu_count() or 1)]
    output = folder / "bare"
    output.mkdir()
    for form in options.formats:
        argv = asyncio.run(plan_join(films, output, form))
        sides = {
            "ffmpeg": partial(run_bare, argv, output),
            "streamsrv": partial(extract_fresh, folder, films, short, form),
        }
        spent = take_turns(options.runs, {name: partial(after_sync, side) for name, side in sides.items()})
        for name, rows in spent.items():
            print(f"  {name:10} {' '.join(f'{row.seconds:.2f}' for row in rows)} s")
        peer, ours = medians(spent["ffmpeg"]), medians(spent["streamsrv"])
        print(f"  processor time of the server itself: {ours.cpu_seconds:.2f} s")
        ratios = [mine.seconds / bare.seconds for bare, mine in zip(*spent.values(), strict=True)]
        print(f"  {form}, each turn: {' '.join(f'{ratio:.3f}' for ratio in ratios)}")
        show(f"  {form}, extraction / bare ffmpeg", ours.seconds / peer.seconds, AIMS.get(form, "<= 1.0"))


def after_sync(side: Callable[[], Spent]) -> Spent:
    """What the turn before has left for the disk to do must not slow this one."""
    os.sync()
    return side()


async def plan_join(films: Sequence[Path], output: Path, form_name: str) -> list[str]:
    """One command line that joins films, with the options with which streamsrv would decode and encode them."""
    config, form = load_config(), FORMATS[form_name]
    most = config.limits.max_duration_seconds
    tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
    grid = grid_of([(await probe_film(tools, film)).tracks[0] for film in films])
    path, encoding = output / f"joined{form.suffix}", encoding_for(form, EncodingOptions(), grid)
    inputs, ending = list[str](), list[str]()
    for film in films:
        argv = file_arguments(tools.ffmpeg, Input(path=film), encoding, form, Cargo(), path=path, max_seconds=most)
        at = argv.index("-map")
        inputs, ending = inputs + argv[1:at], argv[at + 2 :]
    at = ending.index("-af")
    tracks = "".join(f"[{number}:a:0]" for number in range(len(films)))
    graph = f"{tracks}concat=n={len(films)}:v=0:a=1,{ending[at + 1]}[joined]"
    argv = [tools.ffmpeg, *inputs, "-filter_complex", graph, "-map", "[joined]", *ending[:at], *ending[at + 2 :]]
    return tools.confined(argv, readable=films, writable=(output,))


def extract_fresh(folder: Path, films: Sequence[Path], short: Sequence[Path], form: str) -> Spent:
    """Extract the whole by a server that has seen other films only."""
    data = folder / "ours"
    with run_streamsrv(data) as server:
        extract(server, short, form)
        before, began = cpu_seconds(server.pid), time.perf_counter()
        extract(server, films, form)
        spent = Spent(time.perf_counter() - began, cpu_seconds(server.pid) - before)
    shutil.rmtree(data)
    return spent


def extract(server: Server, films: Sequence[Path], form: str) -> None:
    """Post it, and listen to its events until it is Completed."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        location = post(connection, "/extract_audio", films, format=form)[0]
        connection.request("GET", f"{location}/events")
        for line in connection.getresponse():
            if line.startswith(b"data:") and (job := json.loads(line[5:]))["status"] in ENDED:
                if job["status"] != "Completed":
                    raise SystemExit(f"the extraction ended otherwise: {job}")
                return
    raise SystemExit("the server ended the extraction's events before the extraction")


def post(
    connection: http.client.HTTPConnection, path: str, films: Sequence[Path], **members: object
) -> tuple[str, dict[str, Any]]:
    """Send a request; give the path of its `Location`, if there is one, and its document."""
    asked = {"video_files": [film.as_uri() for film in films], **members}
    connection.request("POST", path, json.dumps(asked), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read()
    if reply.status not in (200, 202):
        raise SystemExit(f"the server answered {reply.status}: {text.decode(errors='replace')}")
    location = reply.headers.get("Location", "")
    return location[location.find("/status/") :], json.loads(text or b"{}")


def compare_memory(reel: Reel, folder: Path, options: argparse.Namespace) -> None:
    peaks: list[tuple[float, float]] = []
    for seconds in (60, options.memory_seconds):
        films = [reel.film(folder / f"clip{n}.mp4", seconds, n) for n in range(MEMORY_CLIPS)]
        with run_streamsrv(folder / "ours") as server:
            extract(server, films, "flac")
            peaks.append((memory_mib(server.pid, "VmHWM"), sum(memory_mib(pid, "VmHWM") for pid in workers_of(server))))
        shutil.rmtree(folder / "ours")
        print(f"  films of {seconds} s: server {peaks[-1][0]:.1f} MiB, its workers {peaks[-1][1]:.1f} MiB")
    short, long = map(sum, peaks)
    show("  more memory for long films", long - short, f"<= {MEMORY_MIB}", unit=" MiB")


def workers_of(server: Server) -> list[int]:
    """Its children that stay: the processes of the pool, and Python's own that counts what they share."""
    tasks = Path(f"/proc/{server.pid}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def measure_first(reel: Reel, folder: Path, options: argparse.Namespace) -> None:
    films = [reel.film(folder / f"long{n}.mp4", options.long_seconds, n) for n in range(2)]
    taken: dict[str, list[float]] = {"no worker runs yet": [], "workers run": []}
    for _ in range(options.runs):
        with (
            run_streamsrv(folder / "ours") as server,
            closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection,
        ):
            for film, when in zip(films, taken, strict=True):
                os.sync()
                began = time.perf_counter()
                post(connection, "/extract_audio_segment", [film])
                taken[when].append(time.perf_counter() - began)
                wait_until_decoded(folder / "ours", films.index(film) + 1)
        shutil.rmtree(folder / "ours")
    size = films[0].stat().st_size / MIB
    for when, seconds in taken.items():
        print(f"  {' '.join(f'{each:.2f}' for each in seconds)} s")
        what = f"  first segment of {options.long_seconds} s, {size:.0f} MiB, {when}"
        show(what, statistics.median(seconds), f"<= {FIRST_SECONDS}", unit=" s")


def wait_until_decoded(data: Path, clips: int) -> None:
    """Decoding a clip goes on behind its first segment; the next measurement begins when it has ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(list(data.glob("cache/clips/*/end.json"))) < clips and time.monotonic() < deadline:
        time.sleep(0.05)


def measure_walk(reel: Reel, folder: Path, options: argparse.Namespace) -> None:
    film = reel.film(folder / "walked.mp4", options.clip_seconds, 0)
    with (
        run_streamsrv(folder / "ours") as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection,
    ):
        extract(server, [film], "wav")
        for seconds in (1, 30):
            for turn in ("made", "kept"):
                began = time.perf_counter()
                steps = walk(connection, film, seconds)
                each = (time.perf_counter() - began) / steps
                print(
                    f"  {steps} segments of {seconds} s, {turn}: {1 / each:.1f} per second, {1000 * each:.1f} ms each"
                )
        replays = []
        for _ in range(REPLAYS):
            began = time.perf_counter()
            post(connection, "/extract_audio_segment", [film])
            replays.append(1000 * (time.perf_counter() - began))
    median, p99 = statistics.median(replays), statistics.quantiles(replays, n=100)[98]
    print(f"  a segment that is kept: median {median:.1f} ms, least {min(replays):.1f}, p99 {p99:.1f}")
    shutil.rmtree(folder / "ours")


def walk(connection: http.client.HTTPConnection, film: Path, seconds: float) -> int:
    """Ask for one segment after the other; give their number."""
    cursor: str | None = None

    def is_more(_number: int) -> bool:
        nonlocal cursor
        step = post(connection, "/extract_audio_segment", [film], segment_seconds=seconds, cursor=cursor)[1]
        cursor = step["cursor"]
        return not step["done"]

    return 1 + sum(1 for _ in takewhile(is_more, count()))


PARTS = {"whole": compare_whole, "memory": compare_memory, "first": measure_first, "walk": measure_walk}


if __name__ == "__main__":
    main()
