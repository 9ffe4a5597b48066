"""The map: builds the tools, hands them to the features, lists routes and lifetimes. It decides nothing.

`house` has the tools that several features share; `streams`, `extraction` and `separation` put features together.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from streamsrv.app.extraction import extract_api, extract_work, extraction
from streamsrv.app.house import House
from streamsrv.app.separation import (
    callbacks,
    missing_extras,
    separate_api,
    separate_work,
    separation,
    serving_api,
)
from streamsrv.app.streams import convert_api, hls_api, hls_work
from streamsrv.config import Config, ServerSettings, shipped
from streamsrv.jobs.ageing import SureClock
from streamsrv.jobs.assignment import Work
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.runner import Runner
from streamsrv.media.child import end_strays
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.ballast import Ballast
from streamsrv.web.clients import Proxies, bound_forwarded
from streamsrv.web.cors import allow_origins
from streamsrv.web.events import bound_events
from streamsrv.web.foreign_pages import Callers, refuse_foreign_pages
from streamsrv.web.health import health
from streamsrv.web.methods import answer_options
from streamsrv.web.pages import Pages
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.senders import dismiss_senders_at_shutdown
from streamsrv.workers.devices import Device

Lifetime = Callable[[web.Application], AsyncIterator[None]]


def create_app(config: Config, tools: FfmpegTools, devices: Sequence[Device] = (Device("cpu:0"),)) -> web.Application:
    """Build the application. `tools` are the ffmpeg programs that were found; the data directory exists and is ours.

    Songs are separated on `devices`.
    """
    data = config.server.data_dir.resolve()
    house = House.build(config, data, replace(tools, home=data))
    hls, extracting, separating = hls_work(house), extraction(house), separation(house, devices)
    works = {
        JobKind.HLS: Work(hls.run, hls.discard, hls.settle),
        JobKind.EXTRACT: extract_work(house, extracting),
        JobKind.SEPARATE: separate_work(house, separating),
    }
    runner, convert = _runner(house, works), convert_api(house)
    apis = (
        Pages(shipped("static"), missing=missing_extras()),
        hls_api(house, runner, hls),
        convert,
        extract_api(house, extracting.studio),
        separate_api(house, separating),
        serving_api(house, separating),
    )
    routes = [web.get("/health", health), *(route for api in apis for route in api.routes())]
    # Opened in this order, closed in the other: the runner stops while its store is still there.
    lifetimes = [
        *_house_lifetimes(house),
        _once(hls.sweep),
        *map(_open, extracting.resources),
        _once(separating.work.sweep),
        *map(_open, separating.resources),
        _once(separating.songs.sweep),
        _open(callbacks(house)),
        _open(runner),
        _open(convert.lifetime()),
    ]
    return _application(routes, lifetimes, config.server)


def _house_lifetimes(house: House) -> list[Lifetime]:
    return [
        _once(partial(asyncio.to_thread, end_strays, house.data)),
        _once(house.storage.sweep),
        _once(house.spools.sweep),
        _open(house.store),
        _open(house.guard),
        _open(house.decoders),
        _open(house.shared),
    ]


def _application(
    routes: Sequence[web.AbstractRouteDef], lifetimes: Sequence[Lifetime], server: ServerSettings
) -> web.Application:
    app = web.Application()
    name_requests(app)
    answer_problems(app)
    refuse_foreign_pages(app, _callers(server))
    answer_options(app)
    bound_forwarded(app, Proxies(server.trusted_proxies), server.max_connections_per_address)
    bound_events(app, server.max_event_streams)
    dismiss_senders_at_shutdown(app)
    app.router.add_routes(routes)
    allow_origins(app, server.allowed_origins)
    app.cleanup_ctx.extend(lifetimes)
    return app


def _callers(server: ServerSettings) -> Callers:
    return Callers.of(
        hosts=server.hosts,
        also=server.hosts_allowed,
        machine=socket.gethostname(),
        public_url=server.public_url,
        origins=server.allowed_origins,
    )


def _runner(house: House, works: Mapping[JobKind, Work]) -> Runner:
    config = house.config
    return Runner(
        house.store,
        works,
        slots=config.jobs.slots,
        upload_slots=config.hls.live_uploads,
        lease_seconds=config.jobs.lease_seconds,
        retention_days=config.jobs.retention_days,
        clock=SureClock().now,
        relief=Ballast(house.data),
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
