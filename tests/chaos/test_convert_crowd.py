"""A hundred clients at once: each gets all of its sound or is told to come again, and the server stays small."""

import os
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import requests
from support.server import Server, serving
from support.sound import decode, tone
from support.spread import thoroughly
from support.traces.log import no_fault_logged
from support.traces.processes import GONE_SECONDS, processes_of, program_of, resident_kib
from support.traces.tidy import assert_tidy
from support.wire.conversion import Conversion, assert_converts
from support.wire.messages import Reply

CLIENTS = 100
SECONDS = 1.5
MEMORY_MIB = 64
LOOK_SECONDS = 0.05
# Of many that wait for few places the last one waits long.
PATIENCE_SECONDS = 100
# Samples of one frame at 48 kHz; those without a frame keep every sample.
FRAMES = {"wav": 0, "flac": 0, "mp3": 1152, "m4a": 1024, "ogg": 2048, "opus": 960}
FEW = {
    "STREAMSRV_CONVERT__CONCURRENCY": "2",
    "STREAMSRV_CONVERT__LIVE_UPLOADS": "2",
    "STREAMSRV_CONVERT__MAX_REQUESTS": "16",
}


@dataclass(frozen=True)
class Wish:
    """What one client sends and wants; one that is `slow` sends on only once the server has begun to encode."""

    source: Path
    form: str
    late: bool
    slow: bool


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same sound in several formats."""
    folder = tmp_path_factory.mktemp("songs")
    names = ("song.wav", "song.flac", "song.mp3", "song.m4a", "song.ogg", "song.opus")
    return [tone(folder / name, seconds=SECONDS, rate=48000, hertz=440) for name in names]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("environment", "encoders", "places"), thoroughly(({}, (os.cpu_count() or 1) + 4, 64), (FEW, 4, 16))
)
def test_hundred_clients_at_once(
    environment: Mapping[str, str], encoders: int, places: int, data_dir: Path, sources: list[Path], song: Path
) -> None:
    """Each is answered correctly or by 503 with Retry-After; processes and memory are few, and others are served."""
    wishes = [wish_of(number, sources) for number in range(CLIENTS)]
    with serving(data_dir, environment=environment) as server, no_fault_logged(server):
        assert_converts(server, song)
        with Watch(server) as seen:
            answers = all_at_once(server, wishes, song)
        busy = [answer for answer in answers if answer.status == 503]
        assert all(int(answer.headers["Retry-After"]) > 0 and answer.problem["status"] == 503 for answer in busy)
        served = [(wish, answer) for wish, answer in zip(wishes, answers, strict=True) if answer.status != 503]
        assert len(served) >= places
        assert_heard(served, data_dir.parent)
        assert seen.most["ffmpeg"] <= encoders
        assert seen.most["ffprobe"] <= places
        assert seen.grown_mib() < MEMORY_MIB
        assert_tidy(server, seconds=GONE_SECONDS)
        assert_converts(server, song)


def wish_of(number: int, sources: list[Path]) -> Wish:
    """All pairs of formats, in both orders, and now and then a long enough file that is encoded while it is sent."""
    source, form = sources[number % len(sources)], [*FRAMES][number // len(sources) % len(FRAMES)]
    slow = source.suffix == ".wav" and number % 4 == 0
    return Wish(source, form, late=not slow and number // 2 % 2 == 0, slow=slow)


def all_at_once(server: Server, wishes: list[Wish], song: Path) -> list[Reply]:
    """Let all clients begin together; meanwhile a stream is made and the server says that it is well."""
    answers: dict[int, Reply] = {}
    gate = threading.Barrier(len(wishes) + 1)

    def ask(number: int, wish: Wish) -> None:
        gate.wait()
        answers[number] = answer_to(server, wish)

    clients = [threading.Thread(target=ask, args=numbered) for numbered in enumerate(wishes)]
    for client in clients:
        client.start()
    gate.wait()
    job_id = server.submit(song, codec="flac")
    while any(client.is_alive() for client in clients):
        assert requests.get(f"{server.url}/health", timeout=20).status_code == 200
        with suppress(StopIteration):
            next(client for client in clients if client.is_alive()).join(0.2)
    assert server.ended(job_id)["status"] == "Completed"
    return [answers[number] for number in range(len(wishes))]


def answer_to(server: Server, wish: Wish) -> Reply:
    with Conversion(server, wish.source, wish.form, late=wish.late, patience=PATIENCE_SECONDS) as conversion:
        with suppress(ConnectionError):  # it has been answered already
            if wish.slow:
                conversion.send(conversion.left // 2)
                conversion.drip(lambda: conversion.progress().get("received_bytes", 1))
        return conversion.finish()


def assert_heard(served: list[tuple[Wish, Reply]], folder: Path) -> None:
    """Each got the format that it wanted, with all of its source's sound in it."""
    sent = {source: len(decode(source, channels=2)) for source in {wish.source for wish, _ in served}}
    got: dict[tuple[str, bytes], int] = {}
    for wish, answer in served:
        assert (answer.status, answer.whole) == (200, True), answer.body[:1000]
        assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="song.{wish.form}"')
        heard = wish.form, answer.body
        if heard not in got:
            got[heard] = len(decode(answer.saved(folder / f"heard.{wish.form}"), channels=2))
        assert abs(got[heard] - sent[wish.source]) <= FRAMES[wish.form], wish


class Watch:
    """The most that a server was seen to have: processes of each program at a time, and memory."""

    def __init__(self, server: Server) -> None:
        self.most: Counter[str] = Counter()
        self.live: set[str] = set()
        self._server = server
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._before_kib = resident_kib(server.child.pid)

    def __enter__(self) -> Self:
        Path(f"/proc/{self._server.child.pid}/clear_refs").write_text("5")  # the peak is counted from here on
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def grown_mib(self) -> float:
        return (resident_kib(self._server.child.pid, "VmHWM") - self._before_kib) / 1024

    def _look(self) -> None:
        while not self._enough.wait(LOOK_SECONDS):
            commands = processes_of(self._server.data_dir).values()
            converting = [command for command in commands if "/convert." in command]
            self.most |= Counter(map(program_of, converting))
            self.live |= {path.name for path in (self._server.data_dir / "scratch").glob("convert.*.live.*")}
