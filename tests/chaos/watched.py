"""Models that write down what they are asked to do, and a server that separates songs with them.

`watched` takes a while for each window, `heavy` takes long to load. Their notes are in a file that outlives processes.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import requests
import torch
from chaos.ground import FAILPOINTS, digest, processes_of
from demucs.htdemucs import HTDemucs
from support.deadline import WAIT_SECONDS, until
from support.models import save_pickle, small_model
from support.server import Server, serving
from support.songs import RATE, SECONDS_VARIABLE, TRACKS, completed_song, get_song, song_environment, song_repo
from support.sound import decode

from streamsrv.separate.overlap import Plan

WORKERS = 2
_NOTES_VARIABLE = "STREAMSRV_TEST_WINDOW_NOTES"
_LOADING_WINDOWS = 20


def plan(seconds: float) -> Plan:
    """The windows of a song."""
    return Plan.of(RATE, 0.25, round(seconds * RATE))


class WatchedModel(HTDemucs):
    """Notes when it is loaded, and when a window begins and ends; takes so many seconds as the variable says."""

    def load_state_dict(self, *arguments: object, **keywords: object) -> object:
        _note("loaded")
        return super().load_state_dict(*arguments, **keywords)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        balance = float(mix[0, 1].std() / mix[0, 0].std())
        window = hashlib.sha256(mix.numpy().tobytes()).hexdigest()
        _note("began", window, balance)
        time.sleep(float(os.environ[SECONDS_VARIABLE]))
        made = super().forward(mix)
        _note("ended", window, balance)
        return made


class HeavyModel(HTDemucs):
    """Notes when its loading begins, and takes as long for that as for many windows."""

    def load_state_dict(self, *arguments: object, **keywords: object) -> object:
        _note("loading")
        time.sleep(_LOADING_WINDOWS * float(os.environ[SECONDS_VARIABLE]))
        return super().load_state_dict(*arguments, **keywords)


def _note(what: str, window: str = "", balance: float = 0.0) -> None:
    note = Note(what, window, balance, os.getpid(), os.environ["STREAMSRV_DEVICE"], time.monotonic())
    line = json.dumps(asdict(note)) + "\n"
    # One write to the end of a file is never mixed with another one.
    descriptor = os.open(os.environ[_NOTES_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Note:
    """`balance`: how loud the right channel of a window is beside its left one."""

    what: str
    window: str
    balance: float
    pid: int
    device: str
    at: float


@dataclass(frozen=True)
class Studio:
    """A folder with models, notes and a data directory, on which servers run one after the other."""

    folder: Path

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def _notes(self) -> Path:
        return self.folder / "windows.jsonl"

    def notes(self, what: str, since: int = 0) -> list[Note]:
        """All notes of a kind from the line `since` on, in their order."""
        lines = self._notes.read_text().splitlines()[since:] if self._notes.exists() else []
        return [note for note in (Note(**json.loads(line)) for line in lines) if note.what == what]

    def windows(self, since: int = 0) -> list[str]:
        """The windows that were begun, in their order, each as often as it was."""
        return [note.window for note in self.notes("began", since)]

    def in_work(self, since: int = 0) -> Note | None:
        """A window that a worker is at."""
        ended = [note.window for note in self.notes("ended", since)]
        return next((note for note in reversed(self.notes("began", since)) if note.window not in ended), None)

    @property
    def written(self) -> int:
        """How many lines there are."""
        return len(self._notes.read_text().splitlines()) if self._notes.exists() else 0

    @contextmanager
    def open(
        self,
        *,
        trap: str = "",
        port: int | None = None,
        window_seconds: float = 0.1,
        data_dir: Path | None = None,
        variables: Mapping[str, str] | None = None,
        **settings: str,
    ) -> Iterator[Server]:
        """A server, which springs the trap, if there is one: see `failpoints`."""
        models = self.folder / "models"
        if not models.exists():
            song_repo(models)
            for name, kind in (("watched", WatchedModel), ("heavy", HeavyModel)):
                model = small_model()
                model.__class__ = kind
                save_pickle(models, name, model)
        environment = {
            **song_environment(
                models, window_seconds=window_seconds, **{"WORKERS__PROCESSES": str(WORKERS), **settings}
            ),
            _NOTES_VARIABLE: str(self._notes),
            **({"STREAMSRV_TRAP": trap} if trap else {}),
            **(variables or {}),
        }
        program = (FAILPOINTS,) if trap else ("-m", "streamsrv")
        with serving(data_dir or self.data_dir, environment=environment, port=port, program=program) as server:
            yield server


@dataclass(frozen=True)
class Made:
    """What came of a song: the digest of each WAV, the sound of each MP3, the windows that were separated."""

    wavs: Mapping[str, str]
    mp3s: Mapping[str, np.ndarray]
    windows: frozenset[str]


def made_of(server: Server, song: str, windows: Iterable[str] = ()) -> Made:
    """The tracks of a Completed song."""
    found = completed_song(server, song)
    wavs, mp3s = {}, {}
    for track in found["tracks"]:
        wavs[track["name"]] = digest(fetched(track["wav_url"]).content)
        path = server.log.with_name("track.mp3")
        path.write_bytes(fetched(track["mp3_url"]).content)
        mp3s[track["name"]] = decode(path)
    assert tuple(wavs) == TRACKS
    return Made(wavs, mp3s, frozenset(windows))


def assert_same(made: Made, expected: Made) -> None:
    """Sample for sample."""
    assert made.wavs == expected.wavs
    for name, sound in made.mp3s.items():
        assert np.array_equal(sound, expected.mp3s[name]), name


def fetched(url: str) -> requests.Response:
    reply = requests.get(url, timeout=WAIT_SECONDS)
    assert reply.status_code == 200, reply.text
    return reply


def remove(server: Server, song: str) -> None:
    """Cancel it, should it run, and then remove it."""
    url = f"{server.url}/apiv1/song/{song}"
    assert requests.delete(url, timeout=WAIT_SECONDS).status_code in (200, 202, 204)
    until(lambda: requests.delete(url, timeout=WAIT_SECONDS).status_code == 404)


def served(server: Server, song: str) -> dict[str, tuple[str, str]]:
    """All that a player can have of a song now, all tracks: paths, each with the digest of its bytes and its ETag."""
    found = {}
    for track in get_song(server, song)["tracks"]:
        playlist = fetched(track["playlist_url"])
        names = [line for line in playlist.text.splitlines() if line and not line.startswith("#")]
        inits = [line.split('"')[1] for line in playlist.text.splitlines() if line.startswith("#EXT-X-MAP")]
        for name in inits + names:
            reply = fetched(urljoin(playlist.url, name))
            found[urlsplit(reply.url).path] = digest(reply.content), reply.headers["ETag"]
    return found


def has_segments(count: int) -> Callable[[Mapping[str, Any]], bool]:
    """Are there so many segments of each track?"""

    def enough(found: Mapping[str, Any]) -> bool:
        urls = [track["playlist_url"] for track in found["tracks"]]
        return bool(urls) and urls[0] is not None and fetched(urls[0]).text.count("#EXTINF") >= count

    return enough


def workers(server: Server) -> list[int]:
    return [pid for pid in server.children() if "spawn_main" in command_of(pid)]


def command_of(pid: int) -> str:
    with suppress(OSError):  # it ended meanwhile
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def coders(data_dir: Path, mark: str = "") -> list[int]:
    """The ffmpeg processes that work for songs, without the sandboxes around them."""
    return [
        pid
        for pid, command in processes_of(data_dir).items()
        if command.partition(" ")[0].endswith("ffmpeg") and mark in command
    ]


def alive(pids: list[int]) -> list[int]:
    """Those of them that still run; one that only waits to be reaped doesn't."""
    return [pid for pid in pids if state_of(pid) not in ("Z", "X", "")]


def state_of(pid: int) -> str:
    with suppress(OSError):  # it is gone
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    return ""
