"""Songs for a server that separates, with models of a second's windows: quick ones, a slow and a deadly one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from demucs.htdemucs import HTDemucs

from support.deadline import until
from support.models import save_pickle, small_model, tiny_repo
from support.server import ENDED, Server, serving
from support.sound import FFMPEG
from support.wire.messages import posted_form

RATE = 44100
TRACKS = ("vocals", "drums", "bass", "other", "instrumental")
SECONDS_VARIABLE = "STREAMSRV_TEST_WINDOW_SECONDS"
TESTS = Path(__file__).parent.parent
# Its sitecustomize changes the world of a process as variables say.
WORLD = TESTS / "support" / "world"
# Variables of a server that nobody gave the extra `separate`.
WITHOUT = {"PYTHONPATH": str(WORLD), "STREAMSRV_TEST_HIDDEN": "torch,demucs,safetensors,yaml,huggingface_hub"}


class SlowModel(HTDemucs):
    """Takes so many seconds for a window as the variable says."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        time.sleep(float(os.environ[SECONDS_VARIABLE]))
        return super().forward(mix)


class DeadlyModel(HTDemucs):
    """No process survives a window of it."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(mix)


def song_repo(folder: Path) -> Path:
    """A folder with the models `tiny`, `tiny6`, `slow` and `deadly`."""
    tiny_repo(folder)
    for name, kind in (("slow", SlowModel), ("deadly", DeadlyModel)):
        model = small_model()
        model.__class__ = kind
        save_pickle(folder, name, model)
    return folder


def song_environment(repo: Path, *, window_seconds: float = 0.5, **settings: str) -> dict[str, str]:
    """Variables for a server with these models; settings as SEPARATE__SONGS="2"."""
    return {
        "STREAMSRV_SEPARATE__MODEL_REPO": str(repo),
        "STREAMSRV_SEPARATE__MODEL": "tiny",
        "STREAMSRV_SEPARATE__DEVICES": "cpu",
        # Each process takes seconds to import torch.
        "STREAMSRV_WORKERS__PROCESSES": "1",
        "HF_HUB_OFFLINE": "1",
        # The children find the classes above by their names.
        "PYTHONPATH": f"{WORLD}:{TESTS}",
        SECONDS_VARIABLE: str(window_seconds),
        **{f"STREAMSRV_{name}": value for name, value in settings.items()},
    }


@contextmanager
def song_server(
    folder: Path,
    *,
    window_seconds: float = 0.0,
    port: int | None = None,
    world: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Server]:
    """A server in `folder` that separates with the models above; `world` are variables of its own."""
    repo = song_repo(folder / "models")
    variables = song_environment(repo, window_seconds=window_seconds, **settings)
    with serving(folder / "data", port=port, environment=variables | dict(world or {})) as server:
        yield server


def music(
    path: Path,
    *,
    seconds: float,
    rate: int = RATE,
    channels: int = 2,
    seed: int = 0,
    loudness: float = 0.2,
    options: str = "",
) -> Path:
    """Write noise that swells, differently in each channel, so that no stretch of it is like another."""
    samples = max(1, round(seconds * rate))
    chance = np.random.default_rng(seed)
    swell = np.cos(np.arange(samples)[:, None] / rate * (3.0 + np.arange(channels))) ** 2
    sound = np.clip(loudness * swell * chance.normal(0, 1, (samples, channels)), -1, 1)
    raw = ("-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "pipe:0")
    data = sound.astype("<f4").tobytes()
    subprocess.run([*FFMPEG, *raw, *options.split(), str(path)], input=data, check=True, timeout=60)
    return path


def send_song(server: Server, file: Path, **fields: str) -> str:
    """Send a file as a form and return the song's hash."""
    reply = requests.post(f"{server.url}/apiv1/separate", files=posted_form(file, fields), timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()["hash"]


def get_song(server: Server, song: str, query: str = "") -> dict[str, Any]:
    reply = requests.get(f"{server.url}/apiv1/song/{song}{query}", timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()


def song_when(
    server: Server, song: str, wanted: Callable[[dict[str, Any]], bool], *, seconds: float = 60.0, query: str = ""
) -> dict[str, Any]:
    """The song once `wanted(song)` is true."""

    def as_wanted() -> dict[str, Any] | None:
        found = get_song(server, song, query)
        return found if wanted(found) else None

    return until(
        as_wanted,
        seconds=seconds,
        what=lambda: f"{get_song(server, song, query)}\n{server.log.read_text()[-3000:]}",
    )


def ended_song(server: Server, song: str, *, seconds: float = 60.0, query: str = "") -> dict[str, Any]:
    """The song once it has ended."""
    return song_when(server, song, lambda found: found["status"] in ENDED, seconds=seconds, query=query)


def tracks_of(song: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {track["name"]: track for track in song["tracks"]}


def completed_song(server: Server, song: str, *, seconds: float = 60.0, query: str = "") -> dict[str, Any]:
    """The song once it is Completed; nothing else will do."""
    found = ended_song(server, song, seconds=seconds, query=query)
    assert found["status"] == "Completed", found
    return found


def track_bytes(server: Server, song: str, name: str, query: str = "") -> bytes:
    reply = requests.get(f"{server.url}/apiv1/track/{song}/{name}{query}", timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.content
