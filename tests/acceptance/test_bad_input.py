"""Whatever is sent instead of a song: a clear refusal or a Failed job with words, and nothing is left of it."""

import json
import re
import struct
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import requests
from support.deadline import until
from support.server import Server, serving
from support.sound import FFMPEG, decode, tone
from support.traces.files import files_of
from support.traces.log import no_fault_logged
from support.traces.tidy import assert_tidy
from support.wire.messages import BOUNDARY, FORM_TYPE, Reply, closed, file_part, new_id, request_head, text_part
from support.wire.upload import ask, connect

SUBMIT = "/v1/stream/transcode"
OPTIONS = text_part("codec", "mp3")
DAY_SECONDS = 24 * 3600


def noise(path: Path, *, seconds: float, options: str = "") -> Path:
    """Write noise, which no codec makes small, so that the file has a middle to be cut in."""
    samples = np.random.default_rng(7).integers(-9000, 9000, (int(seconds * 44100), 2), dtype="<i2")
    argv = [*FFMPEG, "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", *options.split(), str(path)]
    subprocess.run(argv, input=samples.tobytes(), check=True, timeout=60)
    return path


def silent_flac(seconds: int, *, stated: bool, rate: int = 8000, block: int = 65535) -> bytes:
    """Mono silence of any length at 16 bytes for 8 s: a bomb. `stated`: its header says how long it is.

    https://www.rfc-editor.org/rfc/rfc9639, sections 8.2 (STREAMINFO) and 9.1 (frame headers).
    """
    samples = seconds * rate
    packed = rate << 44 | (1 - 1) << 41 | (16 - 1) << 36 | (samples if stated else 0)
    info = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8) + bytes(16)
    frames = [_silent_frame(number, block) for number in range(samples // block)]
    return b"fLaC\x80\x00\x00\x22" + info + b"".join(frames)


def _silent_frame(number: int, block: int) -> bytes:
    # Sync; block size from 16 bits, rate from STREAMINFO; mono, depth from STREAMINFO; the number as UTF-8 codes it.
    head = b"\xff\xf8\x70\x00" + chr(number).encode("utf-8", "surrogatepass") + (block - 1).to_bytes(2)
    frame = head + bytes([_crc(head, 0x07, 8)]) + b"\x00\x00\x00"  # one constant subframe with the sample 0
    return frame + _crc(frame, 0x8005, 16).to_bytes(2)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1) ^ (polynomial if crc >> (bits - 1) else 0)
            crc &= (1 << bits) - 1
    return crc


def silent_wav() -> bytes:
    """A WAV that states, and holds, no sample at all."""
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((2, 2, 44100, 0, "NONE", ""))
    return file.getvalue()


def zipped() -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("song.txt", "la la la\n" * 100)
    return file.getvalue()


def script(line: str) -> Callable[[Path], bytes]:
    """Text that makes ffmpeg read another file, when it is let: `line` is its beginning, {} the file."""

    def make(folder: Path) -> bytes:
        secret = tone(folder / "secret.ts", seconds=7, hertz=1234)
        return line.format(secret).encode()

    return make


def cut(name: str, options: str = "", *, size: int | None = None) -> Callable[[Path], bytes]:
    """The first half of a file of this name, or its first `size` bytes."""

    def make(folder: Path) -> bytes:
        whole = noise(folder / name, seconds=12, options=options).read_bytes()
        return whole[: len(whole) // 2 if size is None else size]

    return make


M3U8 = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:8\n#EXTINF:7.0,\n{}\n#EXT-X-ENDLIST\n"
FFCONCAT = "ffconcat version 1.0\nfile '{}'\n"
NOT_SOUND = r"isn't sound that can be read|no sound in this file|is damaged or of a kind that isn't known"
SCRIPT = r"playlist, a script, a picture|isn't sound that can be read"
CUT = r"ends in the middle"

# What is sent, under which name, and the words that its sender is told.
FILES: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "empty": ("song.wav", lambda _: b"", r"The file is empty"),
    "text": ("song.mp3", lambda _: b"La la la, it's a song about nothing.\n" * 4000, NOT_SOUND),
    "a ZIP": ("song.flac", lambda _: zipped(), NOT_SOUND),
    "HTML": ("song.mp3", lambda _: b"<!doctype html><title>404</title><p>Not here.\n" * 4000, NOT_SOUND),
    "zeros": ("song.wav", lambda _: bytes(300_000), NOT_SOUND),
    "an m3u8": ("song.mp3", script(M3U8), SCRIPT),
    "a long m3u8": ("song.mp3", script(M3U8 + "#\n" * 50_000), SCRIPT),
    "an ffconcat": ("song.wav", script(FFCONCAT), SCRIPT),
    "a long ffconcat": ("song.wav", script(FFCONCAT + "#\n" * 50_000), SCRIPT),
    "half a WAV": ("song.wav", cut("song.wav"), CUT),
    "half a FLAC": ("song.flac", cut("song.flac"), CUT),
    "half an M4A": ("song.m4a", cut("song.m4a", "-c:a aac -movflags +faststart"), CUT),
    "half an M4A, index last": ("song.m4a", cut("song.m4a", "-c:a aac"), CUT),
    "half an MP3 with a header": ("song.mp3", cut("song.mp3", "-c:a libmp3lame -b:a 192k"), CUT),
    "half an AIFF": ("song.aiff", cut("song.aiff"), CUT),
    "half a WebM": ("song.webm", cut("song.webm", "-c:a libopus"), CUT),
    "a header alone": ("song.wav", cut("song.wav", "-bitexact", size=44), NOT_SOUND),
    "a song of no length": ("song.wav", lambda _: silent_wav(), NOT_SOUND),
    "a day of silence": ("song.flac", lambda _: silent_flac(DAY_SECONDS, stated=True), r"24:00:00 long.*12:00:00 at"),
}


def told(server: Server, reply: Reply, job_id: str) -> str:
    """The words in which the sender is told what is wrong: of a 400, or of the job that is Failed."""
    if reply.status != 200:
        assert reply.status == 400, reply
        assert reply.headers["content-type"] == "application/problem+json"
    if reply.status != 200 and requests.get(f"{server.url}/v1/stream/job/{job_id}", timeout=30).status_code == 404:
        return reply.document["detail"]  # there was no byte to begin a job with
    job = server.ended(job_id)
    assert job["status"] == "Failed", job
    assert reply.status == 200 or job["error"] == reply.document["detail"]
    return job["error"]


def assert_nothing_of(server: Server, job_id: str) -> None:
    """The failed job plays nothing, and soon it has no part and no file."""
    for name in ("live.m3u8", "index.m3u8", "master.m3u8"):
        assert requests.get(server.playlist(job_id, name), timeout=30).status_code in (400, 404)

    def left() -> list[object]:
        parts = [server.playlist(job_id, name) for name in ("segment_00001.ts", "init.mp4")]
        return [
            *files_of(server.data_dir, job_id),
            *(url for url in parts if requests.get(url, timeout=30).status_code not in (400, 404)),
        ]

    until(lambda: not left(), seconds=5, what=left)


@pytest.mark.parametrize("order", ["options first", "file first"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_song_is_refused_in_words(server: Server, tmp_path: Path, name: str, order: str) -> None:
    """Each is a 400 or a Failed job whose words a person understands, whether it was read as it came or later."""
    filename, make, words = FILES[name]
    file, job_id = file_part(filename, make(tmp_path)), new_id()
    body = closed(OPTIONS, file) if order == "options first" else closed(file, OPTIONS)
    text = told(server, ask(server, "POST", f"{SUBMIT}?job_id={job_id}", body), job_id)
    assert re.search(words, text), text
    assert str(tmp_path) not in text
    assert str(server.data_dir) not in text
    assert_nothing_of(server, job_id)


def test_index_at_the_end_is_no_fault(server: Server, tmp_path: Path) -> None:
    """An M4A of 2 MB and more whose index is behind its sound is no pipe's food, and is played all the same."""
    song = noise(tmp_path / "song.m4a", seconds=14, options="-c:a alac")
    data = song.read_bytes()
    assert len(data) > 2_000_000
    assert data.index(b"moov") > data.index(b"mdat")
    job = server.ended(server.submit(song, codec="flac"))
    assert (job["status"], job["duration_seconds"]) == ("Completed", 14.0)


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes sound of a minute at most."""
    limit = {"STREAMSRV_LIMITS__MAX_DURATION_SECONDS": "60"}
    with serving(tmp_path_factory.mktemp("strict") / "data", environment=limit) as server:
        yield server
        assert_tidy(server)


@pytest.mark.parametrize("order", ["options first", "file first"])
def test_a_bomb_that_hides_its_length_is_stopped(strict_server: Server, order: str) -> None:
    """A day of silence that doesn't say so is decoded as far as the server's limit, and no further."""
    bomb, job_id = file_part("song.flac", silent_flac(DAY_SECONDS, stated=False)), new_id()
    body = closed(OPTIONS, bomb) if order == "options first" else closed(bomb, OPTIONS)
    begun = time.monotonic()
    text = told(strict_server, ask(strict_server, "POST", f"{SUBMIT}?job_id={job_id}", body), job_id)
    assert text == "The sound is longer than 1:00, the most this server takes."
    assert time.monotonic() - begun < 20
    assert_nothing_of(strict_server, job_id)


def test_a_bomb_can_be_decoded(tmp_path: Path) -> None:
    """The hand-made FLAC of these tests is a right one: ffmpeg hears all of its silence."""
    bomb = tmp_path / "bomb.flac"
    bomb.write_bytes(silent_flac(100, stated=True))
    sound = decode(bomb)
    assert len(sound) == 100 * 8000 // 65535 * 65535
    assert not sound.any()


WAV_HEAD = b"RIFF\xff\xff\xff\xffWAVE"
# A body and its content type, and the words of the 400.
FORMS: dict[str, tuple[bytes, str, str]] = {
    "wrong boundary": (
        closed(file_part("song.wav", WAV_HEAD)),
        FORM_TYPE.replace(BOUNDARY, "another"),
        r"isn't in the body",
    ),
    "no boundary": (closed(file_part("song.wav", WAV_HEAD)), "multipart/form-data", r"names no boundary"),
    "no end": (file_part("song.wav", WAV_HEAD * 9000), FORM_TYPE, r"the upload is incomplete"),
    "two files": (
        closed(file_part("one.wav", WAV_HEAD * 9000), file_part("two.wav", WAV_HEAD)),
        FORM_TYPE,
        r"more than one file",
    ),
    "ten thousand parts": (closed(*[text_part("codec", "")] * 10_000), FORM_TYPE, r"'codec' more than once"),
    "ten thousand names": (
        closed(*(text_part(f"n{number}", "x") for number in range(10_000))),
        FORM_TYPE,
        r"There is no field 'n0'",
    ),
    "ten thousand files": (closed(*[file_part("s.wav", b"RIFF")] * 10_000), FORM_TYPE, r"more than one file"),
    "no file": (closed(OPTIONS), FORM_TYPE, r"Send the audio file in the field 'file'"),
    "no part": (closed(), FORM_TYPE, r"Send the audio file in the field 'file'"),
    "an unknown codec": (
        closed(text_part("codec", "wma"), file_part("song.wav", WAV_HEAD)),
        FORM_TYPE,
        r"codec must be one of aac, mp3, opus, flac, not 'wma'",
    ),
    "an unknown codec behind the file": (
        closed(file_part("song.wav", WAV_HEAD), text_part("codec", "wma")),
        FORM_TYPE,
        r"codec must be one of aac, mp3, opus, flac, not 'wma'",
    ),
    "a bitrate with letters": (
        closed(text_part("bitrate", "192k"), file_part("song.wav", WAV_HEAD)),
        FORM_TYPE,
        r"bitrate must be a whole number of bits per second, not '192k'",
    ),
    "a bitrate with flac": (
        closed(text_part("codec", "flac"), text_part("bitrate", "192000"), file_part("song.wav", WAV_HEAD)),
        FORM_TYPE,
        r"flac is lossless and takes no bitrate",
    ),
    "a bitrate beyond the codec's": (
        closed(text_part("codec", "mp3"), text_part("bitrate", "999999999"), file_part("song.wav", WAV_HEAD)),
        FORM_TYPE,
        r"bitrate for mp3 must be between 8000 and 320000",
    ),
    "a negative bitrate": (
        closed(text_part("bitrate", "-1"), file_part("song.wav", WAV_HEAD)),
        FORM_TYPE,
        r"bitrate for aac must be between",
    ),
    "an unknown priority": (
        closed(text_part("priority", "now"), file_part("song.wav", WAV_HEAD)),
        FORM_TYPE,
        r"priority must be one of urgent, normal, background, not 'now'",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_bad_forms_are_400_in_words(server: Server, name: str) -> None:
    """Each is a 400 that says what is wrong and, where there is a choice, what is possible."""
    body, content_type, words = FORMS[name]
    job_id = new_id()
    reply = ask(server, "POST", f"{SUBMIT}?job_id={job_id}", body, content_type)
    assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json")
    assert re.search(words, reply.document["detail"]), reply.document
    assert_nothing_of(server, job_id)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("job_id=1", r"job_id must be a UUID"),
        ("job_id=..%2f..%2fetc%2fpasswd", r"job_id must be a UUID"),
        ("job_id=550e8400e29b41d4a716446655440000", r"job_id must be a UUID"),
        ("job_id={550e8400-e29b-41d4-a716-4466554400}", r"job_id must be a UUID"),
        ("codec=wma", r"codec must be one of"),
        ("bitrate=fast", r"whole number"),
        ("codec=flac&bitrate=1", r"takes no bitrate"),
        ("codec=mp3&codec=aac", r"given twice"),
        ("colour=red", r"There is no parameter 'colour'"),
    ],
)
def test_bad_queries_are_400_in_words(server: Server, query: str, words: str) -> None:
    """What the query string says is read as strictly as the form, before the file is."""
    reply = ask(server, "POST", f"{SUBMIT}?{query}", closed(file_part("song.wav", WAV_HEAD)))
    assert reply.status == 400
    assert re.search(words, reply.document["detail"]), reply.document


def test_other_bodies_are_415(server: Server) -> None:
    """What isn't a form, or is a packed one, is not taken."""
    plain = ask(server, "POST", SUBMIT, b'{"file": "x"}', "application/json")
    packed = ask(server, "POST", SUBMIT, closed(OPTIONS), f"{FORM_TYPE}\r\nContent-Encoding: gzip")
    assert (plain.status, packed.status) == (415, 415)


UP = [f"{up}{name}" for up in ("../" * 6, "..%2f" * 6, "%2e%2e/" * 6, "..%5c" * 6) for name in ("etc/passwd", "lock")]


@pytest.mark.parametrize(
    "path", [*UP, "%2fetc%2fpasswd", "..%252f..%252flock", "segment_00001.ts%00", "%ff%fe", "a" * 4000]
)
@pytest.mark.parametrize("place", ["hls/550e8400-e29b-41d4-a716-446655440000/", "hls/", "job/"])
def test_paths_lead_nowhere(server: Server, place: str, path: str) -> None:
    """No spelling of a job's id or a segment's name leads to another file: each is a 400 or 404 without its words."""
    target = f"/v1/stream/{place}{path}"
    reply = ask(server, "GET", target if place != "hls/" else f"{target}/index.m3u8")
    assert reply.status in (400, 404), reply
    assert b"root:" not in reply.body
    assert str(server.data_dir).encode() not in reply.body


def test_a_taken_name_is_409_and_free_after_a_failure(server: Server, tmp_path: Path) -> None:
    """`?job_id=` is a conflict while it is somebody's, and can be used again after an upload that was refused."""
    song, job_id = tone(tmp_path / "song.wav", seconds=2), new_id()
    target = f"{SUBMIT}?job_id={job_id}"
    assert ask(server, "POST", target, closed(file_part("song.wav", b"no sound"))).status == 400
    assert server.job(job_id)["status"] == "Failed"
    assert server.submit(song, query=f"?job_id={job_id}") == job_id
    taken = ask(server, "POST", target, closed(file_part("other.wav", song.read_bytes())))
    assert (taken.status, taken.document["type"]) == (409, "/problems/conflict")
    job = server.ended(job_id)
    assert (job["status"], job["source_name"]) == ("Completed", "song.wav")


@pytest.mark.parametrize("last", ["Connection: close", "Connection: keep-alive"])
def test_a_form_that_is_longer_than_it_says(server: Server, tmp_path: Path, last: str) -> None:
    """The form that came whole is taken; what stands behind it is in no job and in no log."""
    body = closed(OPTIONS, file_part("song.wav", tone(tmp_path / "song.wav", seconds=1).read_bytes()))
    with no_fault_logged(server), connect(server.url) as link:
        link.sendall(request_head("POST", SUBMIT, len(body), last) + body + b"of somebody's file\r\n" * 20_000)
        reply = HTTPResponse(link, method="POST")
        reply.begin()
        job_id = json.loads(reply.read())["job_id"]
    assert reply.status == 200
    assert server.ended(job_id)["status"] == "Completed"
    assert "of somebody's file" not in server.log.read_text()


def test_the_server_is_well_after_all_that(server: Server, tmp_path: Path) -> None:
    """It is healthy, a song still works, and its log has no traceback."""
    assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
    assert server.ended(server.submit(tone(tmp_path / "song.wav", seconds=2)))["status"] == "Completed"
    assert_tidy(server)
    assert "Traceback" not in server.log.read_text()
