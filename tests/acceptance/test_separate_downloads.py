"""Files of tracks that are made when somebody asks: for those who wait, a few at a time, and for HEAD never."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from support.deadline import until
from support.server import Server
from support.songs import TRACKS, completed_song, music, send_song, song_server, track_bytes
from support.sound import FFMPEG

WAIT_SECONDS = 10.0
WATCH_SECONDS = 1.0
AT_ONCE = 2


@pytest.fixture(scope="module")
def brake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file is, an ffmpeg that begins waits until it is gone."""
    return tmp_path_factory.mktemp("brake") / "on"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, brake: Path) -> Iterator[Server]:
    braked = brake.parent / "ffmpeg"
    braked.write_text(f'#!/bin/sh\nwhile [ -e {brake} ]; do sleep 0.05; done\nexec {FFMPEG[0]} "$@"\n')
    braked.chmod(0o755)
    folder = tmp_path_factory.mktemp("songs")
    with song_server(folder, FFMPEG__FFMPEG=str(braked), FFMPEG__SANDBOX="off") as server:
        yield server


@pytest.fixture
def song(server: Server, tmp_path: Path) -> str:
    """The hash of a song that is Completed, and of which no file was asked for."""
    song = send_song(server, music(tmp_path / "song.mp3", seconds=2, seed=time.monotonic_ns()))
    completed_song(server, song)
    return song


@contextmanager
def braking(brake: Path) -> Iterator[None]:
    brake.touch()
    try:
        yield
    finally:
        brake.unlink()


def in_the_making(server: Server) -> list[str]:
    return [folder.name for folder in (server.data_dir / "scratch").iterdir()]


def most_of(count: Callable[[], int]) -> int:
    """The highest count in a while."""
    end, most = time.monotonic() + WATCH_SECONDS, 0
    while time.monotonic() < end:
        most = max(most, count())
        time.sleep(0.02)
    return most


def test_nobody_asks_for_the_head_of_an_archive(server: Server, song: str) -> None:
    """An archive has no HEAD, which would have to make all of it; whoever asks gets no body that isn't awaited."""
    client = HTTPConnection(urlsplit(server.url).netloc, timeout=WAIT_SECONDS)
    client.request("HEAD", f"/apiv1/archive/{song}.zip")
    head = client.getresponse()
    assert (head.status, head.read()) == (405, b"")
    client.request("GET", "/health")
    assert client.getresponse().status == 200
    client.close()


@pytest.mark.parametrize("path", ["track/{}/drums.wav", "archive/{}.zip?format=wav"])
def test_nothing_is_made_for_those_who_left(server: Server, song: str, brake: Path, path: str) -> None:
    """When a client leaves, what was being made for it alone is given up, and its scratch files go."""
    with braking(brake):
        client = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=WAIT_SECONDS)
        client.sendall(f"GET /apiv1/{path.format(song)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: in_the_making(server))
        client.close()
        until(lambda: not in_the_making(server))
    assert track_bytes(server, song, "drums.wav")


def test_few_files_are_made_at_once(server: Server, song: str, brake: Path) -> None:
    """However many are asked for, so many are made at a time; in the end all of them are there."""
    with ThreadPoolExecutor(len(TRACKS)) as clients:
        with braking(brake):
            asked = [clients.submit(track_bytes, server, song, f"{name}.wav") for name in TRACKS]
            until(lambda: len(in_the_making(server)) >= AT_ONCE)
            assert most_of(lambda: len(in_the_making(server))) == AT_ONCE
        assert len({file.result() for file in asked}) == len(TRACKS)


@pytest.mark.parametrize("path", ["track/{}/drums.wav", "archive/{}.zip?format=flac"])
@pytest.mark.parametrize("removed", ["remove/{}/drums", "song/{}"])
def test_what_is_removed_while_it_is_made_is_gone(
    server: Server, song: str, brake: Path, path: str, removed: str
) -> None:
    """Who waits for the file of a track that is removed meanwhile is told just that; it is nobody's fault."""
    with ThreadPoolExecutor(1) as clients:
        with braking(brake):
            asked = clients.submit(requests.get, f"{server.url}/apiv1/{path.format(song)}", timeout=60)
            until(lambda: "track" in " ".join(in_the_making(server)))
            reply = requests.delete(f"{server.url}/apiv1/{removed.format(song)}", timeout=WAIT_SECONDS)
            assert reply.status_code in (200, 204), reply.text
        reply = asked.result()
    assert reply.status_code == 404, reply.text
    assert reply.json()["detail"] in ("The track was removed.", "There is no such track.")
    assert not in_the_making(server)
