"""A server that is told to stop."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.deadline import until
from support.server import serving
from support.sound import tone
from support.spread import thoroughly
from support.wire.messages import FORM_TYPE, closed, file_part
from support.wire.upload import Upload


def form_of(song: Path) -> bytes:
    return closed(file_part("song.wav", song.read_bytes()))


@pytest.mark.parametrize("number", [signal.SIGTERM, *thoroughly(signal.SIGINT)])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: int) -> None:
    """Where the server takes its time to stop, whoever asks again doesn't wait."""
    patient = {"STREAMSRV_SERVER__SHUTDOWN_SECONDS": "60"}
    with serving(tmp_path / "data", environment=patient) as server, ExitStack() as stack:
        song = tone(tmp_path / "song.wav", seconds=600)
        asking = stack.enter_context(Upload(server, "/convert?format=opus", form_of(song)))
        asking.send()
        until(server.children)
        server.child.terminate()
        until(lambda: "server_stopping" in server.log.read_text())
        assert server.child.poll() is None
        server.child.send_signal(number)
        assert server.child.wait(5) == -number


@pytest.mark.parametrize(
    ("target", "content_type"),
    [
        ("/convert?format=flac", FORM_TYPE),
        ("/v1/stream/transcode", FORM_TYPE),
        ("/apiv1/separate", FORM_TYPE),
        ("/extract_audio", "application/json"),
    ],
)
def test_a_server_that_stops_tells_senders(tmp_path: Path, target: str, content_type: str) -> None:
    """SIGTERM: who still sends gets 503 with Retry-After, in words, and the end; the server ends well, and soon."""
    form = form_of(tone(tmp_path / "song.wav", seconds=20)) if content_type == FORM_TYPE else b" " * 1_000_000
    with serving(tmp_path / "data") as server:
        with Upload(server, target, form, content_type=content_type) as sender:
            sender.send(300_000)
            time.sleep(0.5)  # until it waits for more
            server.child.terminate()
            reply = sender.reply()
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            assert "stops" in reply.detail
            assert sender._socket.recv(1) == b""
        assert server.child.wait(10) == 0
