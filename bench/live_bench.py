"""Send a song at a steady speed and hear it meanwhile: when is the first segment there, and when is all of it?

    PYTHONPATH=. .venv/bin/python bench/live_bench.py [--seconds 300] [--runs 3] [--codecs aac mp3 opus flac]

A WAV file is sent at --mb-per-second (10), its options first. Counted are the time from when the first segment's worth
of sound (6 s) was sent until live.m3u8 listed a segment and it was fetched, and from the last byte of the upload until
an event said Completed. No job ends before its encoder does, so bare ffmpeg is shown beside it, reading a whole file:
an encoder that is slower than the sound arrives has a backlog at the end, which is printed.
"""

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from bench.peers import ended_job, fetch, make_sound, send_form, show
from bench.transcode_bench import plan, run_bare
from bench.upload_bench import Server, ask, run_streamsrv

WAV_BYTES_PER_SECOND = 176_400
FIRST_SECONDS = 6
POLL_SECONDS = 0.005


def main() -> None:
    options = read_options()
    speed = options.mb_per_second * 1e6
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="live-bench-", dir=options.folder)))
        sound = make_sound(folder / "sound.wav", options.seconds)
        output = folder / "bare"
        output.mkdir()
        server = stack.enter_context(run_streamsrv(folder / "ours"))
        times = speed / WAV_BYTES_PER_SECOND
        print(f"{options.seconds} s of WAV at {options.mb_per_second:g} MB/s, which is {times:.0f} x real time")
        for codec in options.codecs:
            argv = asyncio.run(plan(sound, output, codec))
            bare = statistics.median(run_bare(argv, output).seconds for _ in range(options.runs))
            heard = [play_while_sending(server, sound, codec, speed) for _ in range(options.runs)]
            first, ended = (statistics.median(column) for column in zip(*heard, strict=True))
            backlog = max(0.0, bare - sound.stat().st_size / speed)
            print(f"{codec}: bare ffmpeg {options.seconds / bare:.0f} x real time, so {backlog:.2f} s of backlog")
            show(f"{codec}: first 6 s sent until a segment was fetched", first, "<= 0.5", unit=" s")
            show(f"{codec}: last byte sent until Completed", ended, "<= 0.2", unit=" s")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send a song at a steady speed and hear it meanwhile.")
    parser.add_argument("--seconds", type=int, default=300, help="length of the sound")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--codecs", nargs="+", default=["aac", "mp3", "opus", "flac"])
    parser.add_argument("--mb-per-second", type=float, default=10.0)
    parser.add_argument("--folder", help="where the temporary folder goes")
    return parser.parse_args()


def play_while_sending(server: Server, sound: Path, codec: str, speed: float) -> tuple[float, float]:
    """Seconds until the first segment, and until the end; both since what they need had been sent."""
    job_id, size = str(uuid.uuid4()), sound.stat().st_size
    sent_at: dict[str, float] = {}

    def note(count: int) -> None:
        if count >= FIRST_SECONDS * WAV_BYTES_PER_SECOND:
            sent_at.setdefault("first", time.monotonic())
        if count == size:
            sent_at["last"] = time.monotonic()

    sender = threading.Thread(
        target=send_form,
        args=(server.port, sound, {"codec": codec}),
        kwargs={"query": f"?job_id={job_id}", "fields_first": True, "bytes_per_second": speed, "sent": note},
    )
    sender.start()
    await_segment(server, job_id)
    heard_at = time.monotonic()
    ended_job(server.port, job_id)
    ended_at = time.monotonic()
    sender.join()
    ask(server.port, "DELETE", f"/v1/stream/job/{job_id}")
    return heard_at - sent_at["first"], ended_at - sent_at["last"]


def await_segment(server: Server, job_id: str) -> None:
    """Ask for live.m3u8 until it lists a segment, and fetch that."""
    address = f"/v1/stream/hls/{job_id}"
    while True:
        status, text = fetch(server.port, f"{address}/live.m3u8")
        names = [line for line in text.decode().splitlines() if line.startswith("segment_")]
        if status == 200 and names:
            break
        time.sleep(POLL_SECONDS)
    status, _ = fetch(server.port, f"{address}/{names[0]}")
    if status != 200:
        raise SystemExit(f"a segment that was listed can't be fetched: {status}")


if __name__ == "__main__":
    main()
