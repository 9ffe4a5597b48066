"""The map: builds the tools, hands them to the features, lists routes and lifetimes. It decides nothing."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from streamsrv.config import Config, shipped
from streamsrv.convert.api import ConvertApi
from streamsrv.convert.upload import Slots, Workshop
from streamsrv.convert.work import Converter
from streamsrv.extract.api import MAX_BODY_BYTES, ExtractApi
from streamsrv.extract.archive import Archive
from streamsrv.extract.clips import Clips
from streamsrv.extract.contents import Contents
from streamsrv.extract.copies import Copies
from streamsrv.extract.encoding import Encoder
from streamsrv.extract.shared import SharedWork
from streamsrv.extract.sources import Sources
from streamsrv.extract.steps import Steps
from streamsrv.extract.studio import Studio
from streamsrv.extract.work import ExtractWork
from streamsrv.hls.api import HlsApi
from streamsrv.hls.work import HlsWork
from streamsrv.jobs.assignment import Work
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.runner import Runner
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.media.child import end_strays
from streamsrv.media.tools import FfmpegTools
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.download import DownloadLimits, Downloads
from streamsrv.outbound.guard import Guard
from streamsrv.storage.local import LocalStorage
from streamsrv.storage.secret import kept_secret
from streamsrv.storage.shelf import Shelf
from streamsrv.storage.spool import Spools
from streamsrv.web.admission import Admission
from streamsrv.web.cors import allow_origins
from streamsrv.web.events import close_events_at_shutdown
from streamsrv.web.health import health
from streamsrv.web.json_body import JsonLimits
from streamsrv.web.pages import Pages
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.segments import HotFiles
from streamsrv.web.uploads import UploadLimits
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

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
    ffmpeg = replace(tools, home=data)
    house = _House(config, ffmpeg, LocalStorage(data), Spools(data / "spool"), _job_store(config, data))
    hls_work, convert, extraction = _hls_work(house), _convert(house), _extraction(house, data)
    extract_work = ExtractWork(extraction.studio)
    works = {
        JobKind.HLS: Work(hls_work.run, hls_work.discard, hls_work.settle),
        JobKind.EXTRACT: Work(extract_work.run, extract_work.discard, slots=config.extract.slots),
    }
    runner = _runner(config, house.store, works)
    routes = [
        web.get("/health", health),
        *Pages(shipped("static")).routes(),
        *_hls(house, runner, hls_work).routes(),
        *convert.routes(),
        *_extract(house, extraction, _secret(config, data)).routes(),
    ]
    # Opened in this order, closed in the other: the runner stops while its store is still there.
    lifetimes = [
        _once(partial(asyncio.to_thread, end_strays, data)),
        _once(house.storage.sweep),
        _once(house.spools.sweep),
        _open(house.store),
        _once(hls_work.sweep),
        *map(_open, extraction.resources),
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


@dataclass(frozen=True, slots=True)
class _Extraction:
    """The parts of extraction; `resources` are opened in their order."""

    studio: Studio
    shared: SharedWork
    resources: tuple[AbstractAsyncContextManager[Any], ...]


def _extraction(house: _House, data: Path) -> _Extraction:
    config, most = house.config, house.config.limits.max_duration_seconds
    guard, downloads = _outbound(config)
    settings = config.extract
    disk_bytes = shutil.disk_usage(data).total
    copies_shelf = Shelf(data / "cache" / "downloads", max_bytes=min(settings.downloads_bytes, disk_bytes // 8))
    copies = Copies(downloads, copies_shelf, fresh_seconds=settings.fresh_seconds, at_once=settings.downloads)
    # Nothing of it is synced: what one run of the kernel has decoded quickly, the next one decodes again.
    clips_bytes = min(settings.clips_bytes, disk_bytes // 8)
    clips_shelf = Shelf(data / "cache" / "clips", max_bytes=clips_bytes, survives_reboot=False)
    pool = DevicePool(cpu_devices(config.workers.count))
    clips, shared = Clips(clips_shelf, pool), SharedWork()
    studio = Studio(
        tools=house.ffmpeg,
        sources=Sources(settings.media_roots, copies, private=data),
        contents=Contents(house.ffmpeg, shared),
        clips=clips,
        encoder=Encoder(house.ffmpeg, max_seconds=most),
        archive=Archive(
            house.storage,
            house.store.results,
            days=settings.retention_days,
            max_bytes=min(settings.results_bytes, disk_bytes // 4),
        ),
        storage=house.storage,
        max_seconds=most,
    )
    resources = (guard, copies_shelf, copies, clips_shelf, pool, clips, shared, studio.archive.lifetime())
    return _Extraction(studio, shared, resources)


def _outbound(config: Config) -> tuple[Guard, Downloads]:
    settings = config.outbound
    guard = Guard(
        Allowed.parse(settings.allow), connect_seconds=settings.connect_seconds, idle_seconds=settings.idle_seconds
    )
    limits = DownloadLimits(max_bytes=settings.max_download_bytes, max_seconds=settings.max_download_seconds)
    return guard, Downloads(guard, limits)


def _extract(house: _House, extraction: _Extraction, secret: bytes) -> ExtractApi:
    config = house.config
    return ExtractApi(
        store=house.store,
        studio=extraction.studio,
        steps=Steps(extraction.studio, extraction.shared, secret, encoders=2 * config.workers.count),
        admission=Admission(config.extract.max_requests, what="extractions", retry_seconds=_RETRY_SECONDS),
        limits=_json_limits(config),
        max_clips=config.extract.max_clips,
        segment_seconds=config.extract.segment_seconds,
        fresh_seconds=config.extract.fresh_seconds,
        download_idle_seconds=config.limits.download_idle_seconds,
        public_url=config.server.public_url,
    )


def _json_limits(config: Config) -> JsonLimits:
    return JsonLimits(
        max_bytes=min(config.limits.max_json_bytes, MAX_BODY_BYTES),
        idle_seconds=config.limits.upload_idle_seconds,
        min_bytes_per_second=config.limits.upload_min_bytes_per_second,
    )


def _secret(config: Config, data: Path) -> bytes:
    return config.server.secret.encode() or kept_secret(data / "secret")


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
