"""A server that nobody gave the extra `separate`: songs are refused in words of what to do, and all else works."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.server import Server, free_port, serving
from support.songs import WITHOUT, music
from support.sound import decode
from support.traces.files import below
from support.wire.upload import Upload

INSTALL = "by `make serve` or the extra 'separate'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("without") / "data", environment=WITHOUT) as server:
        yield server


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return music(tmp_path_factory.mktemp("song") / "song.wav", seconds=1)


def files_of(server: Server) -> list[Path]:
    return [path for path in below(server.data_dir / "files") if path.is_file()]


def logged(server: Server, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_the_log_says_so(server: Server, session_server: Server) -> None:
    """At the start the log says that separation isn't installed, and what to do, where another names its devices."""
    (start,), (line,) = logged(server, "server_starting"), logged(server, "separation_not_installed")
    assert (start["separates_on"], INSTALL in line["detail"]) == ([], True)
    assert logged(session_server, "server_starting")[0]["separates_on"] != []
    assert logged(session_server, "separation_not_installed") == []


def test_doctor_says_so(tmp_path: Path) -> None:
    """It is no fault, since all the rest works: doctor says it, and how to add it, and names no device."""
    argv = [sys.executable, "-m", "streamsrv", "doctor", "--data-dir", str(tmp_path)]
    variables = {**os.environ, **WITHOUT, "STREAMSRV_SERVER__PORTS": str(free_port())}
    done = subprocess.run(argv, env=variables, capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    about = [line for line in done.stdout.splitlines() if "ong" in line or "odel" in line]
    assert len(about) == 1
    assert about[0].startswith("ok   Songs aren't separated: Demucs isn't installed")
    assert INSTALL in about[0]


def test_a_song_is_refused_before_it_is_sent(server: Server, file: Path) -> None:
    """As a form and as JSON: 501 in words, with what its operator can do, and nothing is kept."""
    with Upload(server, "/apiv1/separate", bytes(1 << 20)) as upload:
        reply = upload.reply()  # of the body not a byte was sent
    assert (reply.status, INSTALL in reply.detail) == (501, True)
    for sent in ({"files": {"file": file.read_bytes()}}, {"json": {"mp3": "AAAA"}}):
        refused = requests.post(f"{server.url}/apiv1/separate", timeout=30, **sent)
        assert (refused.status_code, refused.json()["type"]) == (501, "/problems/not-installed")
        assert INSTALL in refused.json()["detail"]
    assert not files_of(server)


def test_models_say_what_is_missing(server: Server) -> None:
    """Demucs's best known models are listed as missing, with what to do."""
    models = requests.get(f"{server.url}/apiv1/models", timeout=30).json()["models"]
    assert "htdemucs" in [model["name"] for model in models]
    assert {model["state"] for model in models} == {"missing"}
    assert all(INSTALL in model["detail"] for model in models)


def test_the_rest_works(server: Server, file: Path, tmp_path: Path) -> None:
    """Without the extra the server converts and streams as with it."""
    with file.open("rb") as sent:
        reply = requests.post(f"{server.url}/convert", data={"format": "flac"}, files={"file": sent}, timeout=30)
    assert reply.status_code == 200, reply.text
    (tmp_path / "song.flac").write_bytes(reply.content)
    assert len(decode(tmp_path / "song.flac")) == 44100
    job = server.ended(server.submit(file))
    assert job["status"] == "Completed"
