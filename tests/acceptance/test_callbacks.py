"""Callbacks of a real server: to receivers in trouble, across a restart, and to those who must not be reached."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from standardwebhooks import Webhook
from support.deadline import until
from support.neighbours.answering import Answer, Asked, answering
from support.server import Server, free_port, serving
from support.songs import ended_song, get_song, send_song, song_environment, song_repo, song_when
from support.sound import tone
from support.wire.messages import posted_form

SECRET = "whsec_c3RyZWFtc3J2IGluIGl0cyB0ZXN0cyE="
SECONDS = 1.5
PATIENCE_SECONDS = 40.0


class Receiver:
    """Answers with one status after the other, the last one from then on; 0 is no answer at all."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.came: list[tuple[int, str, dict[str, Any]]] = []
        self.port = 0
        self._released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/callback"

    @contextmanager
    def serving(self) -> Iterator[Self]:
        with answering(self._answer) as address:
            self.port = int(address.rpartition(":")[2])
            try:
                yield self
            finally:
                self._released.set()

    def _answer(self, asked: Asked) -> Answer | None:
        said = Webhook(SECRET).verify(asked.body, dict(asked.headers))  # raises for a wrong signature
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.came.append((status, asked.headers["webhook-id"], said))
        if status:
            return Answer(status)
        self._released.wait(PATIENCE_SECONDS)
        return None


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return song_repo(tmp_path_factory.mktemp("models"))


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    tone(path, seconds=SECONDS)
    return path


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(500, 500, 0, 200).serving() as receiver:
        yield receiver


def environment(repo: Path, *, allow: str = "127.0.0.1", retry_seconds: str = "0.2,0.2,0.2,0.2") -> dict[str, str]:
    return song_environment(
        repo,
        OUTBOUND__ALLOW=allow,
        CALLBACKS__SECRET=SECRET,
        CALLBACKS__RETRY_SECONDS=retry_seconds,
        CALLBACKS__TIMEOUT_SECONDS="3",
    )


def settled(server: Server, song: str) -> dict[str, Any]:
    """The song's only callback once it doesn't wait any more."""
    found = song_when(
        server, song, lambda song: song["callbacks"] and song["callbacks"][0]["status"] != "waiting", seconds=40
    )
    (callback,) = found["callbacks"]
    return callback


class TestDelivery:
    def test_trouble_and_restart(self, repo: Path, song: Path, receiver: Receiver, tmp_path: Path) -> None:
        """500, 500, a server that is killed, no answer, 200: one delivery is taken, all have one id and are signed."""
        data, port = tmp_path / "data", free_port()
        with serving(data, port=port, environment=environment(repo)) as server:
            name = send_song(server, song, callback_url=receiver.url, song_name="Song")
            until(lambda: len(receiver.came) >= 2, what=lambda: server.log.read_text()[-3000:])
            server.kill()
        with serving(data, port=port, environment=environment(repo)) as server:
            callback = settled(server, name)
        assert callback["status"] == "delivered"
        assert callback["attempts"][-1]["status"] == 200
        assert [status for status, _, _ in receiver.came][-1] == 200
        assert [status for status, _, _ in receiver.came].count(200) == 1
        assert {message for _, message, _ in receiver.came} == {callback["id"]}
        (_, _, said) = receiver.came[-1]
        assert said["type"] == "song.completed"
        assert (said["data"]["hash"], said["data"]["song_name"]) == (name, "Song")
        assert all(said == earlier for _, _, earlier in receiver.came)

    def test_tracks_and_replay(self, repo: Path, song: Path, tmp_path: Path) -> None:
        """What a callback names can be fetched, a second submission is told at once, and each can be sent again."""
        with Receiver(200).serving() as receiver, serving(tmp_path / "data", environment=environment(repo)) as server:
            name = send_song(server, song, callback_url=receiver.url)
            callback = settled(server, name)
            urls = receiver.came[0][2]["data"]["tracks"]
            assert set(urls) == {"vocals", "drums", "bass", "other", "instrumental"}
            assert all(requests.head(url, timeout=30).status_code == 200 for url in urls.values())
            again = requests.post(f"{server.url}/apiv1/song/{name}/callbacks/{callback['id']}", timeout=30)
            assert again.status_code == 202
            assert send_song(server, song, callback_url=receiver.url) == name
            until(lambda: len(receiver.came) >= 3, what=lambda: server.log.read_text()[-3000:])
            assert len({message for _, message, _ in receiver.came}) == 2
            attempts = [
                each["attempts"] for each in get_song(server, name)["callbacks"] if each["id"] == callback["id"]
            ]
            assert len(attempts[0]) == 2
            unknown = requests.post(f"{server.url}/apiv1/song/{name}/callbacks/msg_0", timeout=30)
            assert unknown.status_code == 404

    @pytest.mark.thorough
    def test_failed_song(self, repo: Path, song: Path, tmp_path: Path) -> None:
        """Who asked for a song that can't be separated is told so, with the reason."""
        with Receiver(200).serving() as receiver, serving(tmp_path / "data", environment=environment(repo)) as server:
            name = send_song(server, song, callback_url=receiver.url, model="deadly")
            assert ended_song(server, name)["status"] == "Failed"
            settled(server, name)
        said = receiver.came[0][2]
        assert (said["type"], said["data"]["tracks"]) == ("song.failed", {})
        assert "ends the process" in said["data"]["error"]

    @pytest.mark.thorough
    def test_refused(self, repo: Path, song: Path, receiver: Receiver, tmp_path: Path) -> None:
        """Nobody on a private network is called unless that is allowed now, and the song's status tells of each try.

        What says so by itself is refused when it is asked for.
        """
        data, port = tmp_path / "data", free_port()
        with serving(data, port=port, environment=environment(repo)) as server:
            name = send_song(server, song, callback_url=receiver.url)
            until(lambda: receiver.came, what=lambda: server.log.read_text()[-3000:])
            server.kill()
        told = len(receiver.came)
        with serving(data, port=port, environment=environment(repo, allow="", retry_seconds="0.1")) as server:
            for host in ("127.0.0.1", "localhost", "app.localhost", "[::1]", "127.0.0.1:0"):
                asked = posted_form(song, {"callback_url": f"http://{host}/callback"})
                refused = requests.post(f"{server.url}/apiv1/separate", files=asked, timeout=60)
                assert (host, refused.status_code) == (host, 400)
            callback = settled(server, name)
        assert callback["status"] == "gave up"
        assert (callback["attempts"][-1]["status"], bool(callback["attempts"][-1]["error"])) == (None, True)
        assert len(receiver.came) == told
        assert "127.0.0.1" not in json.dumps(callback["attempts"])
