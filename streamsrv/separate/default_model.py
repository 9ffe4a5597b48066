"""The model of songs that were sent without one, and the download of the one that would be better."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog

from streamsrv.separate.catalog import Catalog, Entry
from streamsrv.separate.choice import AUTO, DID_NOT_COME, IS_COMING, PREFERRED, Choice, choose, pauses
from streamsrv.separate.weights import fetch
from streamsrv.tasks import outcome_of
from streamsrv.workers.devices import Device
from streamsrv.workers.pool import DevicePool

log = structlog.get_logger()

# Whoever sends nothing for half a minute is given up before; this is for those who send a few bytes each minute.
_TRY_SECONDS = 2 * 3600.0
_CHILD = Device("downloads")


class DefaultModel:
    """What `wanted`, the setting, comes to now. Nobody waits for a network: until PREFERRED is here, it isn't it."""

    def __init__(
        self,
        wanted: str,
        catalog: Catalog,
        *,
        fetch_weights: Callable[[str], None] = fetch,
        pauses_seconds: Iterable[float] | None = None,
    ) -> None:
        self._wanted = wanted
        self._catalog = catalog
        self._fetch = fetch_weights
        self._pauses_seconds = pauses() if pauses_seconds is None else pauses_seconds
        self._has_failed = False

    async def choose(self) -> Choice:
        """Choose for a song that comes now. Files are looked at, so that it notices models that were pulled."""
        return self.among(await asyncio.to_thread(self._catalog.models))

    def among(self, entries: Sequence[Entry]) -> Choice:
        """The same, of models that were looked up already."""
        return choose(self._wanted, entries, download=DID_NOT_COME if self._has_failed else IS_COMING)

    @asynccontextmanager
    async def fetching(self) -> AsyncIterator[None]:
        """Within the block PREFERRED is being fetched, if it is wanted, must be, and may be: until it is here."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._fetch_until_here())
            try:
                yield
            finally:
                task.cancel()

    async def _fetch_until_here(self) -> None:
        if self._wanted != AUTO or await outcome_of(self._is_needed) is not True:
            return
        for pause_seconds in self._pauses_seconds:
            log.info("model_download_started", model=PREFERRED)
            error = await outcome_of(self._try)
            if await outcome_of(self._is_needed) is False:
                log.info("model_downloaded", model=PREFERRED)
                return
            self._has_failed = True
            log.warning("model_download_failed", model=PREFERRED, reason=repr(error), again_seconds=pause_seconds)
            await asyncio.sleep(pause_seconds)

    async def _is_needed(self) -> bool:
        entry = await asyncio.to_thread(self._catalog.find, PREFERRED)
        return entry is not None and entry.state == "needs download"

    async def _try(self) -> None:
        """In a process of its own: it needs torch, takes no device from a song, and can be ended at any time."""
        async with asyncio.timeout(_TRY_SECONDS), DevicePool([_CHILD]) as pool:
            await pool.run(0, self._fetch, PREFERRED)
