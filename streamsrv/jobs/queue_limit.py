"""How many jobs of a kind may wait: who comes when there are more is told to come again."""

from typing import Protocol

from streamsrv.errors import Unavailable
from streamsrv.jobs.job import JobKind

_RETRY_SECONDS = 30


class Counting(Protocol):
    """A store that knows how many wait."""

    async def count_waiting(self, kind: JobKind) -> int: ...


class QueueLimit:
    """At most so many jobs wait; those of requests that come at the same time may be a few more."""

    def __init__(self, store: Counting, most_waiting: int) -> None:
        self._store = store
        self._most_waiting = most_waiting

    async def check(self, kind: JobKind) -> None:
        """Raise Unavailable, with Retry-After, where no more may be added."""
        waiting = await self._store.count_waiting(kind)
        if waiting >= self._most_waiting:
            raise Unavailable(
                f"{waiting} jobs are waiting already. Try again in a while.",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
