"""Small files that would have a server read, or ffmpeg build, without end: they cost little, and nobody waits."""

import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from support.odd_files import fmt, samples
from support.server import Server, serving
from support.sound import FFMPEG
from support.spread import thoroughly
from support.traces.processes import resident_kib
from support.ways import converted, streamed
from support.wire.messages import posted_form

SOUND = samples(3.0)
MANY = 1 << 20
# An ordinary ffprobe has 50 MB; what the index below asks for is 1.8 GB.
MOST_BYTES = 700 << 20


def wav_of_chunks(chunks: bytes) -> bytes:
    form = fmt()
    head = b"RIFF\xff\xff\xff\x7fWAVEfmt " + struct.pack("<I", len(form)) + form
    return head + chunks + b"data" + struct.pack("<I", len(SOUND)) + SOUND


def aiff_of_chunks() -> bytes:
    common = b"COMM" + struct.pack(">IhIh", 18, 2, len(SOUND) // 4, 16) + b"\x40\x0e\xac\x44" + bytes(6)
    sound = b"SSND" + struct.pack(">III", len(SOUND) + 8, 0, 0) + SOUND
    body = b"AIFF" + common + b"JUNK\0\0\0\0" * MANY + sound
    return b"FORM" + struct.pack(">I", len(body)) + body


def caf_of_chunks() -> bytes:
    desc = b"desc" + struct.pack(">q", 32) + struct.pack(">d4sIIIII", 44100.0, b"lpcm", 2, 4, 1, 2, 16)
    return (
        b"caff\0\1\0\0" + desc + (b"free" + bytes(8)) * MANY + b"data" + struct.pack(">qI", len(SOUND) + 4, 0) + SOUND
    )


def box(name: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + name + b"".join(parts)


def full(name: bytes, flags: int, *parts: bytes) -> bytes:
    return box(name, struct.pack(">I", flags), *parts)


def movie_of_boxes() -> bytes:
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"free") * MANY + box(b"moov") + box(b"mdat", bytes(1000))


def movie_of_samples() -> bytes:
    """QuickTime whose tables stand for 75 million samples, in 1,669 bytes."""
    many = 2**31 - 1
    sowt = box(b"sowt", bytes(6), b"\0\1", bytes(8), struct.pack(">HHHHI", 1, 16, 0, 0, 44100 << 16))
    table = box(
        b"stbl",
        full(b"stsd", 0, struct.pack(">I", 1), sowt),
        full(b"stts", 0, struct.pack(">III", 1, many, 1)),
        full(b"stsc", 0, struct.pack(">IIII", 1, 1, many, 1)),
        full(b"stsz", 0, struct.pack(">II", 2, many)),
        full(b"stco", 0, struct.pack(">I", 36), struct.pack(">I", 40) * 36),
    )
    data = box(b"dinf", full(b"dref", 0, struct.pack(">I", 1), full(b"url ", 1)))
    info = box(b"minf", full(b"smhd", 0, bytes(4)), data, table)
    header = full(b"mdhd", 0, struct.pack(">IIIIHH", 0, 0, 44100, 2646000, 0, 0))
    media = box(b"mdia", header, full(b"hdlr", 0, bytes(4), b"soun", bytes(13)), info)
    track = box(b"trak", full(b"tkhd", 7, struct.pack(">IIIII", 0, 0, 1, 0, 60000), bytes(60)), media)
    movie = box(b"moov", full(b"mvhd", 0, struct.pack(">IIII", 0, 0, 1000, 60000), bytes(80)), track)
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + movie + box(b"mdat", b"\1" * 1000)


def flac_of_blocks() -> bytes:
    numbers = (44100 << 44 | 1 << 41 | 15 << 36 | 132_300).to_bytes(8)
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + numbers + bytes(16)
    return b"fLaC\0\0\0\x22" + info + b"\x01\0\0\0" * MANY + b"\x81\0\0\0" + bytes(4000)


def tag_of_frames() -> bytes:
    frames = (b"TXXX\0\0\0\2\0\0\0\0" + b"") * (MANY // 2)
    size = len(frames)
    head = b"ID3\x04\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127))
    return head + frames + b"\xff\xfb\x90\x64" + bytes(413)


def ogg_of_pages() -> bytes:
    return b"".join(
        struct.pack("<4sBBqIIIB", b"OggS", 0, 2 * (number == 0), 0, 1, number, 0, 0) for number in range(MANY // 4)
    )


def matroska_of_voids() -> bytes:
    head = bytes.fromhex("1a45dfa3934282886d6174726f736b614287810442858102")
    return head + bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7 + b"\xec\x80" * (4 * MANY)


HEADS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "a million chunks": ("chunks.wav", lambda: wav_of_chunks(b"JUNK\0\0\0\0" * 2 * MANY)),
    "chunks of a million names": (
        "names.wav",
        lambda: wav_of_chunks(b"".join(struct.pack(">II", 0x41000000 + number, 0) for number in range(MANY))),
    ),
    "tables for 75 million samples": ("index.mov", movie_of_samples),
    "chunks of an AIFF": ("chunks.aiff", aiff_of_chunks),
    "chunks of a CAF": ("chunks.caf", caf_of_chunks),
    "boxes of an MP4": ("boxes.mov", movie_of_boxes),
    "blocks of a FLAC": ("blocks.flac", flac_of_blocks),
    "frames of a tag": ("frames.mp3", tag_of_frames),
    "pages of an Ogg": ("pages.ogg", ogg_of_pages),
    "elements of a Matroska": ("voids.mkv", matroska_of_voids),
}
TRIED = ("a million chunks", "tables for 75 million samples")


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose loop is watched: `serving` fails if it ever stood still."""
    with serving(tmp_path_factory.mktemp("costly") / "data") as server:
        yield server


class Watch(threading.Thread):
    """Notes the most memory that a child of the server has."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.most_bytes = 0
        self._server = server
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            for pid in self._server.children():
                with suppress(OSError, StopIteration):  # it ended meanwhile
                    self.most_bytes = max(self.most_bytes, resident_kib(pid) * 1024)

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


@pytest.mark.parametrize("name", [*TRIED, *thoroughly(*(name for name in HEADS if name not in TRIED))])
def test_a_costly_head_costs_little(name: str, own_server: Server, tmp_path: Path) -> None:
    """Three at once, whole and as they arrive: others are answered meanwhile, and no child takes much memory."""
    filename, make = HEADS[name]
    file = tmp_path / filename
    file.write_bytes(make())
    works = [tmp_path / str(number) for number in range(3)]
    for work in works:
        work.mkdir()
    with Watch(own_server) as watch, ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda work: converted(own_server, file, work, slowly=None), works))
        answers += list(pool.map(lambda work: streamed(own_server, file, work, slowly=lambda _upload: None), works))
    assert watch.most_bytes < MOST_BYTES
    for answer in answers:
        if isinstance(answer, tuple):
            assert answer[0] in (0, 400, 422), answer
            assert "server" not in answer[1], answer
    assert_never_late(own_server)


def assert_never_late(server: Server) -> None:
    began = time.monotonic()
    assert requests.get(f"{server.url}/health", timeout=10).status_code == 200
    assert time.monotonic() - began < 5


def test_songs_in_json_cost_little(own_server: Server) -> None:
    """A large body that is all escapes is read beside the loop."""
    body = b'{"mp3":"' + b"\\u0041" * (8 * MANY) + b'"}'
    reply = requests.post(
        f"{own_server.url}/apiv1/separate", data=body, headers={"Content-Type": "application/json"}, timeout=120
    )
    assert reply.status_code in (400, 422), reply.text
    assert_never_late(own_server)


@pytest.mark.thorough
def test_the_index_of_twelve_hours_passes(own_server: Server, tmp_path: Path) -> None:
    """What is bounded by the size of a file has room for what real ones need."""
    file = tmp_path / "long.mp4"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono", "-t", str(12 * 3600 - 1)]
    subprocess.run([*FFMPEG, *silence, "-c:a", "aac", "-b:a", "16k", str(file)], check=True, timeout=300)
    form = posted_form(file, {"format": "m4a", "duration": "5"})
    reply = requests.post(f"{own_server.url}/convert", files=form, timeout=120)
    assert reply.status_code == 200, reply.text
