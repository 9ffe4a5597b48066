"""The map: builds the tools, hands them to the features, lists routes and lifetimes. It decides nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from streamsrv.config import Config, shipped
from streamsrv.convert.api import ConvertApi
from streamsrv.convert.upload import Slots, Workshop
from streamsrv.convert.work import Converter
from streamsrv.hls.api import HlsApi
from streamsrv.hls.work import HlsWork
from streamsrv.jobs.assignment import Work
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.runner import Runner
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.media.child import end_strays
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.local import LocalStorage
from streamsrv.storage.spool import Spools
from streamsrv.web.admission import Admission
from streamsrv.web.cors import allow_origins
from streamsrv.web.events import close_events_at_shutdown
from streamsrv.web.health import health
from streamsrv.web.pages import Pages
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.segments import HotFiles
from streamsrv.web.uploads import UploadLimits

_RETRY_SECONDS = 5

Lifetime = Callable[[web.Application], AsyncIterator[None]]


@dataclass(frozen=True, slots=True)
class _House:
    """The tools that several features share."""

    config: Config
    ffmpeg: FfmpegTools
    storage: LocalStorage
    spools: Spools
    store: SqliteJobStore


def create_app(config: Config, tools: FfmpegTools) -> web.Application:
    """Build the application. `tools` are the ffmpeg programs that were found; the data directory exists and is ours."""
    data = config.server.data_dir.resolve()
    house = _House(config, tools, LocalStorage(data), Spools(data / "spool"), _job_store(config, data))
    hls_work = _hls_work(house)
    runner = _runner(config, house.store, {JobKind.HLS: Work(hls_work.run, hls_work.discard, hls_work.settle)})
    convert = _convert(house)
    routes = [
        web.get("/health", health),
        *Pages(shipped("static")).routes(),
        *_hls(house, runner, hls_work).routes(),
        *convert.routes(),
    ]
    # Opened in this order, closed in the other: the runner stops while its store is still there.
    lifetimes = [
        _once(partial(asyncio.to_thread, end_strays, data)),
        _once(house.storage.sweep),
        _once(house.spools.sweep),
        _open(house.store),
        _once(hls_work.sweep),
        _open(runner),
        _open(convert.lifetime()),
    ]
    return _application(routes, lifetimes, config.server.allowed_origins)


def _hls_work(house: _House) -> HlsWork:
    return HlsWork(
        store=house.store,
        storage=house.storage,
        spools=house.spools,
        tools=house.ffmpeg,
        segment_seconds=house.config.hls.segment_seconds,
        max_seconds=house.config.limits.max_duration_seconds,
    )


def _hls(house: _House, runner: Runner, work: HlsWork) -> HlsApi:
    config = house.config
    return HlsApi(
        store=house.store,
        storage=house.storage,
        spools=house.spools,
        runner=runner,
        work=work,
        tools=house.ffmpeg,
        hot=HotFiles(config.hls.cache_bytes),
        limits=_upload_limits(config),
        slots=config.jobs.slots,
        public_url=config.server.public_url,
    )


def _convert(house: _House) -> ConvertApi:
    config = house.config
    return ConvertApi(
        workshop=Workshop(
            house.spools,
            house.storage,
            house.ffmpeg,
            Converter(house.ffmpeg, max_seconds=config.limits.max_duration_seconds),
            Slots(whole=config.convert.slots, live=config.convert.live_uploads),
        ),
        limits=_upload_limits(config),
        admission=Admission(config.convert.max_requests, what="conversions", retry_seconds=_RETRY_SECONDS),
        download_idle_seconds=config.limits.download_idle_seconds,
    )


def _application(
    routes: Sequence[web.AbstractRouteDef], lifetimes: Sequence[Lifetime], origins: Sequence[str]
) -> web.Application:
    app = web.Application()
    name_requests(app)
    answer_problems(app)
    close_events_at_shutdown(app)
    app.router.add_routes(routes)
    allow_origins(app, origins)
    app.cleanup_ctx.extend(lifetimes)
    return app


def _job_store(config: Config, data: Path) -> SqliteJobStore:
    return SqliteJobStore(
        data / "streamsrv.sqlite",
        lease_seconds=config.jobs.lease_seconds,
        ageing_seconds=config.jobs.ageing_seconds,
        max_attempts=config.jobs.max_attempts,
        max_restarts=config.jobs.max_restarts,
    )


def _runner(config: Config, store: SqliteJobStore, works: Mapping[JobKind, Work]) -> Runner:
    return Runner(
        store,
        works,
        slots=config.jobs.slots,
        upload_slots=config.hls.live_uploads,
        lease_seconds=config.jobs.lease_seconds,
        retention_days=config.jobs.retention_days,
    )


def _upload_limits(config: Config) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=config.limits.max_upload_bytes,
        max_parts=config.limits.max_parts,
        max_field_bytes=config.limits.max_field_bytes,
        idle_seconds=config.limits.upload_idle_seconds,
        min_bytes_per_second=config.limits.upload_min_bytes_per_second,
    )


def _open(resource: AbstractAsyncContextManager[Any]) -> Lifetime:
    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        async with resource:
            yield

    return lifetime


def _once(step: Callable[[], Awaitable[object]]) -> Lifetime:
    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        await step()
        yield

    return lifetime
