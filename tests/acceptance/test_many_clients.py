"""Many clients that only cost: none keeps others out, and what they held is given back."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from support.deadline import until
from support.server import Server, serving
from support.sound import tone
from support.traces.processes import resident_kib
from support.wire.conversion import Conversion
from support.wire.messages import closed, file_part
from support.wire.upload import Upload, connect

# Looks at the health while others attack; what is between them is a pause of the one who looks.
PAUSE_SECONDS = 0.02
MIB_IN_KIB = 1024
# `ulimit -n 300`, in the process that becomes the server.
FEW_FILES = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
runpy.run_module("streamsrv", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone(tmp_path_factory.mktemp("many") / "song.wav", seconds=20)


@contextmanager
def health_watched(server: Server) -> Iterator[list[float]]:
    """How long each look at the health took, in seconds, and all of them were answered."""
    looks: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(PAUSE_SECONDS):
            began = time.monotonic()
            requests.get(f"{server.url}/health", timeout=20).raise_for_status()
            looks.append(time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()
    assert looks
    assert sorted(looks)[int(len(looks) * 0.99)] < 0.5, sorted(looks)[-10:]


def half_heads(server: Server, count: int, stack: ExitStack) -> list[socket.socket]:
    links = [stack.enter_context(connect(server.url)) for _ in range(count)]
    for link in links:
        link.sendall(b"GET /health HTTP/1.1\r\nHost: local")
    return links


def await_end(link: socket.socket) -> bytes:
    """All that came up to the end of the connection."""
    received = b""
    try:
        while data := link.recv(1 << 16):
            received += data
    except ConnectionResetError:
        pass
    return received


def files_of(server: Server) -> int:
    return sum(1 for _ in Path(f"/proc/{server.child.pid}/fd").iterdir())


def test_a_thousand_half_heads(tmp_path: Path) -> None:
    """A thousand clients that never finish their headers are all told so in time, and the server answers meanwhile."""
    soon = {"STREAMSRV_SERVER__HEADER_SECONDS": "3"}
    with serving(tmp_path / "data", environment=soon) as server, ExitStack() as stack, health_watched(server):
        before = files_of(server)
        links = half_heads(server, 1000, stack)
        began = time.monotonic()
        answers = [await_end(link) for link in links]
        assert time.monotonic() - began < 15
        assert {answer.split()[1] for answer in answers} == {b"408"}
        until(lambda: files_of(server) < before + 10, what=lambda: files_of(server))


def test_a_server_that_may_open_few_files(tmp_path: Path) -> None:
    """With 300 descriptors, of which clients take all they get, it answers others, and its log isn't flooded."""
    with serving(tmp_path / "data", program=("-c", FEW_FILES)) as server, ExitStack() as stack:
        half_heads(server, 400, stack)
        with health_watched(server) as looks:
            until(lambda: len(looks) > 50)
            half_heads(server, 400, stack)
            until(lambda: len(looks) > 100)
        assert len(server.log.read_text().splitlines()) < 100
        assert server.child.poll() is None


def form_of(song: Path) -> bytes:
    return closed(file_part("song.wav", song.read_bytes()))


def test_slow_senders_keep_nobody_out(tmp_path: Path, song: Path) -> None:
    """64 senders of a kilobyte a second have all places; a 65th is converted, and the slowest is told to come again."""
    form = form_of(song)
    with serving(tmp_path / "data") as server, ExitStack() as stack:
        senders = [
            stack.enter_context(Upload(server, "/convert?format=flac", form, client=f"127.0.0.{2 + number % 20}"))
            for number in range(64)
        ]
        began = time.monotonic()
        while time.monotonic() - began < 3:
            for sender in senders:
                sender.send(100)
            time.sleep(0.1)  # so they send
        with Upload(server, "/convert?format=flac", form, client="127.0.0.99") as quick:
            assert quick.finish().status == 200
        answers = [sender for sender in senders if _has_answer(sender)]
        assert len(answers) == 1
        reply = answers[0].reply()
        assert (reply.status, "slowest" in reply.detail) == (503, True)
        assert int(reply.headers["Retry-After"]) > 0


def _has_answer(sender: Upload) -> bool:
    sender._socket.setblocking(False)
    try:
        return bool(sender._socket.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sender._socket.settimeout(20)


def test_a_slow_sender_finishes_where_there_is_room(tmp_path: Path) -> None:
    """A sender far below that rate is converted at its own pace, as long as nobody needs its place."""
    song = tone(tmp_path / "short.wav", seconds=1)
    with serving(tmp_path / "data") as server, Upload(server, "/convert?format=flac", form_of(song)) as sender:
        began = time.monotonic()
        while time.monotonic() - began < 4:
            sender.send(500)
            time.sleep(0.1)  # so it sends
        assert sender.finish().status == 200


def test_who_takes_a_result_drop_by_drop_keeps_nobody_out(tmp_path: Path, song: Path) -> None:
    """A reader far below that rate has its place as long as nobody needs it; then its reply is cut off."""
    few = {"STREAMSRV_CONVERT__MAX_REQUESTS": "1"}
    long = tone(tmp_path / "long.wav", seconds=120)  # more than the system holds for who doesn't read
    with serving(tmp_path / "data", environment=few) as server, Conversion(server, long, "wav") as slow:
        slow.send()
        slow.reach("replying")
        slow._socket.recv(4096)
        time.sleep(2.0)  # this is how it reads
        slow._socket.recv(4096)
        with Conversion(server, song, "flac") as other:
            assert other.finish().status == 200
        until(lambda: "reply_cut" in server.log.read_text())


@pytest.mark.thorough
def test_stalled_uploads_cost_no_memory(tmp_path: Path) -> None:
    """200 uploads that stall in the middle take less than a megabyte each, and give it back when they have gone."""
    room = {"STREAMSRV_HLS__MAX_REQUESTS": "300"}
    song = tone(tmp_path / "song.wav", seconds=60)
    form = form_of(song)
    with serving(tmp_path / "data", environment=room) as server:
        before = resident_kib(server.child.pid)
        with ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(Upload(server, "/v1/stream/transcode", form)).send(3_700_000)
            assert resident_kib(server.child.pid) - before < 200 * MIB_IN_KIB

        def kept() -> int:
            return resident_kib(server.child.pid) - before

        until(lambda: kept() < 60 * MIB_IN_KIB, what=kept)
