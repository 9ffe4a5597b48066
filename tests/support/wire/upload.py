"""An upload by another client, on a socket: it sends as much as it is told, and may stop, leave, or read the reply."""

import http.client
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Self
from urllib.parse import urlsplit

from multidict import CIMultiDict

from support import deadline
from support.server import Server
from support.wire.messages import FORM_TYPE, Reply, request_head

REPLY_SECONDS = 60.0
# So much is enough for the server to begin with what arrives.
START_BYTES = 128 << 10
DROP_BYTES = 2 << 10


def connect(
    url: str, *, patience: float = REPLY_SECONDS, window_bytes: int | None = None, client: str = "127.0.0.1"
) -> socket.socket:
    """A connection from the address `client`. One with a window takes about so much of what nobody reads."""
    address = urlsplit(url)
    with ExitStack() as stack:
        link = stack.enter_context(socket.socket())
        link.settimeout(patience)
        if window_bytes is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        link.bind((client, 0))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.connect((address.hostname, address.port))
        stack.pop_all()
    return link


def ask(server: Server, method: str, target: str, body: bytes = b"", content_type: str = FORM_TYPE) -> Reply:
    """One request whose target goes out exactly as it is given."""
    with Upload(server, target, body, method=method, content_type=content_type) as upload:
        return upload.finish()


class Upload:
    """A request whose body is sent piece by piece. Leaving the block closes the connection, as a program that ends."""

    def __init__(
        self,
        server: Server,
        target: str,
        body: bytes,
        *,
        method: str = "POST",
        content_type: str = FORM_TYPE,
        patience: float = REPLY_SECONDS,
        window_bytes: int | None = None,
        client: str = "127.0.0.1",
    ) -> None:
        self.server = server
        self._body = memoryview(body)
        self._sent = 0
        self._method = method
        self._reply: http.client.HTTPResponse | None = None
        head = request_head(method, target, len(body), content_type=content_type, host=urlsplit(server.url).netloc)
        with ExitStack() as stack:
            link = connect(server.url, patience=patience, window_bytes=window_bytes, client=client)
            self._socket = stack.enter_context(link)
            self._socket.sendall(head)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def left(self) -> int:
        """How many bytes of the body haven't been sent."""
        return len(self._body) - self._sent

    def send(self, count: int | None = None) -> None:
        """Send so many bytes, or all that are left."""
        end = len(self._body) if count is None else min(self._sent + count, len(self._body))
        now, self._sent = self._body[self._sent : end], end
        self._socket.sendall(now)

    def send_until(self, share: float) -> None:
        """Send on until this share of the body is out."""
        self.send(max(0, int(len(self._body) * share) - self._sent))

    def send_slowly(self, start: float, end: float, *, until: Callable[[], object], seconds: float = 20.0) -> None:
        """Send up to the share `start` at once, then on in small steps, until `until` is true; never beyond `end`."""
        self.send_until(start)
        began = time.monotonic()

        def goes_on() -> object:
            if answer := until():
                return answer
            self.send_until(min(end, start + (end - start) * (time.monotonic() - began) / seconds))
            return None

        deadline.until(goes_on, seconds=seconds, what=lambda: f"{self.left} bytes aren't sent yet")

    def drip(self, until: Callable[[], object]) -> None:
        """Send on drop by drop until `until` is true."""

        def goes_on() -> object:
            if answer := until():
                return answer
            self.send(DROP_BYTES)
            return None

        deadline.until(goes_on, what=lambda: f"{self.left} bytes aren't sent yet")

    def send_until_live(self, is_live: Callable[[], object]) -> None:
        """Send a start, and on drop by drop until the server works on it. Some must be left then."""
        self.send(START_BYTES)
        self.drip(is_live)
        assert self.left > DROP_BYTES, "it would have been worked on as a whole"

    def begin_reply(self) -> http.client.HTTPResponse:
        """Read the reply's head."""
        if self._reply is None:
            self._reply = http.client.HTTPResponse(self._socket, method=self._method)
            self._reply.begin()
        return self._reply

    def answer(self) -> Reply | None:
        """Read on to the end of the reply, or of the connection; None where no reply began.

        The server may listen on for a while after its reply, so its end of the connection isn't waited for.
        """
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
        whole = whole and not reply.length
        return Reply(reply.status, CIMultiDict(reply.headers.items()), b"".join(pieces), whole)

    def reply(self) -> Reply:
        """Read the reply, of which there must be one."""
        answer = self.answer()
        assert answer is not None, self.server.log.read_text()[-3000:]
        return answer

    def finish(self) -> Reply:
        """Send the rest, unless the server hangs up before, and read the reply."""
        with suppress(ConnectionError):  # the reply says why
            self.send()
        return self.reply()

    def leave(self) -> None:
        """Go away, as a closed laptop does; the second time nothing happens."""
        if self._reply is not None:
            self._reply.close()
        self._socket.close()

    def reset(self) -> None:
        """Leave as a program does that crashes: the connection is reset."""
        with suppress(OSError):  # the server has closed it
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()
