"""The windows of one song on their way through the devices, and what comes back in order."""

import asyncio
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsrv.separate.model import run_windows
from streamsrv.separate.overlap import Blend, Pass, Step, history, steps
from streamsrv.separate.settings import ModelInfo, ModelSpec, WindowReport
from streamsrv.separate.tape import Tape
from streamsrv.tasks import first_error
from streamsrv.workers.arrays import SharedArray
from streamsrv.workers.pool import DevicePool

Sound = NDArray[np.float32]
# Takes what is complete: stems float32 [source, channel, sample], one stretch after the other.
Emit = Callable[[Sound], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Windows that one task works on: of one part, each with a piece of the same length."""

    steps: tuple[Step, ...]

    @property
    def part(self) -> int:
        return self.steps[0].part


@dataclass(frozen=True, slots=True)
class _Done:
    batch: _Batch
    outputs: Sound  # [window, source, channel, sample]
    report: WindowReport


class Separation:
    """Runs all windows of a song, several at a time, the first of them first. `priority` is the pool's."""

    def __init__(self, pool: DevicePool, spec: ModelSpec, info: ModelInfo, *, batch: int, priority: int) -> None:
        self._pool = pool
        self._spec = spec
        self._info = info
        self._batch = batch
        self._priority = priority
        # So that each device has one while another one is prepared; more would only wait in memory.
        self._most_waiting = pool.size + 1
        self.devices: set[str] = set()

    async def run(self, tape: Tape, passes: Sequence[Pass], since: int, emit: Emit) -> None:
        """Separate the song from the sample `since` on. Whatever ends it, no task of it is left waiting.

        Raises what the child raises, WorkerDied where it dies again and again, and what `emit` raises.
        """
        try:
            await self._run(tape, passes, since, emit)
        except asyncio.CancelledError as error:
            # A group that is cancelled is part of a cycle: the windows at hand would stay until the collector comes by.
            traceback.clear_frames(error.__traceback__)
            raise

    async def _run(self, tape: Tape, passes: Sequence[Pass], since: int, emit: Emit) -> None:
        blend = Blend(passes, len(self._info.sources), self._info.channels, since)
        try:
            batches = _batches(steps(passes, self._info.parts, since), self._batch)
            async with asyncio.TaskGroup() as tasks, aclosing(self._in_order(tasks, tape, batches)) as finished:
                async for done in finished:
                    await self._collect(done, tape, blend, emit)
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    async def _in_order(
        self, tasks: asyncio.TaskGroup, tape: Tape, batches: Iterable[_Batch]
    ) -> AsyncGenerator[_Done, None]:
        """Work on some batches at a time, and give each when it and all before it are done."""
        waiting: deque[asyncio.Task[_Done]] = deque()
        for batch in batches:
            if len(waiting) >= self._most_waiting:
                yield await waiting.popleft()
            waiting.append(tasks.create_task(self._work(batch, await self._pieces(tape, batch))))
        while waiting:
            yield await waiting.popleft()

    async def _pieces(self, tape: Tape, batch: _Batch) -> list[Sound]:
        kept = history(self._info.parts)
        return [await tape.take(step.begin, step.end, history=kept) for step in batch.steps]

    async def _work(self, batch: _Batch, pieces: Sequence[Sound]) -> _Done:
        spans = tuple(step.span for step in batch.steps)
        longest = max(span.length for span in spans)
        shape = (len(spans), len(self._info.sources), self._info.channels, longest)
        with SharedArray((len(pieces), *pieces[0].shape)) as given, SharedArray(shape) as made:
            await asyncio.to_thread(_fill, given.array, pieces)  # of long windows that is 60 MB
            report = await self._pool.run(
                self._priority, run_windows, self._spec, batch.part, given.ref, spans, made.ref
            )
            return _Done(batch, made.array, report)  # its memory stays as long as this does

    async def _collect(self, done: _Done, tape: Tape, blend: Blend, emit: Emit) -> None:
        self.devices.add(done.report.device)
        for step, output in zip(done.batch.steps, done.outputs, strict=True):
            complete = await asyncio.to_thread(_add, tape, blend, step, output)
            if complete.shape[-1]:
                await emit(complete)


def _fill(array: Sound, pieces: Sequence[Sound]) -> None:
    np.stack(pieces, out=array)


def _add(tape: Tape, blend: Blend, step: Step, output: Sound) -> Sound:
    return tape.restored(blend.add(step, output[..., : step.window.length]))


def _batches(walk: Iterable[Step], most: int) -> Iterator[_Batch]:
    """Up to `most` steps that follow each other and are alike."""
    batch: list[Step] = []
    for step in walk:
        if batch and (len(batch) == most or _kind(step) != _kind(batch[0])):
            yield _Batch(tuple(batch))
            batch = []
        batch.append(step)
    if batch:
        yield _Batch(tuple(batch))


def _kind(step: Step) -> tuple[int, int, int]:
    return step.part, step.end - step.begin, step.span.length
