"""Models that write down what they are asked to do, and a server that separates songs with them.

`watched` takes a while for each window, `heavy` takes long to load. Their notes are in a file that outlives processes.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from demucs.htdemucs import HTDemucs

from streamsrv.separate.overlap import Plan
from support.models import save_pickle, small_model
from support.server import Server
from support.songs import RATE, SECONDS_VARIABLE, song_environment, song_repo
from support.trouble.traps import trapped

WORKERS = 2
# Two stems, so that a song takes fewer encoders than it takes with four.
SOURCES = ["drums", "vocals"]
TRACKS = ("vocals", "drums", "instrumental")
_NOTES_VARIABLE = "STREAMSRV_TEST_WINDOW_NOTES"
_LOADING_WINDOWS = 20


def plan(seconds: float) -> Plan:
    """The windows of a song."""
    return Plan.of(RATE, 0.25, round(seconds * RATE))


class WatchedModel(HTDemucs):
    """Notes when it is loaded, and when a window begins and ends; takes so many seconds as the variable says."""

    def load_state_dict(self, *arguments: Any, **keywords: Any) -> Any:
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

    def load_state_dict(self, *arguments: Any, **keywords: Any) -> Any:
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
                model = small_model(sources=SOURCES)
                model.__class__ = kind
                save_pickle(models, name, model)
        environment = {
            **song_environment(
                models, window_seconds=window_seconds, **{"WORKERS__PROCESSES": str(WORKERS), **settings}
            ),
            _NOTES_VARIABLE: str(self._notes),
            **(variables or {}),
        }
        with trapped(data_dir or self.data_dir, trap, port=port, environment=environment) as server:
            yield server
