"""ffmpeg whose output is raw samples, read in order while it decodes."""

import asyncio
from types import TracebackType

from streamsrv.media.child import kill_group
from streamsrv.media.ffmpeg import Ffmpeg

_CHUNK_BYTES = 1 << 18


class Decoder(Ffmpeg):
    """`async with Decoder(...) as child`, `child.read()` to the end, `child.outcome()`. A slow reader slows it down."""

    async def read(self, count: int) -> bytes:
        """Give `count` bytes, fewer only at the end of the sound. Raises what its feed raised."""
        assert self._process.stdout is not None  # noqa: S101 - it was opened as a pipe
        try:
            return await self._process.stdout.readexactly(count)
        except asyncio.IncompleteReadError as error:
            if self._feed_error is not None:
                raise self._feed_error from error
            return error.partial

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill_group(self._process)
        # What it had written already must be taken, or asyncio never sees the end of the pipe.
        self._tasks.create_task(self._drop_output())
        await super().__aexit__(kind, error, trace)

    async def _drop_output(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        while await self._process.stdout.read(_CHUNK_BYTES):
            pass

    async def _read_output(self) -> None:
        """Whoever calls `read` does that."""
