"""What is sent to be separated, and isn't a song, or isn't asked for rightly: refused in words, and nothing is left."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.deadline import until
from support.models import tiny_repo
from support.server import Server, serving
from support.songs import music
from support.traces.files import below
from support.wire.messages import FORM_TYPE, closed, file_part, text_part
from support.wire.upload import Upload, ask

MAX_BYTES = 200_000
UNKNOWN = "0" * 64
GONE_SECONDS = 5.0
JSON_TYPE = {"Content-Type": "application/json"}
FOLDERS = ("spool", "scratch", "files")


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes small requests only. None of its songs is ever separated."""
    folder = tmp_path_factory.mktemp("refusals")
    settings = {
        "SEPARATE__MODEL": "tiny",
        "LIMITS__MAX_JSON_BYTES": str(MAX_BYTES),
        "LIMITS__MAX_UPLOAD_BYTES": str(MAX_BYTES),
    }
    settings["SEPARATE__MODEL_REPO"] = str(tiny_repo(folder / "models"))
    with serving(
        folder / "data", environment={f"STREAMSRV_{name}": value for name, value in settings.items()}
    ) as server:
        yield server


@pytest.fixture
def server(quiet_server: Server) -> Iterator[Server]:
    """At the end no song is known, none waits, and soon there is no file of one."""
    yield quiet_server
    assert requests.get(f"{quiet_server.url}/apiv1/songs", timeout=30).json() == {"songs": [], "next": None}
    assert requests.get(f"{quiet_server.url}/apiv1/queue", timeout=30).json() == {"queue": []}
    until(lambda: not files_of(quiet_server), seconds=GONE_SECONDS, what=lambda: files_of(quiet_server))


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return music(tmp_path_factory.mktemp("song") / "song.mp3", seconds=1).read_bytes()


def files_of(server: Server) -> list[Path]:
    return [path for name in FOLDERS for path in below(server.data_dir / name) if path.is_file()]


def post(server: Server, **request: Any) -> requests.Response:
    return requests.post(f"{server.url}/apiv1/separate", timeout=60, **request)


def send_form(server: Server, *parts: tuple[str, Any], **more: Any) -> requests.Response:
    """A form of these parts in their order: bytes are a file."""
    files = [(name, ("song.mp3", value) if isinstance(value, bytes) else (None, value)) for name, value in parts]
    return post(server, files=files, **more)


def refusal(reply: requests.Response, status: int) -> str:
    """The words of a problem of this status."""
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["status"] == status
    for secret in ("Traceback", "streamsrv/", "ffmpeg", "/tmp"):
        assert secret not in reply.text
    return reply.json()["detail"]


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


