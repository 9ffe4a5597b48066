"""Bodies that arrive: how fast each is, and how one is told to stop while it is waited for.

A slow one is let be while there is room. `admission` tells the slowest to go where places are short, and a server that
stops tells all of them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from streamsrv.errors import Problem, Unavailable, UploadTimeout

# Before that nobody can say how fast a sender is.
_MEASURED_SECONDS = 1.0
_RETRY_SECONDS = 5


class Sender:
    """Who sends the body of a request: how much came, and how long only its next bytes were waited for."""

    def __init__(self, request: web.BaseRequest, idle_seconds: float) -> None:
        self.received_bytes = 0
        self._content = request.content
        self._idle_seconds = idle_seconds
        self._clock = asyncio.get_running_loop().time
        self._waited_seconds = 0.0
        self._waits_since: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._farewell: Problem | None = None

    @property
    def waited_seconds(self) -> float:
        """While its bytes are written, which may be slow, its clock stands still."""
        return self._waited_seconds + (0.0 if self._waits_since is None else self._clock() - self._waits_since)

    @property
    def bytes_per_second(self) -> float | None:
        """On average; None where that isn't known yet."""
        seconds = self.waited_seconds
        return None if seconds < _MEASURED_SECONDS else self.received_bytes / seconds

    async def read(self) -> bytes:
        """Give what has come, as soon as there is something; b"" at the end of the body.

        Raises UploadTimeout where nothing comes for too long, and the problem that it was dismissed with.
        """
        try:
            self._waits_since = self._clock()
            async with asyncio.timeout(self._idle_seconds) as self._patience:
                self._say_farewell()
                data = await self._content.readany()
        except TimeoutError as error:
            self._say_farewell()
            raise UploadTimeout(f"No byte came for {self._idle_seconds:g} seconds.") from error
        finally:
            self._waited_seconds, self._waits_since, self._patience = self.waited_seconds, None, None
        self.received_bytes += len(data)
        return data

    def check_rate(self, slowest: float, grace_seconds: float) -> None:
        """Raises UploadTimeout where it is slower than that on average, some time after its begin."""
        seconds = self.waited_seconds
        if seconds > grace_seconds and self.received_bytes < slowest * seconds:
            raise UploadTimeout(f"The upload was slower than {slowest:g} bytes per second.")

    def dismiss(self, farewell: Problem) -> None:
        """Whoever reads from it gets this problem, now or when it reads next."""
        self._farewell = farewell
        if self._patience is not None:
            with suppress(RuntimeError):  # it runs out by itself just now
                self._patience.reschedule(self._clock())

    def _say_farewell(self) -> None:
        if self._farewell is not None:
            raise self._farewell


_SENDER = web.RequestKey("sender", Sender)
_SENDERS = web.AppKey("senders", set[Sender])
_STOPS = web.AppKey("stops", asyncio.Event)


def dismiss_senders_at_shutdown(app: web.Application) -> None:
    """Tell all who still send when the server stops: what they send isn't read any more."""
    senders: set[Sender] = set()
    app[_SENDERS], app[_STOPS] = senders, asyncio.Event()

    async def dismiss(app: web.Application) -> None:
        app[_STOPS].set()
        for sender in list(senders):
            sender.dismiss(_stopping())

    app.on_shutdown.append(dismiss)


def _stopping() -> Unavailable:
    return Unavailable("The server stops. Send it again in a moment.", headers={"Retry-After": str(_RETRY_SECONDS)})


@contextmanager
def sending(request: web.BaseRequest, idle_seconds: float) -> Iterator[Sender]:
    """The request's sender, who can be found and dismissed for the time of the block."""
    senders = request.app.get(_SENDERS, set()) if isinstance(request, web.Request) else set()
    sender = request[_SENDER] = Sender(request, idle_seconds)
    senders.add(sender)
    if isinstance(request, web.Request) and _STOPS in request.app and request.app[_STOPS].is_set():
        sender.dismiss(_stopping())
    try:
        yield sender
    finally:
        senders.discard(sender)
        del request[_SENDER]


def sender_of(request: web.BaseRequest) -> Sender | None:
    """Who still sends the request's body; None where it is here already, or nobody reads it yet."""
    return request.get(_SENDER)
