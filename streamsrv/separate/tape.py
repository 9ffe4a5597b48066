"""The second decode of a song: read in order, with a short stretch of it at hand."""

from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from streamsrv.errors import InternalError

# Demucs's own guard against songs of silence.
_LEAST_STD = 1e-8
_READ_SAMPLES = 1 << 16
_SAMPLE_BYTES = 4


class Tape:
    """Samples of a song as the model sees them: less the song's mean, over its deviation; silence before its start.

    `read` gives so many bytes of interleaved float32, fewer only at the end. `length` is in samples.
    """

    def __init__(
        self, read: Callable[[int], Awaitable[bytes]], *, channels: int, length: int, mean: float, std: float
    ) -> None:
        self._read = read
        self._channels = channels
        self._length = length
        self._mean = np.float32(mean)
        self._std = np.float32(std + _LEAST_STD)
        self._start = 0
        self._kept = np.empty((channels, 0), np.float32)

    async def take(self, begin: int, end: int, *, history: int) -> NDArray[np.float32]:
        """Give [channels, end - begin]; of what lies before `begin` no more than `history` samples is kept.

        Raises InternalError where the song ends early: then it isn't the one any more that was measured.
        """
        await self._wind(begin - history, end)
        silence = np.zeros((self._channels, max(0, -begin)), np.float32)
        first, last = max(0, begin) - self._start, end - self._start
        return np.concatenate((silence, self._kept[:, first:last]), axis=1)

    async def check_end(self) -> None:
        """Raise InternalError where there is more of the song than was measured."""
        await self._wind(self._length, self._length)
        if await self._read(1):
            raise InternalError("The song is longer than it was when it was measured.")

    def restored(self, stems: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the model made of it, back at the song's own level."""
        return stems * self._std + self._mean

    async def _wind(self, keep_from: int, end: int) -> None:
        fresh = [self._kept]
        position = self._start + self._kept.shape[1]
        while position < end:
            count = min(_READ_SAMPLES, self._length - position)
            data = await self._read(count * self._channels * _SAMPLE_BYTES) if count > 0 else b""
            if not count or len(data) < count * self._channels * _SAMPLE_BYTES:
                raise InternalError("The song is shorter than it was when it was measured.")
            position += count
            if position > keep_from:
                fresh.append(self._decoded(data))
            else:
                fresh, self._start = [], position
        kept = np.concatenate(fresh, axis=1) if fresh else np.empty((self._channels, 0), np.float32)
        dropped = min(max(0, keep_from - self._start), kept.shape[1])
        self._kept, self._start = kept[:, dropped:].copy() if dropped else kept, self._start + dropped

    def _decoded(self, data: bytes) -> NDArray[np.float32]:
        samples = np.frombuffer(data, "<f4").reshape(-1, self._channels).T
        return np.ascontiguousarray((samples - self._mean) / self._std)
