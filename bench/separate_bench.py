"""Separate a song, beside demucs's own apply_model; then how much memory that takes, and what the pool's part is.

    PYTHONPATH=.:tests .venv/bin/python bench/separate_bench.py [--parts whole memory pool] [--runs 3] [--gpu]

`whole`: a model as large as htdemucs, of random weights, by a running server that has it loaded: from the POST to
Completed, all tracks encoded, as FLAC segments and as MP3. apply_model has the decoded song, in a process of its own
with as many threads as torch likes; neither decoding nor encoding counts for it. Stems are compared sample by sample.
Both precisions take turns with apply_model, which always has float32. Threads of torch wait by spinning, so on a busy
machine apply_model suffers more than we do: a turn waits for a quiet moment, and the best turns are compared.
`memory`: the most that the server and its workers ever had, after a short song and after a long one, by a tiny model.
`pool`: a tiny model's windows through the pool, beside the same windows in this process.
With --gpu both sides of `whole` use the first GPU, and apply_model keeps torch's settings, TF32 among them; stems are
compared with those that it makes without TF32.
"""

import argparse
import asyncio
import io
import math
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs.apply import apply_model
from demucs.pretrained import get_model
from numpy.typing import NDArray
from support.models import FOUR, save_bag, save_pickle, small_model, tiny_repo

from bench.peers import (
    ENDED,
    Spent,
    await_quiet,
    cpu_seconds,
    fetch,
    follow_events,
    make_sound,
    post_form,
    show,
    take_turns,
)
from bench.upload_bench import Server, ask, memory_mib, run_streamsrv
from streamsrv.separate.model import describe, separate
from streamsrv.separate.overlap import passes_of, steps
from streamsrv.separate.separation import Separation
from streamsrv.separate.settings import ModelSpec
from streamsrv.separate.tape import Tape
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

Sound = NDArray[np.float32]

AIMS = {"float32": "<= 0.8", "bfloat16": "<= 0.55"}
FIRST_SHARE = "<= 0.15"
MEMORY_MIB = "<= 100"
MEMORY_SECONDS = 60
# What htdemucs was made with (its signature is 955717e8), where that isn't the default: 42 million weights.
HTDEMUCS: dict[str, Any] = {
    "channels": 48,
    "depth": 4,
    "nfft": 4096,
    "dconv_mode": 3,
    "dconv_comp": 8,
    "bottom_channels": 512,
    "t_layers": 5,
    "t_heads": 8,
    "segment": Fraction(39, 5),
}
OVERLAP = 0.25
RATE = 44100
FULL_SCALE = 32767
WARM_SECONDS = 20
POOL_WINDOWS = 400


