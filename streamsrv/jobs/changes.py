"""Wake-ups inside this process: who waits for a job is woken by the commit that changed it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Changes:
    """Who waits for which job. It holds nothing about the jobs: who is woken reads the row again."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._work = asyncio.Event()
        self._messages = asyncio.Event()

    def announce(self, job_id: str) -> None:
        """Wake all who wait for this job."""
        for event in self._waiting.get(job_id, ()):
            event.set()

    def announce_work(self) -> None:
        """Wake the runner: a job may have become claimable, or may have ended."""
        self._work.set()

    def announce_messages(self) -> None:
        """Wake whoever delivers: a webhook may be owed."""
        self._messages.set()

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set by each announcement from now on."""
        event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._waiting[job_id]
            watchers.remove(event)
            if not watchers:
                del self._waiting[job_id]

    async def wait_for_work(self, timeout: float) -> None:
        """Return at the first announcement of work since the last call, or after `timeout` seconds."""
        await _wait_once(self._work, timeout)

    async def wait_for_messages(self, timeout: float) -> None:
        """The same for announcements of messages."""
        await _wait_once(self._messages, timeout)


async def _wait_once(event: asyncio.Event, timeout: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
    event.clear()
