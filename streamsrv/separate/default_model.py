"""The model of songs that were sent without one, and the download of the one that would be better."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog

from streamsrv.separate.catalog import Catalog, Entry, State
from streamsrv.separate.choice import AUTO, PREFERRED, Choice, choose, pauses
from streamsrv.tasks import outcome_of
from streamsrv.workers.devices import Device
from streamsrv.workers.pool import DevicePool

log = structlog.get_logger()

# Whoever sends nothing for half a minute is given up before; this is for those who send a few bytes each minute.
_TRY_SECONDS = 2 * 3600.0
_CHILD = Device("downloads")


class DefaultModel:
    """What `wanted`, the setting, comes to now. Nobody waits for a network: until PREFERRED is here, it isn't it.

    `fetch_weights` has a model on this machine, and raises where it can't be had or can't be loaded. It must be
    importable.
    """

    def __init__(
        self,
        wanted: str,
        catalog: Catalog,
        *,
        fetch_weights: Callable[[str], None],
        pauses_seconds: Iterable[float] | None = None,
    ) -> None:
        self._wanted = wanted
        self._catalog = catalog
        self._fetch = fetch_weights
        self._pauses_seconds = pauses() if pauses_seconds is None else pauses_seconds
        self._failed: State | None = None

    async def choose(self) -> Choice:
        """Choose for a song that comes now. Files are looked at, so that it notices models that were pulled."""
        return self.among(await asyncio.to_thread(self._catalog.models) if self._wanted == AUTO else ())

    def among(self, entries: Sequence[Entry]) -> Choice:
        """The same, of models that were looked up already."""
        return choose(self._wanted, entries, failed=self._failed)

    @asynccontextmanager
    async def fetching(self) -> AsyncIterator[None]:
        """Within the block PREFERRED, if it is wanted, is fetched if it must be and may be, and loaded once."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._have_or_tell())
            try:
                yield
            finally:
                task.cancel()

    async def _have_or_tell(self) -> None:
        """Whatever goes wrong here is no reason to stop serving."""
        error = await outcome_of(self._have)
        if error is not None:
            log.error("model_given_up", model=PREFERRED, exc_info=error)

    async def _have(self) -> None:
        """Until it could be loaded: files that are here may be damaged, and nobody would get a stem."""
        for pause in self._pauses_seconds if self._wanted == AUTO else ():
            before = await self._state()
            if before == "missing":
                return
            is_download = before == "needs download"
            if is_download:
                log.info("model_download_started", model=PREFERRED)
            error = await outcome_of(self._try)
            if error is None:
                self._failed = None
                log.info("model_downloaded" if is_download else "model_loaded", model=PREFERRED)
                return
            self._failed = await self._state()
            came = self._failed == "available"
            # What came while it failed, maybe in another way, is tried at once.
            pause_seconds = 0.0 if is_download and came else pause
            event = "model_load_failed" if came else "model_download_failed"
            log.warning(event, model=PREFERRED, again_seconds=pause_seconds, exc_info=error)
            await asyncio.sleep(pause_seconds)

    async def _state(self) -> State:
        entry = await asyncio.to_thread(self._catalog.find, PREFERRED)
        return "missing" if entry is None else entry.state

    async def _try(self) -> None:
        """In a process of its own: it needs torch, takes no device from a song, and can be ended at any time."""
        async with asyncio.timeout(_TRY_SECONDS), DevicePool([_CHILD]) as pool:
            await pool.run(0, self._fetch, PREFERRED)