@dataclass
class Result:
    """What the turns of one precision left: the stems of the last one, and when in each the first segment came."""

    stems: dict[str, NDArray[np.int16]] = field(default_factory=dict)
    first_shares: list[float] = field(default_factory=list)


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="separate-bench-", dir=options.folder)))
        models = tiny_repo(folder / "models")
        os.environ |= {
            "STREAMSRV_SEPARATE__MODEL_REPO": str(models),
            "STREAMSRV_SEPARATE__DEVICES": "cuda:0" if options.gpu else "cpu",
            "STREAMSRV_SEPARATE__BATCH": str(options.batch),
            "STREAMSRV_SEPARATE__CLIP": "none",
        }
        for part in options.parts:
            print(f"{part}, load average {os.getloadavg()[0]:.1f}", flush=True)
            PARTS[part](folder, models, options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Separate a song, beside demucs's own apply_model.")
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", choices=sorted(AIMS), default=["float32", "bfloat16"])
    parser.add_argument("--seconds", type=float, default=180, help="length of the song of `whole`")
    parser.add_argument("--song", type=Path, help="a file to separate instead; so much of it as --seconds says")
    parser.add_argument("--memory-seconds", type=int, default=3600, help="length of the long song of `memory`")
    parser.add_argument("--gpu", action="store_true", help="`whole` on the first GPU")
    parser.add_argument("--batch", type=int, default=4, help="windows that a GPU works on at once")
    parser.add_argument("--folder", help="where the temporary folder goes")
    return parser.parse_args()


def compare_whole(folder: Path, models: Path, options: argparse.Namespace) -> None:
    song, seconds = make_song(folder / "song.wav", options)
    save_pickle(models, "7e570048", small_model(**HTDEMUCS))
    save_bag(models, "large", ["7e570048"])
    warm = make_sound(folder / "warm.wav", WARM_SECONDS)
    device = "cuda" if options.gpu else "cpu"
    results = {precision: Result() for precision in options.precisions}
    with peer_process() as peer, run_streamsrv(folder / "ours") as server:
        apply = partial(apply_there, peer, models, device)
        apply(warm, None, exact=False)
        for precision, result in results.items():
            separate_here(server, warm, "large", precision, result)
        reference = folder / "reference.npy"
        if options.gpu:
            apply(song, reference, exact=True)
        sides = {"apply_model": partial(apply, song, None if options.gpu else reference, exact=False)}
        sides |= {
            precision: partial(separate_here, server, song, "large", precision, result)
            for precision, result in results.items()
        }
        for result in results.values():
            result.first_shares.clear()
        spent = take_turns(options.runs, {name: partial(when_quiet, side) for name, side in sides.items()})
    expected = np.load(reference, mmap_mode="r")
    report_speed(spent, seconds)
    for precision, result in results.items():
        ours, bare = (min(row.seconds for row in spent[name]) for name in (precision, "apply_model"))
        print(f"  {precision}: {difference(result.stems, expected)}")
        show(f"  {precision}, song separated / apply_model, the best turns", ours / bare, AIMS[precision])
        show("  time until the first segment / until Completed", statistics.median(result.first_shares), FIRST_SHARE)


def when_quiet(side: Callable[[], Spent]) -> Spent:
    await_quiet()
    spent = side()
    print(f"  {spent.seconds:.1f} s, load average {os.getloadavg()[0]:.1f}", flush=True)
    return spent


def report_speed(spent: dict[str, list[Spent]], seconds: float) -> None:
    for name, rows in spent.items():
        best = min(rows, key=lambda row: row.seconds)
        each = " ".join(f"{row.seconds:.1f}" for row in rows)
        print(
            f"  {name:11} {each} s: {seconds / best.seconds:.2f} s of the song per second,"
            f" {best.cpu_seconds:.1f} s of processor time of {'the server itself' if name in AIMS else 'all of it'}"
        )
    print(f"  load average {os.getloadavg()[0]:.1f}")


def make_song(path: Path, options: argparse.Namespace) -> tuple[Path, float]:
    """The song as stereo WAV of 16 bits, which both sides decode to the same samples; and its length in seconds."""
    if options.song is None:
        make_sound(path, options.seconds)
    else:
        form = ["-map", "0:a:0", "-ac", "2", "-ar", str(RATE), "-c:a", "pcm_s16le", "-t", f"{options.seconds}"]
        argv = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(options.song), *form, str(path)]
        subprocess.run(argv, check=True)
    return path, len(samples_of(path)) / RATE


def samples_of(source: Path | io.BytesIO) -> NDArray[np.int16]:
    """The samples of a WAV file, [sample, channel]."""
    with wave.open(str(source) if isinstance(source, Path) else source) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())


