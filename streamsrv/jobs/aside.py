"""Jobs that wait for somebody else: they take no slot meanwhile, and get one again before new jobs do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Aside:
    """The jobs of one kind that stand aside: `most` of them; more keep their slots.

    `running` counts all jobs of the kind that have begun and not ended, `slots` is how many of these may work.
    """

    def __init__(self, *, most: int, slots: int, running: Callable[[], int], wake: Callable[[], None]) -> None:
        self._most = most
        self._slots = slots
        self._running = running
        self._wake = wake
        self._waiting = 0
        self._returning: list[asyncio.Future[None]] = []

    @property
    def takes(self) -> int:
        """How many slots are taken, by those that are to get one again, too."""
        return self._running() - self._waiting

    @asynccontextmanager
    async def stand(self) -> AsyncIterator[None]:
        """Wait in the block without a slot; leaving it takes one, as soon as one is free."""
        if self._waiting >= self._most:
            yield
            return
        self._waiting += 1
        try:
            self.look()
            yield
        finally:
            self._waiting -= 1
        await self._return()

    def look(self) -> None:
        """A slot may be free: give it to the one who has waited for it longest, else to a new job."""
        working = self.takes - len(self._returning)
        while self._returning and working < self._slots:
            turn = self._returning.pop(0)
            if not turn.done():  # else it was cancelled just now
                turn.set_result(None)
                working += 1
        self._wake()

    async def _return(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.append(turn)
        self.look()
        try:
            await turn
        finally:
            if turn in self._returning:  # it was cancelled
                self._returning.remove(turn)
