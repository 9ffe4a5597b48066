"""Requests byte by byte: forms in any order and shape, and uploads that go at the test's own pace."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from support.server import Server

BOUNDARY = "a-boundary-of-these-tests"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
REPLY_SECONDS = 60.0
STEP_SECONDS = 0.03


def text_part(name: str, value: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file_part(filename: str, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def closed(*parts: bytes) -> bytes:
    """A whole form of these parts."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)


def ask(server: Server, method: str, target: str, body: bytes = b"", content_type: str = FORM_TYPE) -> Reply:
    """One request whose target goes out exactly as it is given."""
    with Upload(server, target, body, method=method, content_type=content_type) as upload:
        return upload.finish()


class Upload:
    """A POST on a connection of its own, sent piece by piece. Leaving the block closes the connection."""

    def __init__(
        self, server: Server, target: str, body: bytes, *, method: str = "POST", content_type: str = FORM_TYPE
    ) -> None:
        address = urlsplit(server.url)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=REPLY_SECONDS)
        self._body = body
        self._sent = 0
        self._socket.sendall(
            f"{method} {target} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send_until(self, share: float) -> None:
        """Send on until this share of the body is out."""
        end = int(len(self._body) * share)
        self._socket.sendall(self._body[self._sent : end])
        self._sent = max(end, self._sent)

    def send_slowly(self, start: float, end: float, *, until: Callable[[], bool], seconds: float = 20.0) -> None:
        """Send up to the share `start` at once, then on in small steps, until `until` is true; never beyond `end`."""
        self.send_until(start)
        deadline = time.monotonic() + seconds
        step = (end - start) / (seconds / STEP_SECONDS)
        share = start
        while not until():
            assert time.monotonic() < deadline, "what the sender waits for doesn't happen"
            time.sleep(STEP_SECONDS)
            share = min(end, share + step)
            self.send_until(share)

    def finish(self) -> Reply:
        """Send the rest, unless the server hangs up before, and read the reply."""
        with suppress(ConnectionError):  # the reply says why
            self.send_until(1.0)
        return self.reply()

    def reply(self) -> Reply:
        """Read the reply. The server may listen on for a while afterwards, so its end isn't waited for."""
        data = b""
        while b"\r\n\r\n" not in data and (chunk := self._receive()):
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        while len(body) < int(headers["content-length"]) and (chunk := self._receive()):
            body += chunk
        return Reply(int(status.split()[1]), headers, body)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except ConnectionResetError:
            return b""
