"""Does the client take what it is sent?"""

import asyncio
import fcntl
import sys
import termios
from contextlib import suppress


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
            return 0.0  # all was taken when last looked
        taken = sent_bytes - untaken_bytes(transport)
        if taken != self._taken_bytes or taken == sent_bytes:
            self._taken_bytes, self._since = taken, now
        return now - self._since
