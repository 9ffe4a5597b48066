"""An upload by another client, in the event loop of the server that gets it: the twin of `upload`."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import ClientResponse
from multidict import CIMultiDict

from support.deadline import eventually
from support.wire.messages import FORM_TYPE, Reply, read_head, request_head

REPLY_SECONDS = 20.0


class Link:
    """A client that sends what it is told, byte for byte, and reads when it is told.

    What it can't send is no error: the reply says why.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self._left = b""

    @property
    def left(self) -> int:
        """How many bytes of the body haven't been sent."""
        return len(self._left)

    async def write(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def post(
        self, target: str, body: bytes, *more: str, content_type: str | None = FORM_TYPE, version: str = "1.1"
    ) -> None:
        """Announce the body, and send nothing of it yet. `more` are further lines of the request's head."""
        self._left = body
        await self.write(request_head("POST", target, len(body), *more, content_type=content_type, version=version))

    async def send(self, count: int | None = None) -> None:
        """Send so many bytes of the body, or all that are left."""
        now, self._left = self._left[:count], b"" if count is None else self._left[count:]
        await self.write(now)

    async def send_slowly(self, piece_bytes: int, *, until: Callable[[], object]) -> None:
        """Send on in pieces until `until`, which may be awaited, is true. Some of the body must be left then."""

        async def goes_on() -> object:
            answer = until()
            if answer := await answer if asyncio.iscoroutine(answer) else answer:
                return answer
            await self.send(piece_bytes)
            return None

        await eventually(goes_on, what=lambda: f"{self.left} bytes aren't sent yet")
        assert self.left, "all was sent before that"

    async def send_at(self, bytes_per_second: int) -> None:
        """Send what is left, so much of it in a second."""
        while self.left:
            await self.send(bytes_per_second // 10)
            await asyncio.sleep(0.1)  # this is how a slow sender sends

    async def head(self) -> tuple[int, CIMultiDict[str]]:
        """The status and headers of the next reply, be it an interim one."""
        async with asyncio.timeout(REPLY_SECONDS):
            return read_head(await self.reader.readuntil(b"\r\n\r\n"))

    async def reply(self) -> Reply:
        """Read a reply, and no further: after a refusal the server listens for a while before it closes."""
        status, headers = await self.head()
        async with asyncio.timeout(REPLY_SECONDS):
            return Reply(status, headers, await self.reader.readexactly(int(headers.get("Content-Length", 0))))

    async def finish(self) -> Reply:
        """Send the rest, and read the reply."""
        await self.send()
        return await self.reply()

    async def rest(self) -> bytes:
        """All that still comes, up to the end of the connection, however that ends."""
        received = bytearray()
        with suppress(ConnectionError):
            async with asyncio.timeout(REPLY_SECONDS):
                while data := await self.reader.read(1 << 20):
                    received += data
        return bytes(received)

    def leave(self) -> None:
        """Go away, whatever is on its way; the second time nothing happens."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        with suppress(ConnectionError):  # it was cut
            await self._writer.wait_closed()


async def read(reply: ClientResponse) -> Reply:
    """A reply that a library's client got."""
    return Reply(reply.status, CIMultiDict(reply.headers), await reply.read())


@asynccontextmanager
async def linked(
    port: int | None, *, window_bytes: int | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[Link]:
    """A connection to a server of this machine, which is left with the block. One with a window takes about so much.

    `address` is where it comes from: 127.0.0.2 and so on are others of this machine.
    """
    end = socket.socket()
    end.bind((address, 0))
    if window_bytes is not None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    end.setblocking(False)
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    link = Link(*await asyncio.open_connection(sock=end))
    try:
        yield link
    finally:
        link.leave()
        await link.closed()
