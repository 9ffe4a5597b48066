"""The tools that several features share, and what the settings make of requests."""

from dataclasses import dataclass
from pathlib import Path

from streamsrv.config import Config
from streamsrv.jobs.queue_limit import QueueLimit
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.media.tools import FfmpegTools
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.guard import Guard
from streamsrv.storage.local import LocalStorage
from streamsrv.storage.room import Room
from streamsrv.storage.secret import kept_secret
from streamsrv.storage.spool import Spools
from streamsrv.tasks import SharedWork
from streamsrv.web.admission import Admission
from streamsrv.web.json_body import JsonLimits
from streamsrv.web.segments import HotFiles
from streamsrv.web.uploads import UploadLimits
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class House:
    """`data` is the data directory. `decoders` are processes that decode, one for each core."""

    config: Config
    data: Path
    ffmpeg: FfmpegTools
    storage: LocalStorage
    room: Room
    spools: Spools
    store: SqliteJobStore
    guard: Guard
    decoders: DevicePool
    shared: SharedWork
    hot: HotFiles

    @property
    def queue(self) -> QueueLimit:
        return QueueLimit(self.store, self.config.jobs.max_waiting)

    @classmethod
    def build(cls, config: Config, data: Path, ffmpeg: FfmpegTools) -> "House":
        settings = config.outbound
        room = Room(data, reserve_bytes=config.limits.reserve_bytes)
        return cls(
            config=config,
            data=data,
            ffmpeg=ffmpeg,
            storage=LocalStorage(data),
            room=room,
            spools=Spools(data / "spool", room),
            store=_job_store(config, data),
            guard=Guard(
                Allowed.parse(settings.allow),
                connect_seconds=settings.connect_seconds,
                idle_seconds=settings.idle_seconds,
            ),
            decoders=DevicePool(cpu_devices(config.workers.count)),
            shared=SharedWork(),
            hot=HotFiles(config.hls.cache_bytes),
        )

    def secret(self) -> bytes:
        return server_secret(self.config)

    def upload_limits(self) -> UploadLimits:
        limits = self.config.limits
        return UploadLimits(
            max_upload_bytes=limits.max_upload_bytes,
            max_parts=limits.max_parts,
            max_field_bytes=limits.max_field_bytes,
            idle_seconds=limits.upload_idle_seconds,
            min_bytes_per_second=limits.upload_min_bytes_per_second,
        )

    def admission(self, places: int, *, what: str) -> Admission:
        """Room for so many requests that are `what`."""
        busy = self.config.limits.upload_busy_bytes_per_second
        return Admission(places, what=what, retry_seconds=RETRY_SECONDS, busy_bytes_per_second=busy)

    def json_limits(self, most_bytes: int | None = None) -> JsonLimits:
        """`most_bytes`: what a feature allows at most, whatever is configured."""
        limits = self.config.limits
        return JsonLimits(
            max_bytes=min(limits.max_json_bytes, most_bytes or limits.max_json_bytes),
            idle_seconds=limits.upload_idle_seconds,
            min_bytes_per_second=limits.upload_min_bytes_per_second,
        )


def server_secret(config: Config) -> bytes:
    """What is configured, or what was made for this data directory, which it is by this."""
    return config.server.secret.encode() or kept_secret(config.server.data_dir.resolve() / "secret")


def database_file(data: Path) -> Path:
    """Where the jobs are known, below the data directory."""
    return data / "streamsrv.sqlite"


def _job_store(config: Config, data: Path) -> SqliteJobStore:
    return SqliteJobStore(
        database_file(data),
        lease_seconds=config.jobs.lease_seconds,
        ageing_seconds=config.jobs.ageing_seconds,
        max_attempts=config.jobs.max_attempts,
        max_restarts=config.jobs.max_restarts,
    )
