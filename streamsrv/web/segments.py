"""Hot files: small files that many players ask for, kept in a bounded piece of memory."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

# What an entry costs besides its bytes, so that a million empty files have a size, too.
_ENTRY_BYTES = 256


class HotFiles:
    """The files read last, up to `max_bytes` in all. A file under one key never changes, or is forgotten first.

    One that takes more than an eighth of the room isn't kept, lest it drive out many others. Many who ask for the
    same file at once cause one read.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._reads: dict[str, asyncio.Future[bytes | None]] = {}

    async def get(self, key: str, load: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """Return the file's bytes, from memory or by `load`. Neither None nor an exception of `load` is kept."""
        while True:
            if (data := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return data
            if (read := self._reads.get(key)) is None:
                return await self._read(key, load)
            await asyncio.wait([read])
            if not read.cancelled():
                return read.result()
            # The one who read for all of us was cancelled; that is no answer, so the next one reads.

    def forget(self, prefix: str) -> None:
        """Drop every file whose key starts with `prefix`, those that are being read just now included."""
        for key in [key for key in self._kept if key.startswith(prefix)]:
            self._drop(key)
        for key in [key for key in self._reads if key.startswith(prefix)]:
            del self._reads[key]

    async def _read(self, key: str, load: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        read = self._reads[key] = asyncio.get_running_loop().create_future()
        try:
            data = await load()
        except Exception as error:
            read.set_exception(error)
            read.exception()  # it is raised here; those who wait, if any, get it too
            raise
        except BaseException:
            read.cancel()
            raise
        else:
            read.set_result(data)
            if data is not None and self._reads.get(key) is read:
                self._keep(key, data)
            return data
        finally:
            if self._reads.get(key) is read:
                del self._reads[key]

    def _keep(self, key: str, data: bytes) -> None:
        size = _size(key, data)
        if size > self._max_bytes // 8:
            return
        self._kept[key] = data
        self._kept_bytes += size
        while self._kept_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        self._kept_bytes -= _size(key, self._kept.pop(key))


def _size(key: str, data: bytes) -> int:
    return len(data) + len(key) + _ENTRY_BYTES
