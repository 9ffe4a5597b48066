"""Convert a large WAV that comes over a link of a steady speed, beside its upload alone and bare ffmpeg alone.

    PYTHONPATH=. .venv/bin/python bench/convert_bench.py [--mib 1024] [--mb-per-second 40] [--formats flac mp3]

A conversion takes from its first byte until its whole result was read, which goes as fast as it can. With the format
before the file it should take no longer than the slower one of two: the upload alone, which is the same file sent at
the same speed to a server that only stores it, and ffmpeg alone, which makes the same of the same file with the same
options, niceness and sandbox. With the file first it should take no longer than both. Meanwhile the server's memory is
watched. Then the same with a smaller file over a slow link, and a short song, for which what a start costs counts most.
"""

import argparse
import asyncio
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.peers import Spent, cpu_seconds, make_sound, medians, post_form, show, take_turns
from bench.transcode_bench import run_bare
from bench.upload_bench import MIB, Server, ask, memory_mib, run_receiver, run_streamsrv, wav_header
from streamsrv.config import load_config
from streamsrv.convert.options import ConvertOptions
from streamsrv.convert.work import cargo_for
from streamsrv.encoding.options import encoding_for
from streamsrv.media.arguments import file_arguments
from streamsrv.media.material import whole_material
from streamsrv.media.tools import find_tools

SLOW_MB_PER_SECOND = 5.0
SLOW_SHARE = 1 / 16
MEMORY_MIB = 64
SHORT_SECONDS = 20
SHORT_RUNS = 5
CHUNK_SECONDS = 60


@dataclass(frozen=True)
class Link:
    """Where files are sent to, and how fast; 0 is as fast as it goes."""

    server: Server
    mb_per_second: float

    def send(self, path: str, file: Path, form: str, *, fields_first: bool) -> Spent:
        """Send a form and read the whole reply."""
        before, began = cpu_seconds(self.server.pid), time.perf_counter()
        with post_form(
            self.server.port,
            path,
            file,
            {"format": form} if form else {},
            fields_first=fields_first,
            bytes_per_second=self.mb_per_second * 1e6,
        ) as reply:
            while reply.read(MIB):
                pass
        return Spent(time.perf_counter() - began, cpu_seconds(self.server.pid) - before)


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="convert-bench-", dir=options.folder)))
        ours = stack.enter_context(run_streamsrv(folder / "ours"))
        receiver = stack.enter_context(run_receiver(folder / "receiver"))
        large = make_wav(folder / "large.wav", options.mib * MIB)
        small = make_wav(folder / "small.wav", int(options.mib * MIB * SLOW_SHARE))
        for file, speed in ((large, options.mb_per_second), (small, SLOW_MB_PER_SECOND)):
            for form in options.formats:
                compare(Link(ours, speed), Link(receiver, speed), file, form, options.runs)
        compare_short(ours, make_sound(folder / "short.mp3", SHORT_SECONDS))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert a large WAV that comes over a link of a steady speed.")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--mb-per-second", type=float, default=40.0)
    parser.add_argument("--formats", nargs="+", default=["flac", "mp3"])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", help="where the temporary folder goes")
    return parser.parse_args()


def make_wav(path: Path, size: int) -> Path:
    """About `size` bytes: a minute of sound, again and again."""
    minute = make_sound(path.with_name("minute.wav"), CHUNK_SECONDS)
    samples = minute.read_bytes()[-CHUNK_SECONDS * 176_400 :]
    minute.unlink()
    with path.open("wb") as file:
        file.write(wav_header(size // 4 * 4))
        for start in range(0, size // 4 * 4, len(samples)):
            file.write(samples[: size // 4 * 4 - start])
    return path


def compare(ours: Link, receiver: Link, file: Path, form: str, runs: int) -> None:
    grown: dict[bool, list[float]] = {True: [], False: []}
    output = file.with_name("bare")
    output.mkdir()
    sides = {
        "upload": partial(upload_alone, receiver, file),
        "ffmpeg": partial(run_bare, asyncio.run(plan(file, output, form)), output),
        "format first": partial(convert, ours, file, form, True, grown),
        "file first": partial(convert, ours, file, form, False, grown),
    }
    print(f"{file.stat().st_size / MIB:.0f} MiB of WAV to {form} at {ours.mb_per_second:g} MB/s", end="")
    print(f", load average {os.getloadavg()[0]:.1f}", flush=True)
    spent = {name: medians(rows) for name, rows in take_turns(runs, sides).items()}
    output.rmdir()
    print("  " + ", ".join(f"{name} {row.seconds:.2f} s" for name, row in spent.items()))
    upload, bare, first, last = (row.seconds for row in spent.values())
    show("  format first / the larger of upload and ffmpeg", first / max(upload, bare), "<= 1.1")
    show("  file first / their sum", last / (upload + bare), "<= 1.1")
    show("  memory gained, format first", max(grown[True]), f"<= {MEMORY_MIB}", unit=" MiB")
    show("  memory gained, file first", max(grown[False]), f"<= {MEMORY_MIB}", unit=" MiB")


def upload_alone(link: Link, file: Path) -> Spent:
    spent = link.send("/", file, "", fields_first=True)
    ask(link.server.port, "DELETE", "/")
    return spent


def convert(link: Link, file: Path, form: str, fields_first: bool, grown: dict[bool, list[float]]) -> Spent:
    """One conversion; `grown` gets the MiB that the server's memory gained meanwhile at most."""
    before = memory_mib(link.server.pid, "VmRSS")
    Path(f"/proc/{link.server.pid}/clear_refs").write_text("5")  # the peak is counted from here on
    spent = link.send("/convert", file, form, fields_first=fields_first)
    grown[fields_first].append(memory_mib(link.server.pid, "VmHWM") - before)
    return spent


async def plan(file: Path, output: Path, form: str) -> list[str]:
    """The command line that streamsrv would run for the whole file."""
    config = load_config()
    tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
    made, options = tools.formats()[form], ConvertOptions()
    material = await whole_material(tools, file)
    argv = file_arguments(
        tools.ffmpeg,
        replace(material.input, end_sample=None),
        encoding_for(made, options, material.source),
        made,
        cargo_for(made, options, material),
        path=output / f"bare{made.suffix}",
        max_seconds=config.limits.max_duration_seconds,
    )
    return tools.confined(argv, readable=(file,), writable=(output,))


def compare_short(server: Server, song: Path) -> None:
    output = song.with_name("bare")
    output.mkdir()
    sides = {
        "ffmpeg": partial(run_bare, asyncio.run(plan(song, output, "flac")), output),
        "format first": partial(Link(server, 0).send, "/convert", song, "flac", fields_first=True),
    }
    spent = {name: medians(rows) for name, rows in take_turns(SHORT_RUNS, sides).items()}
    bare, ours = (row.seconds for row in spent.values())
    print(f"{SHORT_SECONDS} s of MP3 to flac: ffmpeg {bare:.3f} s, converted {ours:.3f} s, {ours / bare:.2f} times")


if __name__ == "__main__":
    main()
