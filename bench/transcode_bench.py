"""One job against bare ffmpeg with the same arguments, in turn; print the ratio of the medians.

    PYTHONPATH=. .venv/bin/python bench/transcode_bench.py [--seconds 3600] [--runs 3] [--codec aac]

The sound is sent with its options behind the file, so that the job begins when the upload has ended. A job takes from
its `started_at` to its `completed_at`: it looks into the file, encodes, reads every segment through, syncs and lists
it. ffmpeg writes the same segments and syncs nothing. Both run at the same niceness and in the same sandbox, if any;
that hides the processor time of ffmpeg, so only with STREAMSRV_FFMPEG__SANDBOX=off it is compared, too.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path

from bench.peers import Spent, cpu_seconds, ended_job, make_sound, medians, send_form, show, take_turns
from bench.upload_bench import Server, ask, run_streamsrv
from streamsrv.config import load_config
from streamsrv.hls.profiles import choose, stream_encoding
from streamsrv.media.arguments import Input, hls_arguments
from streamsrv.media.probe import probe
from streamsrv.media.tools import find_tools

NICENESS = 5  # what streamsrv.media.child gives its children


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="transcode-bench-", dir=options.folder)))
        sound = make_sound(folder / "sound.wav", options.seconds)
        output = folder / "bare"
        output.mkdir()
        argv = asyncio.run(plan(sound, output, options.codec))
        server = stack.enter_context(run_streamsrv(folder / "ours"))
        sandboxed = argv[0] == "bwrap"
        print(f"{options.seconds} s to {options.codec}, {'sandboxed' if sandboxed else 'no sandbox'}, nice {NICENESS}")
        sides = {
            "ffmpeg": partial(run_bare, argv, output),
            "streamsrv": partial(run_job, server, sound, options.codec),
        }
        spent = take_turns(options.runs, sides)
    for name, rows in spent.items():
        print(f"{name:10} {' '.join(f'{row.seconds:.2f}' for row in rows)} s")
    peer, ours = medians(spent["ffmpeg"]), medians(spent["streamsrv"])
    if sandboxed:
        print(f"processor time of the server itself: {ours.cpu_seconds:.2f} s")
    else:
        print(f"processor time, job / bare ffmpeg: {ours.cpu_seconds / peer.cpu_seconds:.3f}")
    show("job / bare ffmpeg", ours.seconds / peer.seconds, "<= 1.05")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One job against bare ffmpeg with the same arguments, in turn.")
    parser.add_argument("--seconds", type=int, default=1200, help="length of the sound")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--codec", default="aac")
    parser.add_argument("--folder", help="where the temporary folder goes")
    return parser.parse_args()


async def plan(sound: Path, output: Path, codec: str) -> list[str]:
    """The command line that streamsrv would run with its own settings."""
    config = load_config()
    tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
    encoding = stream_encoding(choose(None, codec, None), await probe(tools, sound))
    argv = hls_arguments(
        tools.ffmpeg,
        Input(path=sound),
        encoding,
        folder=output,
        segment_seconds=config.hls.segment_seconds,
        max_seconds=config.limits.max_duration_seconds,
    )
    return tools.confined(argv, readable=(sound,), writable=(output,))


def run_bare(argv: list[str], output: Path) -> Spent:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, cwd=output, capture_output=True, check=True, preexec_fn=partial(os.nice, NICENESS))
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    for path in output.iterdir():
        path.unlink()
    return Spent(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run_job(server: Server, sound: Path, codec: str) -> Spent:
    job_id = send_form(server.port, sound, {"codec": codec}, fields_first=False)["job_id"]
    before = cpu_seconds(server.pid)
    job = ended_job(server.port, job_id)
    began, ended = (datetime.fromisoformat(job[name]).timestamp() for name in ("started_at", "completed_at"))
    spent = Spent(ended - began, cpu_seconds(server.pid) - before)
    ask(server.port, "DELETE", f"/v1/stream/job/{job_id}")
    return spent


if __name__ == "__main__":
    main()
