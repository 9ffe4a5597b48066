"""The two decodes of a song: one that measures it, in a process of the pool, and one that is read window by window."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from streamsrv.media.child import ChildLimits
from streamsrv.media.decoder import Decoder
from streamsrv.media.feed import feed_of
from streamsrv.media.integrity.loss import Terms
from streamsrv.media.material import whole_material
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.measure import Measured, MeasureTask, measure_song
from streamsrv.separate.settings import ModelInfo
from streamsrv.separate.tape import Tape
from streamsrv.workers.pool import DevicePool

# Nobody makes it: that its folder is gone says the same.
_STOP = "stop"


class Listening:
    """The first audio track of a file, as a model hears it, on these terms."""

    def __init__(
        self, tools: FfmpegTools, path: Path, info: ModelInfo, *, name: str, terms: Terms, max_seconds: float
    ) -> None:
        self._tools = tools
        self._path = path
        self._info = info
        self._name = name
        self._terms = terms
        self._max_seconds = max_seconds

    async def measure(self, decoders: DevicePool, priority: int, folder: Path) -> Measured:
        """Decode it to its end, unless `folder` goes: then nobody wants that any more.

        UnusableFile, in words, where that can't be done or where the file breaks off.
        """
        return await decoders.run(priority, measure_song, replace(await self._task(), stop=folder / _STOP))

    @asynccontextmanager
    async def tape(self, measured: Measured, folder: Path) -> AsyncIterator[Tape]:
        """Decode it once more, as slowly as it is read. The decoder works in `folder`."""
        task = await self._task()
        limits = ChildLimits.for_sound(self._max_seconds, memory_bytes=task.memory_bytes)
        readable = (self._path,)
        # It may wait for long, but needs no more time of a processor than the first one.
        feed = feed_of(task.input.parts)
        decoding = Decoder(self._tools, task.arguments(), folder=folder, readable=readable, feed=feed, limits=limits)
        async with decoding as decoder:
            yield Tape(
                decoder.read,
                channels=self._info.channels,
                length=measured.samples,
                mean=measured.mean,
                std=measured.std,
            )

    async def _task(self) -> MeasureTask:
        material = await whole_material(self._tools, self._path, self._terms, name=self._name)
        return MeasureTask(
            tools=self._tools,
            source=self._path,
            clock=material.source.clock,
            source_channels=material.source.channels,
            wav=material.source.wav,
            raw=material.source.raw,
            declared=material.declared,
            examined=material.examined,
            terms=material.terms,
            memory_bytes=material.memory_bytes,
            sample_rate=self._info.sample_rate,
            channels=self._info.channels,
            max_seconds=self._max_seconds,
        )
