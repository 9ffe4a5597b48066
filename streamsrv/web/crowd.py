"""All connections of the server: how many there may be, which goes when there are too many, and which stays too long.

Whoever holds a connection and does nothing with it is the first to go; nobody is closed for being slow while there is
room. Once a second all of them are looked at, by a timer that runs only while there are any.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from streamsrv.web.clients import Proxies
from streamsrv.web.memory import give_back_memory

_LOOK_SECONDS = 1.0
# A crowd of so many leaves memory behind that is worth giving back.
_LARGE_CROWD = 32

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """`connections` in all, and of one address; how long each part of an exchange may take."""

    connections: int = 8192
    per_address: int = 256
    header_seconds: float = 15.0
    reply_idle_seconds: float = 60.0
    large_reads: int = 16


class Member(Protocol):
    """A connection. `client` is the address it counts for, "" where it counts for none."""

    client: str

    def leave(self) -> None:
        """It is closed, since another one needs its place."""

    def is_overdue(self, now: float) -> bool:
        """Look whether it takes longer than it may, and if so, close it."""


class Crowd:
    """The connections that are open, in the order in which they fell idle."""

    def __init__(self, bounds: Bounds, proxies: Proxies | None = None) -> None:
        """Connections of `proxies` aren't counted by their address: whom they are for, their requests say."""
        self.bounds = bounds
        self._proxies = proxies or Proxies(())
        self._members: set[Member] = set()
        self._of_client: Counter[str] = Counter()
        # Dictionaries, since they keep an order: the first one has been idle for longest.
        self._idle: dict[Member, None] = {}
        self._idle_of: dict[str, dict[Member, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._most = 0
        self._refused = 0
        self._large_reads = 0

    def __len__(self) -> int:
        return len(self._members)

    def client(self, peer: str | None) -> str:
        """What a connection from that address counts for."""
        return "" if self._proxies.trust(peer) else self._proxies.client(peer)

    def enter(self, member: Member) -> bool:
        """Take a connection in that waits for its first request, in the place of an idle one if there is no other."""
        client = member.client
        full_of_client = bool(client) and self._of_client[client] >= self.bounds.per_address
        if full_of_client and not self._make_room(self._idle_of.get(client, {})):
            return self._refuse()
        if len(self._members) >= self.bounds.connections and not self._make_room(self._idle):
            return self._refuse()
        self._members.add(member)
        self._most = max(self._most, len(self._members))
        self._of_client[client] += 1
        self.note_idle(member)
        self._look_soon()
        return True

    def exit(self, member: Member) -> None:
        """It has gone. The second time nothing happens."""
        if member not in self._members:
            return
        self.note_busy(member)
        self._members.discard(member)
        self._of_client[member.client] -= 1
        if not self._of_client[member.client]:
            del self._of_client[member.client]

    def note_idle(self, member: Member) -> None:
        """From now on it waits for a request."""
        if member in self._members:
            self._idle[member] = None
            self._idle_of.setdefault(member.client, {})[member] = None

    def note_busy(self, member: Member) -> None:
        """A request of it is being answered."""
        if member in self._idle:
            del self._idle[member]
            others = self._idle_of[member.client]
            del others[member]
            if not others:
                del self._idle_of[member.client]

    @contextmanager
    def large_read(self) -> Iterator[bool]:
        """May an upload be read in large bites for the time of the block? So many may, whose memory isn't felt."""
        granted = self._large_reads < self.bounds.large_reads
        self._large_reads += granted
        try:
            yield granted
        finally:
            self._large_reads -= granted

    def _make_room(self, idle: dict[Member, None]) -> bool:
        oldest = next(iter(idle), None)
        if oldest is None:
            return False
        self.exit(oldest)
        oldest.leave()
        return True

    def _refuse(self) -> bool:
        self._refused += 1
        self._look_soon()
        return False

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        now = loop.time()
        overdue = sum(member.is_overdue(now) for member in list(self._members))
        if overdue or self._refused:
            log.info("connections_closed", overdue=overdue, refused=self._refused, open=len(self._members))
            self._refused = 0
        if self._most >= _LARGE_CROWD and len(self._members) <= self._most // 2:
            self._most = len(self._members)
            loop.run_in_executor(None, give_back_memory)
        if self._members or self._most >= _LARGE_CROWD:
            self._look_soon()
