"""The parts of streaming and of conversion."""

from streamsrv.app.house import House
from streamsrv.convert.api import ConvertApi
from streamsrv.convert.upload import Slots, Workshop
from streamsrv.convert.work import Converter
from streamsrv.hls.api import HlsApi
from streamsrv.hls.work import HlsWork
from streamsrv.jobs.runner import Runner


def hls_work(house: House) -> HlsWork:
    return HlsWork(
        store=house.store,
        storage=house.storage,
        spools=house.spools,
        tools=house.ffmpeg,
        segment_seconds=house.config.hls.segment_seconds,
        max_seconds=house.config.limits.max_duration_seconds,
        max_samples=house.config.limits.max_samples,
    )


def hls_api(house: House, runner: Runner, work: HlsWork) -> HlsApi:
    return HlsApi(
        store=house.store,
        storage=house.storage,
        spools=house.spools,
        runner=runner,
        work=work,
        tools=house.ffmpeg,
        hot=house.hot,
        limits=house.upload_limits(),
        admission=house.admission(house.config.hls.max_requests, what="uploads"),
        queue=house.queue,
        slots=house.config.jobs.slots,
        public_url=house.config.server.public_url,
    )


def convert_api(house: House) -> ConvertApi:
    config = house.config
    return ConvertApi(
        workshop=Workshop(
            house.spools,
            house.storage,
            house.room,
            house.ffmpeg,
            Converter(
                house.ffmpeg,
                max_seconds=config.limits.max_duration_seconds,
                max_samples=config.limits.max_samples,
            ),
            Slots(whole=config.convert.slots, live=config.convert.live_uploads),
        ),
        limits=house.upload_limits(),
        admission=house.admission(config.convert.max_requests, what="conversions"),
        download_idle_seconds=config.limits.download_idle_seconds,
    )