NO_SOUND = b"La la la. " * 5000
# What is sent instead of a song in JSON, given one in base64; the status, and words that it is refused with.
BODIES: dict[str, tuple[Callable[[str], str], int, str]] = {
    "no JSON": (lambda _: "mp3=1", 400, "isn't JSON"),
    "nothing": (lambda _: "", 400, "empty"),
    "a list": (lambda _: "[]", 400, "JSON object"),
    "no song": (lambda _: "{}", 400, "mp3"),
    "null": (lambda _: '{"mp3": null}', 400, "mp3"),
    "a number": (lambda _: '{"mp3": 5}', 400, "mp3"),
    "an empty song": (lambda _: '{"mp3": ""}', 400, "mp3"),
    "white space": (lambda _: '{"mp3": " \\n "}', 400, "empty"),
    "no base64": (lambda _: '{"mp3": "la, la"}', 400, "base64"),
    "base64 for addresses": (lambda _: '{"mp3": "__-_"}', 422, "sound"),
    "base64 without its end": (lambda _: '{"mp3": "AAAAA"}', 400, "base64"),
    "an address of other data": (lambda song: json.dumps({"mp3": f"data:audio/mpeg,{song}"}), 400, "base64"),
    "letters of another script": (lambda _: '{"mp3": "\u0441\u043e\u043d\u0433"}', 400, "base64"),
    "no sound": (lambda _: json.dumps({"mp3": in_base64(NO_SOUND)}), 422, "sound"),
    "zeros": (lambda _: json.dumps({"mp3": in_base64(bytes(100_000))}), 422, "sound"),
    "an unknown field": (lambda song: json.dumps({"mp3": song, "stems": 4}), 400, "no field stems here"),
    "a field twice": (lambda song: f'{{"mp3": "{song}", "mp3": "{song}"}}', 400, "twice"),
    "a callback without address": (lambda song: json.dumps({"mp3": song, "callback": {}}), 400, "callback.url"),
    "a callback that is none": (lambda song: json.dumps({"mp3": song, "callback": "http://a.b/"}), 400, "callback"),
    "too much": (lambda _: json.dumps({"mp3": "A" * MAX_BYTES}), 413, f"{MAX_BYTES} bytes"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_json_is_refused(server: Server, song: bytes, name: str) -> None:
    """What isn't a song in JSON is refused, with words that name what is wrong."""
    make, status, words = BODIES[name]
    assert words in refusal(post(server, data=make(in_base64(song)).encode(), headers=JSON_TYPE), status)


OPTIONS: dict[str, tuple[Any, str]] = {
    "model": ("htdemucs_8s", "There are: streamsrv-small, tiny, tiny6"),
    "overlap": (1, "overlap"),
    "shifts": (-1, "shifts"),
    "precision": ("int8", "float32"),
    "priority": ("now", "urgent"),
    "song_name": ("x" * 501, "500"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused(server: Server, song: bytes, name: str) -> None:
    """An option that isn't possible is 400, naming what is, in JSON, in a form in any order, and in its query."""
    value, words = OPTIONS[name]
    field, file = (name, str(value)), ("file", song)
    for reply in (
        post(server, json={"mp3": in_base64(song), name: value}),
        send_form(server, field, file),
        send_form(server, file, field),
        send_form(server, file, params={name: value}),
    ):
        told = refusal(reply, 400)
        assert words in told
        assert name in told


CALLBACKS = (
    *("file:///etc/passwd", "ftp://example.com/a", "http://127.0.0.1/", "http://[::1]/", "http://10.0.0.1/"),
    *("http://169.254.169.254/latest", "http://user:secret@example.com/", "nonsense", "http://192.168.1.1:8080/x"),
    *("http://0/", "http://2130706433/", "javascript:alert(1)", "http://[::ffff:10.0.0.1]/"),
)


@pytest.mark.parametrize("url", CALLBACKS)
def test_callbacks_go_to_the_public_only(server: Server, song: bytes, url: str) -> None:
    """A callback of another scheme, or to an address of one's own network, is refused before anything is kept."""
    for reply in (
        post(server, json={"mp3": in_base64(song), "callback": {"url": url}}),
        send_form(server, ("callback_url", url), ("file", song)),
    ):
        assert "secret" not in refusal(reply, 400)


HEADERS: dict[str, tuple[dict[str, str], int]] = {
    "text": ({"Content-Type": "text/plain"}, 415),
    "what curl says": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "the song itself": ({"Content-Type": "audio/mpeg"}, 415),
    "nothing": ({}, 415),
    "gzip": ({**JSON_TYPE, "Content-Encoding": "gzip"}, 415),
    "identity": ({**JSON_TYPE, "Content-Encoding": "identity"}, 415),
    "a form in gzip": ({"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}, 415),
    "a form without boundary": ({"Content-Type": "multipart/form-data"}, 400),
}


@pytest.mark.parametrize("name", HEADERS)
def test_wrong_types_are_refused(server: Server, song: bytes, name: str) -> None:
    """Anything but JSON or a form, or any coding of it, is refused by its headers."""
    headers, status = HEADERS[name]
    body = json.dumps({"mp3": in_base64(song)}).encode()
    refusal(post(server, data=gzip.compress(body) if "gzip" in name else body, headers=headers), status)


FORMS: dict[str, tuple[Callable[[bytes], list[tuple[str, Any]]], int, str]] = {
    "no file": (lambda _: [("model", "tiny")], 400, "file"),
    "an empty file": (lambda _: [("file", b"")], 400, "file"),
    "two files": (lambda song: [("file", song), ("file", song)], 400, "file"),
    "a field twice": (lambda song: [("model", "tiny"), ("model", "tiny6"), ("file", song)], 400, "model"),
    "an unknown field": (lambda song: [("stems", "4"), ("file", song)], 400, "stems"),
    "the song as text": (lambda song: [("mp3", in_base64(song))], 400, "mp3"),
    "too much": (lambda _: [("file", bytes(MAX_BYTES + 1))], 413, f"{MAX_BYTES} bytes"),
    "no sound": (lambda _: [("file", NO_SOUND)], 422, "sound"),
}


@pytest.mark.parametrize("name", FORMS)
def test_bad_forms_are_refused(server: Server, song: bytes, name: str) -> None:
    """A form without one file that is sound, or with fields that nobody knows, is refused, with words that name it."""
    make, status, words = FORMS[name]
    assert words in refusal(send_form(server, *make(song)), status)


def test_half_a_film_is_refused(server: Server, tmp_path: Path) -> None:
    """A file that says of itself how many bytes it has, and hasn't, is refused before it is separated."""
    data = music(tmp_path / "film.mkv", seconds=4, options="-c:a flac").read_bytes()[: MAX_BYTES // 2]
    for reply in (post(server, json={"mp3": in_base64(data)}), send_form(server, ("file", data))):
        assert "ends in the middle" in refusal(reply, 422)


@pytest.mark.parametrize("kind", ["a form", "JSON"])
def test_a_broken_upload_leaves_nothing(server: Server, song: bytes, kind: str) -> None:
    """Of a song whose sender leaves in the middle nothing is left."""
    body, content_type = json.dumps({"mp3": in_base64(song)}).encode(), "application/json"
    if kind == "a form":
        body, content_type = closed(text_part("model", "tiny"), file_part("a.mp3", song)), FORM_TYPE
    with Upload(server, "/apiv1/separate", body, content_type=content_type) as upload:
        upload.send_until(0.9)
        until(lambda: list((server.data_dir / "spool").iterdir()))


PATHS = {
    f"/apiv1/song/{UNKNOWN}": "no such song",
    f"/apiv1/song/{UNKNOWN}/events": "no such song",
    f"/apiv1/track/{UNKNOWN}/vocals": "no such song",
    f"/apiv1/track/{UNKNOWN}/vocals.wav": "no such song",
    f"/apiv1/remove/{UNKNOWN}/vocals": "no such song",
    f"/apiv1/archive/{UNKNOWN}.zip": "no such song",
    f"/apiv1/stems/{UNKNOWN}/master.m3u8": "no such song",
    f"/apiv1/stems/{UNKNOWN}/vocals/index.m3u8": "no such song",
    "/apiv1/song/nonsense": "",
    f"/apiv1/song/{UNKNOWN[1:]}": "",
    f"/apiv1/song/{UNKNOWN[1:]}g": "",
    "/apiv1/track/nonsense/vocals": "",
    f"/apiv1/track/{UNKNOWN}/vocals.ogg": "",
    f"/apiv1/track/{UNKNOWN}/../../secret": "",
    f"/apiv1/track/{UNKNOWN}/%2e%2e%2fvocals": "",
    f"/apiv1/track/{UNKNOWN}/..%2f..%2fsecret": "",
    f"/apiv1/track/{UNKNOWN}/vocals%00": "",
    f"/apiv1/stems/{UNKNOWN}/vocals/../init.mp4": "",
    f"/apiv1/stems/{UNKNOWN}/vocals/550e8400-e29b-41d4-a716-446655440000/init.mp4": "no such segment",
}


@pytest.mark.parametrize("path", PATHS)
def test_what_is_not_there_is_404(server: Server, path: str) -> None:
    """A hash that nobody knows, or none at all, and a track whose name leads elsewhere: 404, in words."""
    reply = ask(server, "GET", path)
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/problem+json"
    assert PATHS[path] in reply.document["detail"]


@pytest.mark.parametrize("path", [f"song/{UNKNOWN}", f"remove/{UNKNOWN}/vocals"])
def test_nothing_unknown_is_removed(server: Server, path: str) -> None:
    """DELETE of what isn't there is 404."""
    refusal(requests.delete(f"{server.url}/apiv1/{path}", timeout=30), 404)
