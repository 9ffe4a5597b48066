"""Does the client take what it is sent, and how fast? Who takes it slowly may have to go where places are short."""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from streamsrv.errors import Problem

# Before that nobody can say how fast somebody takes it.
_MEASURED_SECONDS = 1.0


def untaken_bytes(transport: asyncio.WriteTransport) -> int:
    """What waits here and in the system for the client to take it."""
    end = transport.get_extra_info("socket")
    waiting = b"\0\0\0\0"
    with suppress(OSError, ValueError):  # it has gone meanwhile
        waiting = fcntl.ioctl(end.fileno(), termios.TIOCOUTQ, waiting)
    return transport.get_write_buffer_size() + int.from_bytes(waiting, sys.byteorder)


class Taking:
    """How a client takes what is sent to it. A timeout around each write would not do:

    the system has room for megabytes, and asks for more only when a good part of them was taken.
    """

    def __init__(self, now: float) -> None:
        self._taken_bytes = 0
        self._since = now

    def seconds_without(self, transport: asyncio.WriteTransport, sent_bytes: int, now: float) -> float:
        """For how long it has taken nothing of what waits for it. `sent_bytes`: of all that was ever written to it."""
        if sent_bytes == self._taken_bytes:
            self._since = now  # all was taken when last looked
            return 0.0
        taken = sent_bytes - untaken_bytes(transport)
        if taken != self._taken_bytes or taken == sent_bytes:
            self._taken_bytes, self._since = taken, now
        return now - self._since


class Receiver:
    """Who takes the reply to a request. Whoever sends it ends it once `dismissed` is set."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.dismissed = asyncio.Event()
        self._request = request
        self._clock = asyncio.get_running_loop().time
        self._since = self._clock()

    @property
    def bytes_per_second(self) -> float | None:
        """On average; None where that isn't known yet."""
        seconds, line = self._clock() - self._since, self._request.transport
        if seconds < _MEASURED_SECONDS or not isinstance(line, asyncio.WriteTransport):
            return None
        return max(0, self._request.writer.output_size - untaken_bytes(line)) / seconds

    def dismiss(self, _farewell: Problem) -> None:
        """It is cut off: where a reply has begun there is no room for another one."""
        self.dismissed.set()


_RECEIVER = web.RequestKey("receiver", Receiver)


@contextmanager
def receiving(request: web.BaseRequest) -> Iterator[Receiver]:
    """The request's receiver, who can be found and dismissed for the time of the block."""
    receiver = request[_RECEIVER] = Receiver(request)
    try:
        yield receiver
    finally:
        del request[_RECEIVER]


def receiver_of(request: web.BaseRequest) -> Receiver | None:
    """Who takes the reply to the request; None where that hasn't begun."""
    return request.get(_RECEIVER)
