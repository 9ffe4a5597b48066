"""A server that is told to stop."""

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.deadline import until
from support.server import serving
from support.sound import tone
from support.wire.messages import closed, file_part
from support.wire.upload import Upload


def form_of(song: Path) -> bytes:
    return closed(file_part("song.wav", song.read_bytes()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: int) -> None:
    """Where the server takes its time to stop, whoever asks again doesn't wait."""
    patient = {"STREAMSRV_SERVER__SHUTDOWN_SECONDS": "60"}
    with serving(tmp_path / "data", environment=patient) as server, ExitStack() as stack:
        song = tone(tmp_path / "song.wav", seconds=3000)
        asking = stack.enter_context(Upload(server, "/convert?format=mp3", form_of(song)))
        asking.send()
        until(server.children)
        server.child.terminate()
        until(lambda: "server_stopping" in server.log.read_text())
        assert server.child.poll() is None
        server.child.send_signal(number)
        assert server.child.wait(5) == -number
