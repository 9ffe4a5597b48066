"""A server that nobody gave the extra `separate`: songs end in words of what to do, and all else works."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.deadline import until
from support.server import Server, serving
from support.songs import WORLD, ended_song, music, send_song
from support.sound import decode
from support.traces.files import below
from support.traces.tidy import TIDY_SECONDS

HIDDEN = "torch,demucs,safetensors,yaml,huggingface_hub"
INSTALL = "pip install 'streamsrv[separate]'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"PYTHONPATH": str(WORLD), "STREAMSRV_TEST_HIDDEN": HIDDEN}
    with serving(tmp_path_factory.mktemp("without") / "data", environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return music(tmp_path_factory.mktemp("song") / "song.wav", seconds=1)


def files_of(server: Server) -> list[Path]:
    return [path for path in below(server.data_dir / "files") if path.is_file()]


def test_a_song_fails_in_words(server: Server, file: Path) -> None:
    """A song is taken in, as everywhere, and ends Failed: the error says what its operator can do. Its file goes."""
    song = send_song(server, file)
    found = ended_song(server, song)
    assert found["status"] == "Failed"
    assert INSTALL in found["error"]
    until(lambda: not files_of(server), seconds=TIDY_SECONDS, what=lambda: files_of(server))
    reply = requests.get(f"{server.url}/apiv1/track/{song}/vocals", timeout=30)
    assert (reply.status_code, found["error"] in reply.json()["detail"]) == (404, True)
    assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 204


def test_models_say_what_is_missing(server: Server, file: Path) -> None:
    """Demucs's best known models are listed as missing, with what to do; others are refused at once."""
    models = requests.get(f"{server.url}/apiv1/models", timeout=30).json()["models"]
    assert "htdemucs" in [model["name"] for model in models]
    assert {model["state"] for model in models} == {"missing"}
    assert all(INSTALL in model["detail"] for model in models)
    reply = requests.post(
        f"{server.url}/apiv1/separate", files={"file": file.read_bytes()}, data={"model": "mine"}, timeout=30
    )
    assert (reply.status_code, "htdemucs" in reply.json()["detail"]) == (400, True)


def test_the_rest_works(server: Server, file: Path, tmp_path: Path) -> None:
    """Without the extra the server converts and streams as with it."""
    with file.open("rb") as sent:
        reply = requests.post(f"{server.url}/convert", data={"format": "flac"}, files={"file": sent}, timeout=30)
    assert reply.status_code == 200, reply.text
    (tmp_path / "song.flac").write_bytes(reply.content)
    assert len(decode(tmp_path / "song.flac")) == 44100
    job = server.ended(server.submit(file))
    assert job["status"] == "Completed"
