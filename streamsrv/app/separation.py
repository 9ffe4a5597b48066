"""The parts of separation."""

import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamsrv.app.house import House, server_secret
from streamsrv.config import Config
from streamsrv.encoding.files import FileEncoder
from streamsrv.jobs.assignment import Work
from streamsrv.jobs.outbox import Message
from streamsrv.outbound.tries import WebhookLimits, webhook_secret
from streamsrv.outbound.webhooks import Webhooks
from streamsrv.separate.api import SeparateApi, SeparateLimits
from streamsrv.separate.callbacks import render_callback
from streamsrv.separate.catalog import Catalog, is_installed, knows_gpus, may_download
from streamsrv.separate.default_model import DefaultModel
from streamsrv.separate.downloads import TrackFiles
from streamsrv.separate.intake import Intake
from streamsrv.separate.schema import Recipe
from streamsrv.separate.serving import ServingApi
from streamsrv.separate.songs import Songs
from streamsrv.separate.weights import fetch
from streamsrv.separate.work import SeparateWork, Studio
from streamsrv.storage.shelf import Shelf
from streamsrv.workers.devices import Device, chosen_devices, find_gpus
from streamsrv.workers.pool import DevicePool

_JSON_REQUESTS = 4


@dataclass(frozen=True, slots=True)
class Separation:
    """`resources` are opened in their order, once the house's are."""

    work: SeparateWork
    songs: Songs
    files: TrackFiles
    catalog: Catalog
    default_model: DefaultModel
    resources: tuple[AbstractAsyncContextManager[Any], ...]


def missing_extras() -> list[str]:
    """Extras of the package that aren't installed; the page leaves out what needs them."""
    return [] if is_installed() else ["separate"]


def separation_devices(config: Config) -> list[Device]:
    """What songs are separated on. Raises ValueError for a list that names what isn't there. May take seconds."""
    wanted = config.separate.devices
    found = find_gpus() if wanted != ["cpu"] and knows_gpus() else []
    return chosen_devices(wanted, found, os.environ.get("CUDA_VISIBLE_DEVICES"), config.workers.count)


def model_catalog(config: Config) -> Catalog:
    settings = config.separate
    return Catalog(settings.repo, download=may_download(settings.download))


def separation(house: House, devices: Sequence[Device]) -> Separation:
    config, settings = house.config, house.config.separate
    most = config.limits.max_duration_seconds
    pool = DevicePool(devices)
    studio = Studio(
        tools=house.ffmpeg,
        storage=house.storage,
        pool=pool,
        decoders=house.decoders,
        model_repo=settings.repo,
        download=may_download(settings.download),
        batch=settings.batch if any(device.is_gpu for device in devices) else 1,
        max_seconds=most,
    )
    work = SeparateWork(house.store, studio)
    shelf_bytes = min(settings.downloads_bytes, shutil.disk_usage(house.data).total // 8)
    # Nothing of it is synced: it is made of segments, quickly, and only when somebody asks.
    shelf = Shelf(house.data / "cache" / "tracks", max_bytes=shelf_bytes, survives_reboot=False)
    files = TrackFiles(
        encoder=FileEncoder(house.ffmpeg, max_seconds=most),
        storage=house.storage,
        store=house.store,
        shelf=shelf,
        room=house.room,
        shared=house.shared,
    )
    songs = Songs(house.store, work, files, house.hot, slots=settings.songs, ageing_seconds=config.jobs.ageing_seconds)
    catalog = model_catalog(config)
    fetch_weights = partial(fetch, repo=settings.repo, download=may_download(settings.download))
    default_model = DefaultModel(settings.model, catalog, fetch_weights=fetch_weights)
    return Separation(work, songs, files, catalog, default_model, (shelf, pool, default_model.fetching()))


def separate_work(house: House, parts: Separation) -> Work:
    work = parts.work
    # So that an urgent song needn't wait until another one has ended: the devices take its windows first.
    return Work(work.run, work.discard, work.settle, slots=house.config.separate.songs, urgent_slots=1)


def callback_secret(config: Config) -> str:
    """What callbacks are signed with. Made of the server's own secret it gives nothing away of that."""
    return config.callbacks.secret or webhook_secret(server_secret(config))


def callbacks(house: House) -> Webhooks[Message]:
    settings = house.config.callbacks
    limits = WebhookLimits(
        delays_seconds=tuple(settings.retry_seconds),
        try_seconds=settings.timeout_seconds,
        at_once=settings.concurrency,
    )
    secret = callback_secret(house.config)
    return Webhooks(house.guard, house.store.outbox, render_callback, secret=secret, limits=limits)


def separate_api(house: House, parts: Separation) -> SeparateApi:
    config, settings = house.config, house.config.separate
    return SeparateApi(
        store=house.store,
        songs=parts.songs,
        intake=Intake(
            store=house.store,
            storage=house.storage,
            spools=house.spools,
            tools=house.ffmpeg,
            max_seconds=config.limits.max_duration_seconds,
            max_samples=config.limits.max_samples,
        ),
        catalog=parts.catalog,
        default_model=parts.default_model,
        guard=house.guard,
        admission=house.admission(settings.max_requests, what="songs"),
        json_admission=house.admission(_JSON_REQUESTS, what="large songs in JSON"),
        queue=house.queue,
        limits=SeparateLimits(form=house.upload_limits(), json=house.json_limits()),
        defaults=Recipe(
            model=settings.model,  # with each song `default_model` tells what that is
            overlap=settings.overlap,
            shifts=settings.shifts,
            precision=settings.precision,
            clip=settings.clip,
        ),
        max_passes=settings.max_passes,
        public_url=config.server.public_url,
    )


def serving_api(house: House, parts: Separation) -> ServingApi:
    return ServingApi(
        store=house.store,
        storage=house.storage,
        songs=parts.songs,
        files=parts.files,
        hot=house.hot,
        download_idle_seconds=house.config.limits.download_idle_seconds,
    )
