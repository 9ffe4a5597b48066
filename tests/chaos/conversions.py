"""Conversions by hand: senders that stop, readers that leave, and what ffmpeg runs for them."""

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import requests
from acceptance.wire import FORM_TYPE, closed, file_part, text_part
from chaos.ground import leftovers, new_id, processes_of
from support.deadline import WAIT_SECONDS, until
from support.server import Server
from support.sound import decode

_START_BYTES = 128 << 10
_DROP_BYTES = 2 << 10
# A reply that isn't read stays on the server's side but for so much.
_WINDOW_BYTES = 64 << 10


@dataclass(frozen=True)
class Answer:
    """What came before the connection ended. `whole`: so much as the reply's head had promised."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    whole: bool

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/problem+json", self.body[:1000]
        return json.loads(self.body)


class Conversion:
    """A POST to /convert on a connection of its own, sent piece by piece. The format goes first, or `late`."""

    def __init__(
        self, server: Server, file: Path, form: str, *, late: bool = False, patience: float = WAIT_SECONDS
    ) -> None:
        self.id = new_id()
        self._server = server
        sound, text = file_part(file.name, file.read_bytes()), text_part("format", form)
        self._left = closed(sound, text) if late else closed(text, sound)
        self._reply: http.client.HTTPResponse | None = None
        address = urlsplit(server.url)
        self._socket = socket.socket()
        self._socket.settimeout(patience)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
        self._socket.connect((address.hostname, address.port))
        self._socket.sendall(
            f"POST /convert?conversion_id={self.id} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Content-Type: {FORM_TYPE}\r\nContent-Length: {len(self._left)}\r\n\r\n".encode()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def left(self) -> int:
        return len(self._left)

    def send(self, count: int | None = None) -> None:
        """Send so many bytes, or all that are left."""
        now, self._left = self._left[:count], b"" if count is None else self._left[count:]
        self._socket.sendall(now)

    def go_live(self) -> None:
        """Send a start, and on little by little until an encoder works on it."""
        self.send(_START_BYTES)
        until(lambda: encoders(self._server.data_dir, self.id) or self.send(_DROP_BYTES))
        assert self.left > _DROP_BYTES

    def progress(self) -> dict[str, Any]:
        """What the server says of it; nothing once it is over."""
        reply = requests.get(f"{self._server.url}/convert/{self.id}", timeout=WAIT_SECONDS)
        assert reply.status_code in (200, 404)
        return reply.json() if reply.status_code == 200 else {}

    def reach(self, phase: str) -> None:
        until(lambda: self.progress().get("phase") == phase, what=self.progress)

    def begin_reply(self) -> http.client.HTTPResponse:
        """Read the reply's head."""
        if self._reply is None:
            self._reply = http.client.HTTPResponse(self._socket, method="POST")
            self._reply.begin()
        return self._reply

    def answer(self) -> Answer | None:
        """Read on to the end of the reply, or of the connection; None where no reply began."""
        try:
            reply = self.begin_reply()
        except (ConnectionError, http.client.BadStatusLine):
            return None
        pieces, whole = [], True
        try:
            while piece := reply.read(1 << 20):
                pieces.append(piece)
        except http.client.IncompleteRead as cut:
            pieces, whole = [*pieces, cut.partial], False
        except ConnectionError:
            whole = False
        # A read of so many bytes doesn't complain of fewer.
        return Answer(reply.status, reply.headers, b"".join(pieces), whole and not reply.length)

    def close(self) -> None:
        """Leave as a program does that ends; the second time nothing happens."""
        if self._reply is not None:
            self._reply.close()
        self._socket.close()

    def reset(self) -> None:
        """Leave as a program does that crashes: the connection is reset."""
        with suppress(OSError):  # the server has closed it
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def convert(server: Server, file: Path, form: str, *, late: bool = False) -> Answer:
    """Send a file and read the whole answer."""
    with Conversion(server, file, form, late=late) as conversion:
        with suppress(ConnectionError):  # it has been answered before all was sent
            conversion.send()
        answer = conversion.answer()
    assert answer is not None, server.log.read_text()[-3000:]
    return answer


def encoders(data_dir: Path, conversion_id: str = "") -> list[int]:
    """The ffmpeg processes that make a file, without the sandbox around them."""
    mark = f"{data_dir}/scratch/convert.{conversion_id}"
    return [
        pid for pid, command in processes_of(data_dir).items() if program_of(command) == "ffmpeg" and mark in command
    ]


def program_of(command: str) -> str:
    """The name of the program that a command line runs."""
    return command.partition(" ")[0].rpartition("/")[2]


def assert_works(server: Server, song: Path) -> None:
    """The next conversion is answered with all of the sound, which has one channel."""
    answer = convert(server, song, "flac")
    assert (answer.status, answer.whole) == (200, True), answer.body[:1000]
    file = server.log.with_name("next.flac")
    file.write_bytes(answer.body)
    assert np.array_equal(decode(file, channels=1), decode(song, channels=1))


def assert_nothing_left(server: Server, *, seconds: float) -> None:
    """Within so long no process of the server's runs, and no file is left."""
    until(lambda: not server.children(), seconds=seconds, what=lambda: processes_of(server.data_dir))
    until(lambda: not leftovers(server.data_dir), seconds=seconds, what=lambda: leftovers(server.data_dir))


@contextmanager
def no_fault_logged(server: Server) -> Iterator[None]:
    """What happens in the block is nobody's fault that somebody would have to look after."""
    before = server.log.stat().st_size
    yield
    lines = server.log.read_bytes()[before:].decode().splitlines()
    assert [line for line in lines if not line.startswith("{") or json.loads(line)["level"] == "error"] == []
