"""The two documents on separation, word for word, against the server process on their port, 5000.

Their callback goes to http://example.com: for the server that is a public address, behind which a small server of the
test listens.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
import requests
from support.deadline import until
from support.neighbours.answering import Answer, Asked, answering
from support.performed import performed, written
from support.server import Server, serving
from support.snippets import claim_port, read_snippets
from support.songs import RATE, WORLD, completed_song
from support.sound import decode

SNIPPETS = read_snippets("separation.md")
URL = "http://localhost:5000"
SECONDS = 10.0
# Correlation; of the same sound it is 1.
MOST_ALIKE = 0.7


@dataclass
class Example:
    """What came to example.com."""

    port: int = 0
    calls: list[Asked] = field(default_factory=list)

    def note(self, asked: Asked) -> Answer:
        self.calls.append(asked)
        return Answer(HTTPStatus.NO_CONTENT)

    def call(self, path: str) -> Asked:
        """The first request of that path, once it has come."""
        return until(lambda: next((call for call in self.calls if call.path == path), None))


@pytest.fixture(scope="module")
def example() -> Iterator[Example]:
    found = Example()
    with answering(found.note) as address:
        found.port = int(address.rpartition(":")[2])
        yield found


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory, example: Example) -> Iterator[Server]:
    """The server on the documents' port, and on IPv6, since `localhost` may be either."""
    claim_port(5000)
    folder = tmp_path_factory.mktemp("documents")
    environment = {"PYTHONPATH": str(WORLD), "STREAMSRV_TEST_EXAMPLE_PORT": str(example.port)}
    with serving(folder / "data", "--host", "::1", port=5000, environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mix = performed()[..., : round(SECONDS * RATE)].sum(axis=0)
    return written(tmp_path_factory.mktemp("song") / "example.mp3", mix)


@dataclass
class Separated:
    """What the first program printed, and the song that came of it."""

    printed: str
    song: str


@pytest.fixture(scope="module")
def separated(documented: Server, song: Path, tmp_path_factory: pytest.TempPathFactory) -> Separated:
    folder = tmp_path_factory.mktemp("program")
    shutil.copy(song, folder)
    printed = run(folder, "sample requests")
    song_hash = json.loads(printed[printed.index("{") : printed.index("}") + 1])["hash"]
    completed_song(documented, song_hash)
    return Separated(printed, song_hash)


def run(folder: Path, name: str, *arguments: str) -> str:
    """Run a program of the snippets to its good end and return what it printed."""
    (folder / "sample.py").write_text(SNIPPETS[name])
    argv = [sys.executable, "sample.py", *arguments]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_song_is_sent_in_base64(separated: Separated, song: Path) -> None:
    """The program of the documents prints their reply and their queue, with the song's own hash in it."""
    replies = [json.loads(text) for text in re.findall(r"request is\n(\{.*?^\})", separated.printed, re.DOTALL | re.M)]
    for blank, reply, queue in (
        ("unique-song-hash", "reply", None),
        ("e5f013b19e55e5b7354eaf303c86b2b93f1d2847d8c9fa58c77a0add", "short reply", "short queue reply"),
    ):
        assert replies[0] == json.loads(SNIPPETS[reply].replace(blank, separated.song))
        assert queue is None or replies[1] == json.loads(SNIPPETS[queue].replace(blank, separated.song))
    text = base64.b64encode(song.read_bytes())
    assert separated.song == hashlib.sha256(text).hexdigest()


def test_the_queue_is_a_list_of_hashes(documented: Server, separated: Separated) -> None:
    """The queue has the documents' one field; a song that is done isn't in it any more."""
    reply = requests.get(f"{URL}/apiv1/queue", timeout=30).json()
    assert set(reply) == set(json.loads(SNIPPETS["queue reply"]))
    assert separated.song not in reply["queue"]


def test_the_callback_is_called(documented: Server, separated: Separated, example: Example) -> None:
    """The documents' callback is told of the song, and of addresses at which each track is an MP3."""
    call = example.call("/callback")
    assert (call.method, call.headers["Host"]) == ("POST", "example.com")
    data = json.loads(call.body)["data"]
    assert (data["hash"], data["song_name"], data["status"]) == (separated.song, "example.mp3", "Completed")
    for url in data["tracks"].values():
        assert url.startswith(f"{URL}/apiv1/track/{separated.song}/")
        assert requests.get(url, timeout=30).headers["Content-Type"] == "audio/mpeg"


@pytest.mark.parametrize("track", ["vocals", "bass", "drums", "other"])
def test_a_track_is_an_mp3(documented: Server, separated: Separated, track: str) -> None:
    """Each of the documents' tracks is an MP3 of the song's length, and it sounds."""
    url = f"{URL}/apiv1/track/{separated.song}/{track}"
    assert requests.get(url, timeout=30).headers["Content-Type"] == "audio/mpeg"
    sound = decode(url)
    assert len(sound) == pytest.approx(SECONDS * RATE, abs=1152)
    assert np.abs(sound).max() > 1000


def test_the_tracks_are_four_sounds(documented: Server, separated: Separated) -> None:
    """Separated by the model that comes along: no track is another one again, and none is the mix of them."""
    sounds = [
        decode(f"{URL}/apiv1/track/{separated.song}/{track}").astype(float).ravel()
        for track in ("vocals", "bass", "drums", "other")
    ]
    sounds.append(np.sum(sounds, axis=0))
    alike = np.abs(np.corrcoef(sounds)) - np.eye(len(sounds))
    assert alike[:4, :4].max() < MOST_ALIKE
    assert alike[4].max() < 0.95


def test_the_short_documents_tracks(documented: Server, separated: Separated, tmp_path: Path) -> None:
    """The second program saves the short document's four tracks, base is the bass, and removes one by GET."""
    printed = run(tmp_path, "short sample requests", separated.song)
    assert json.loads(printed.replace("'", '"'))["reason"] == "Track removed"
    assert {path.name for path in tmp_path.glob("*.mp3")} == {"base.mp3", "vocals.mp3", "drums.mp3", "other.mp3"}
    bass = requests.get(f"{URL}/apiv1/track/{separated.song}/bass", timeout=30).content
    assert (tmp_path / "base.mp3").read_bytes() == bass
    assert requests.get(f"{URL}/apiv1/track/{separated.song}/drums", timeout=30).status_code == 404
    assert requests.delete(f"{URL}/apiv1/remove/{separated.song}/drums", timeout=30).status_code == 404


def test_a_track_is_removed_by_delete(documented: Server, separated: Separated) -> None:
    """DELETE confirms in words; the track is gone then, and can't be removed twice."""
    url = f"{URL}/apiv1/remove/{separated.song}/other"
    reply = requests.delete(url, timeout=30)
    assert (reply.status_code, reply.json()) == (
        200,
        {"hash": separated.song, "track": "other", "reason": "Track removed"},
    )
    assert requests.get(f"{URL}/apiv1/track/{separated.song}/other", timeout=30).status_code == 404
    assert requests.delete(url, timeout=30).status_code == 404


def test_the_request_as_it_is(documented: Server) -> None:
    """The documents' request, whose song is but the words for one (which are base64, too), holds no sound."""
    reply = requests.post(f"{URL}/apiv1/separate", json=json.loads(SNIPPETS["request"]), timeout=30)
    assert (reply.status_code, reply.headers["Content-Type"]) == (422, "application/problem+json")
    assert "isn't sound that can be read" in reply.json()["detail"]


def test_the_request_with_a_song_in_it(documented: Server, song: Path) -> None:
    """The documents' request with a song in the blank is taken, and answered in the documents' words."""
    data = song.read_bytes() + bytes(1)  # another song for the server
    text = SNIPPETS["request"].replace("Base64-encoded-MP3-data", base64.b64encode(data).decode())
    reply = requests.post(f"{URL}/apiv1/separate", text, headers={"Content-Type": "application/json"}, timeout=30)
    song_hash = hashlib.sha256(base64.b64encode(data)).hexdigest()
    assert reply.json() == json.loads(SNIPPETS["reply"].replace("unique-song-hash", song_hash))
    until(lambda: song_hash not in requests.get(f"{URL}/apiv1/queue", timeout=30).json()["queue"], seconds=60)
    assert completed_song(documented, song_hash)["song_name"] == "example.mp3"


def test_all_snippets_are_used() -> None:
    """Each block of the documents is used above."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in SNIPPETS if f'"{name}"' not in source] == []