@contextmanager
def peer_process() -> Iterator[ProcessPoolExecutor]:
    """One process that imports torch for itself, so that nothing of ours is set in it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def apply_there(
    peer: ProcessPoolExecutor, models: Path, device: str, song: Path, output: Path | None, *, exact: bool
) -> Spent:
    return peer.submit(apply_model_to, models, device, song, output, exact=exact).result()


def apply_model_to(models: Path, device: str, song: Path, output: Path | None, *, exact: bool) -> Spent:
    """Separate as demucs.api does; the time is that of apply_model. `exact` is without TF32."""
    model = load_once(models)
    mix = torch.from_numpy(samples_of(song).T.astype(np.float32) / 32768)
    mean, std = mix.mean(0).mean(), mix.mean(0).std() + 1e-8
    torch.backends.cudnn.allow_tf32 = not exact
    began, before = time.perf_counter(), time.process_time()
    stems = apply_model(model, ((mix - mean) / std)[None], shifts=0, overlap=OVERLAP, device=device)[0]
    spent = Spent(time.perf_counter() - began, time.process_time() - before)
    if output is not None:
        np.save(output, (stems * std + mean).numpy())
    return spent


@cache
def load_once(models: Path) -> Any:
    return get_model("large", models)


def separate_here(server: Server, song: Path, model: str, precision: str, result: Result) -> Spent:
    """From the POST to Completed; then its stems are fetched and the song is removed, so that it can come again."""
    before, began, first = cpu_seconds(server.pid), time.perf_counter(), math.inf
    with post_form(
        server.port, "/apiv1/separate", song, {"model": model, "precision": precision}, fields_first=True
    ) as reply:
        address = reply.headers["Location"]
        address = address[address.index("/apiv1/") :]
    for told in follow_events(server.port, f"{address}/events"):
        if told["master_url"]:
            first = min(first, time.perf_counter() - began)
        if told["status"] in ENDED:
            break
    seconds = time.perf_counter() - began
    if told["status"] != "Completed":
        raise SystemExit(f"the song ended otherwise: {told}")
    result.first_shares.append(first / seconds)
    spent = Spent(seconds, cpu_seconds(server.pid) - before)
    if model == "large":
        result.stems = {name: fetch_stem(server, address, name) for name in FOUR}
    if ask(server.port, "DELETE", address) != 204:
        raise SystemExit("the song can't be removed")
    return spent


def fetch_stem(server: Server, address: str, name: str) -> NDArray[np.int16]:
    status, body = fetch(server.port, f"{address.replace('/song/', '/track/')}/{name}.wav")
    if status != 200:
        raise SystemExit(f"the track {name} can't be had: {body.decode(errors='replace')}")
    return samples_of(io.BytesIO(body))


def difference(stems: dict[str, NDArray[np.int16]], expected: Sound) -> str:
    """How far stems are from what was expected of them, [stem, channel, sample]."""
    most, error, power = 0, 0.0, 0.0
    for name, wanted in zip(FOUR, expected, strict=True):
        exact = np.clip(wanted.T, -1, 1).astype(np.float64) * FULL_SCALE
        off = stems[name] - exact
        most = max(most, int(np.abs(stems[name] - np.rint(exact)).max()))
        error, power = error + float(np.square(off).sum()), power + float(np.square(exact).sum())
    return f"off by {most} of 32767 at most, relative error with rounding {math.sqrt(error / power):.1e}"


def compare_memory(folder: Path, models: Path, options: argparse.Namespace) -> None:
    peaks: list[dict[str, float]] = []
    for seconds in (MEMORY_SECONDS, options.memory_seconds):
        song = make_sound(folder / f"{seconds}.wav", seconds)
        with run_streamsrv(folder / "ours") as server:
            taken = separate_here(server, song, "tiny", "float32", Result())
            workers = max(memory_mib(pid, "VmHWM") for pid in children_of(server))
            peaks.append({"server": memory_mib(server.pid, "VmHWM"), "worker": workers})
        shutil.rmtree(folder / "ours")
        had = ", ".join(f"{who} {mib:.1f} MiB" for who, mib in peaks[-1].items())
        print(f"  a song of {seconds} s, separated in {taken.seconds:.0f} s: {had}", flush=True)
    for who in peaks[0]:
        more = peaks[1][who] - peaks[0][who]
        show(f"  {who}, more memory for the long song", more, MEMORY_MIB, unit=" MiB")


def children_of(server: Server) -> list[int]:
    """The processes of its pools, and Python's own that counts what they share."""
    tasks = Path(f"/proc/{server.pid}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def measure_pool(_folder: Path, models: Path, _options: argparse.Namespace) -> None:
    spec = ModelSpec(name="tiny", repo=models, download=False, precision="float32")
    info = describe(spec)
    segment = info.parts[0].segment
    passes = passes_of(info.parts, (0,), OVERLAP, int(POOL_WINDOWS * (1 - OVERLAP) * segment))
    windows = list(steps(passes, info.parts))
    piece = np.random.default_rng(0).standard_normal((1, info.channels, segment)).astype(np.float32)
    made = np.empty((1, len(info.sources), info.channels, segment), np.float32)
    separate(spec, 0, piece, (windows[0].span,), made)
    began = time.perf_counter()
    for _ in range(POOL_WINDOWS // 4):
        separate(spec, 0, piece, (windows[0].span,), made)
    alone = (time.perf_counter() - began) / (POOL_WINDOWS // 4)
    devices = cpu_devices(os.cpu_count() or 1)
    seconds = asyncio.run(walk_through(DevicePool(devices), spec))
    each = 1000 * seconds / len(windows)
    print(f"  {len(windows)} windows through the pool: {1000 / each:.0f} per second by {len(devices)} workers")
    print(f"  a window takes {1000 * alone:.1f} ms in this process, {each * len(devices):.1f} ms of a worker's time")


async def walk_through(pool: DevicePool, spec: ModelSpec) -> float:
    """Separate a song of silence; give the seconds of the second time, when all workers have the model."""
    info = describe(spec)
    length = int(POOL_WINDOWS * (1 - OVERLAP) * info.parts[0].segment)
    passes = passes_of(info.parts, (0,), OVERLAP, length)

    async def read(count: int) -> bytes:
        return bytes(count)

    async def drop(_stems: Sound) -> None:
        pass

    seconds = 0.0
    async with pool:
        for _ in range(2):
            tape = Tape(read, channels=info.channels, length=length, mean=0.0, std=1.0)
            began = time.perf_counter()
            await Separation(pool, spec, info, batch=1, priority=0).run(tape, passes, 0, drop)
            seconds = time.perf_counter() - began
    return seconds


PARTS = {"whole": compare_whole, "memory": compare_memory, "pool": measure_pool}


if __name__ == "__main__":
    main()
