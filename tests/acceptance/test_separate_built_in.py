"""A server that nobody gave a model, nor settings: it separates by the small one that comes along, and says so."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.deadline import until
from support.models import save_bag, save_safe, small_model
from support.neighbours.answering import Answer, Asked, answering
from support.server import Server, serving
from support.songs import completed_song, ended_song, get_song, music, send_song, track_bytes

# Of twenty seconds of music. Two cores that do nothing else need five.
STEMS_SECONDS = 90.0
# The hub's library tries for 23 s to reach it.
GIVEN_UP_SECONDS = 60.0
NOWHERE = "http://127.0.0.1:1"
COMMIT = "c0ffee" * 6 + "c0ff"
SIGNATURE = "955717e8"

Start = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a server whose user has an empty home and no network: `with start(HF_ENDPOINT=...) as server`."""

    @contextmanager
    def start_server(**variables: str) -> Iterator[Server]:
        home = str(tmp_path / "home")
        caches = {"HOME": home, "XDG_CACHE_HOME": f"{home}/.cache", "HF_HOME": f"{home}/hf", "TORCH_HOME": f"{home}/t"}
        hub = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": NOWHERE, "HF_HUB_CACHE": f"{home}/hf/hub"}
        ways_out = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), NOWHERE) | {"no_proxy": "127.0.0.1"}
        with serving(tmp_path / "data", environment={**caches, **hub, **ways_out, **variables}) as server:
            yield server

    return start_server


def models(server: Server) -> dict[str, Any]:
    return requests.get(f"{server.url}/apiv1/models", timeout=30).json()


def models_when(server: Server, wanted: Callable[[dict[str, Any]], bool]) -> None:
    until(
        lambda: wanted(models(server)),
        seconds=GIVEN_UP_SECONDS,
        what=lambda: f"{models(server)}\n{server.log.read_text()[-3000:]}",
    )


def test_an_empty_machine_without_a_hub(start: Start, tmp_path: Path) -> None:
    """The first song has its stems at once, by the built-in model, and its status says so and why."""
    with start() as server:
        song = send_song(server, music(tmp_path / "song.mp3", seconds=9))
        told = ended_song(server, song, seconds=STEMS_SECONDS)
        assert (told["status"], told["model"]) == ("Completed", "streamsrv-small")
        assert told["model_reason"] == "htdemucs is being downloaded; used the small built-in model"
        assert [track["name"] for track in told["tracks"]] == ["vocals", "drums", "bass", "other", "instrumental"]
        assert track_bytes(server, song, "vocals.wav")[:4] == b"RIFF"
        models_when(server, lambda told: told["default_reason"] == "htdemucs could not be downloaded")
        later = send_song(server, music(tmp_path / "later.mp3", seconds=1, seed=1))
        reason = "htdemucs could not be downloaded; used the small built-in model"
        assert get_song(server, later)["model_reason"] == reason
        completed_song(server, later)
    with start() as server:  # what was said stays said
        assert get_song(server, later)["model_reason"] == reason
        again = send_song(server, tmp_path / "song.mp3")
        assert again == song
        assert get_song(server, again)["status"] == "Completed"


def test_who_insists_is_told(start: Start, tmp_path: Path) -> None:
    """With separate.model = "htdemucs" no other model is used: a song fails and says what is missing."""
    with start(STREAMSRV_SEPARATE__MODEL="htdemucs", HF_HUB_OFFLINE="1") as server:
        assert models(server)["default"] == "htdemucs"
        song = send_song(server, music(tmp_path / "song.mp3", seconds=1))
        told = ended_song(server, song)
        assert (told["status"], told["model"], told["model_reason"]) == ("Failed", "htdemucs", None)
        assert "python -m streamsrv models pull htdemucs" in told["error"]


@pytest.mark.thorough
def test_damaged_weights_stop_nobody(start: Start, tmp_path: Path) -> None:
    """Where htdemucs's files are here but damaged, songs get the built-in model soon after the start, and say why."""
    checkpoints = tmp_path / "home" / "t" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "955717e8-8726e21a.th").write_bytes(b"no weights at all")
    with start(HF_HUB_OFFLINE="1") as server:
        models_when(server, lambda told: told["default_reason"] == "htdemucs could not be loaded")
        song = send_song(server, music(tmp_path / "song.mp3", seconds=1))
        told = completed_song(server, song)
        assert told["model_reason"] == "htdemucs could not be loaded; used the small built-in model"


class Hub:
    """Demucs's hub as its library sees it, with one model, which it gives only once it is `open`."""

    def __init__(self, files: Path) -> None:
        self.open = threading.Event()
        self.asked: list[str] = []
        self._files = files

    @contextmanager
    def serving(self) -> Iterator[str]:
        with answering(self._answer) as address:
            try:
                yield address
            finally:
                self.open.set()

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(asked.path)
        self.open.wait(GIVEN_UP_SECONDS)
        file = self._files / asked.path.removeprefix("/adefossez/HTDemucs/resolve/main/")
        if not file.is_file():  # its library asks for other things, too
            return Answer(404)
        body = file.read_bytes()
        return Answer(headers={"X-Repo-Commit": COMMIT, "ETag": f'"{len(body):040}"'}, body=body)


@pytest.mark.thorough
def test_the_better_model_comes_by_itself(start: Start, tmp_path: Path) -> None:
    """While the server downloads htdemucs songs get the built-in model; once it is here it is the default.

    The same song, sent again, is then made anew by it, and an address without a model means the new one.
    """
    files = tmp_path / "hub"
    files.mkdir()
    save_safe(files, SIGNATURE, small_model())
    save_bag(files, "htdemucs", [SIGNATURE])
    hub, file = Hub(files), music(tmp_path / "song.mp3", seconds=1)
    with hub.serving() as address, start(HF_ENDPOINT=address) as server:
        song = send_song(server, file)
        assert get_song(server, song)["model_reason"] == "htdemucs is being downloaded; used the small built-in model"
        completed_song(server, song)
        hub.open.set()
        models_when(server, lambda told: told["default"] == "htdemucs")
        assert models(server)["default_reason"] is None
        assert get_song(server, song)["model"] == "streamsrv-small"
        assert send_song(server, file) == song
        told = completed_song(server, song)
        assert (told["model"], told["model_reason"]) == ("htdemucs", None)
        events = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        assert "model_downloaded" in [event["event"] for event in events]
    assert hub.asked
