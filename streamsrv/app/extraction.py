"""The parts of extraction."""

import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from streamsrv.app.house import House
from streamsrv.config import OutboundSettings
from streamsrv.extract.api import MAX_BODY_BYTES, ExtractApi
from streamsrv.extract.archive import Archive
from streamsrv.extract.clips import Clips
from streamsrv.extract.contents import Contents
from streamsrv.extract.copies import Copies
from streamsrv.extract.encoding import Encoder
from streamsrv.extract.sources import Sources
from streamsrv.extract.steps import Steps
from streamsrv.extract.studio import Studio
from streamsrv.extract.work import ExtractWork
from streamsrv.jobs.ageing import SureClock
from streamsrv.jobs.assignment import Work
from streamsrv.outbound.download import DownloadLimits, Downloads
from streamsrv.storage.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Extraction:
    """`resources` are opened in their order, once the house's are."""

    studio: Studio
    resources: tuple[AbstractAsyncContextManager[Any], ...]


def extraction(house: House) -> Extraction:
    config, data, settings = house.config, house.data, house.config.extract
    most = config.limits.max_duration_seconds
    downloads = Downloads(house.guard, _download_limits(config.outbound))
    disk_bytes = shutil.disk_usage(data).total
    copies_shelf = Shelf(data / "cache" / "downloads", max_bytes=min(settings.downloads_bytes, disk_bytes // 8))
    copies = Copies(
        downloads,
        copies_shelf,
        fresh_seconds=settings.fresh_seconds,
        at_once=settings.downloads,
        per_host=settings.downloads_per_host,
    )
    # Nothing of it is synced: what one run of the kernel has decoded quickly, the next one decodes again.
    clips_bytes = min(settings.clips_bytes, disk_bytes // 8)
    clips_shelf = Shelf(data / "cache" / "clips", max_bytes=clips_bytes, survives_reboot=False)
    clips = Clips(clips_shelf, house.decoders)
    studio = Studio(
        tools=house.ffmpeg,
        sources=Sources(settings.media_roots, copies, private=data),
        contents=Contents(house.ffmpeg, house.shared),
        clips=clips,
        encoder=Encoder(house.ffmpeg, max_seconds=most),
        archive=Archive(
            house.storage,
            house.store.results,
            days=settings.retention_days,
            max_bytes=min(settings.results_bytes, disk_bytes // 4),
            sure_clock=SureClock().now,
        ),
        storage=house.storage,
        max_seconds=most,
        max_samples=config.limits.max_samples,
    )
    return Extraction(studio, (copies_shelf, copies, clips_shelf, clips, studio.archive.lifetime()))


def _download_limits(outbound: OutboundSettings) -> DownloadLimits:
    return DownloadLimits(
        max_bytes=outbound.max_download_bytes,
        max_seconds=outbound.max_download_seconds,
        min_bytes_per_second=outbound.min_bytes_per_second,
        grace_seconds=outbound.grace_seconds,
    )


def extract_work(house: House, parts: Extraction) -> Work:
    work = ExtractWork(parts.studio)
    settings = house.config.extract
    return Work(work.run, work.discard, slots=settings.slots, aside_slots=settings.waiting)


def extract_api(house: House, studio: Studio) -> ExtractApi:
    config = house.config
    return ExtractApi(
        store=house.store,
        studio=studio,
        steps=Steps(studio, house.shared, house.secret(), encoders=2 * config.workers.count),
        admission=house.admission(config.extract.max_requests, what="extractions"),
        queue=house.queue,
        room=house.room,
        limits=house.json_limits(MAX_BODY_BYTES),
        max_clips=config.extract.max_clips,
        segment_seconds=config.extract.segment_seconds,
        fresh_seconds=config.extract.fresh_seconds,
        download_idle_seconds=config.limits.download_idle_seconds,
        public_url=config.server.public_url,
    )
