"""How long a download may be slow: what comes buys time, and whoever sends too little of it runs out."""

import asyncio
from collections.abc import Callable

from aiohttp import StreamReader

from streamsrv.errors import FailedDownload

# So long at most a source that was quick before may be slow.
_MOST_SECONDS = 60.0


class Patience:
    """For one source, through all its tries: at first `grace_seconds`, and a second more for each `bytes_per_second`.

    Only waiting for its bytes costs: neither our disk nor a pause that the source asked for. 0 is endless patience.
    """

    def __init__(self, bytes_per_second: float, grace_seconds: float, clock: Callable[[], float] | None = None) -> None:
        self._bytes_per_second = bytes_per_second
        self._left_seconds = grace_seconds
        self._most_seconds = max(grace_seconds, _MOST_SECONDS)
        self._clock = clock or asyncio.get_running_loop().time

    async def read(self, content: StreamReader) -> bytes:
        """Give what has come, b"" at the end. Raises FailedDownload once patience is at its end."""
        if not self._bytes_per_second:
            return await content.readany()
        began = self._clock()
        try:
            async with asyncio.timeout(self._left_seconds) as limit:
                data = await content.readany()
        except TimeoutError as error:
            if not limit.expired():
                raise  # it was silent, which is looked at elsewhere
            raise self._too_slow() from error
        self._count(len(data), self._clock() - began)
        return data

    def _count(self, come_bytes: int, waited_seconds: float) -> None:
        left = self._left_seconds - waited_seconds + come_bytes / self._bytes_per_second
        self._left_seconds = min(left, self._most_seconds)
        if left <= 0:
            raise self._too_slow()

    def _too_slow(self) -> FailedDownload:
        return FailedDownload(f"The server sends less than {self._bytes_per_second:g} bytes per second.")
