"""What the streaming endpoints take and give."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from streamsrv.errors import BadParameter
from streamsrv.hls.profiles import PROFILES, Profile, choose
from streamsrv.jobs.job import Job, JobStatus, Priority
from streamsrv.jobs.words import timestamp
from streamsrv.media.integrity.loss import ErrorsName
from streamsrv.text import canonical_uuid, plain_number

PriorityName = Literal["urgent", "normal", "background"]
CodecName = Literal["aac", "mp3", "opus", "flac"]
QualityName = Literal["hi_res", "high", "medium", "low"]

OPTION_FIELDS = ("codec", "bitrate", "quality_profile", "priority", "errors")
# Those that decide how the sound is encoded: once one is known, encoding may begin.
ENCODING_FIELDS = ("codec", "bitrate", "quality_profile")


class StreamOptions(BaseModel):
    """How an upload is to be encoded, as the client asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: CodecName | None = None
    bitrate: Annotated[int, BeforeValidator(plain_number)] | None = None
    quality_profile: QualityName | None = None
    priority: PriorityName = "normal"
    errors: ErrorsName = "strict"

    def profile(self) -> Profile:
        return choose(self.quality_profile, self.codec, self.bitrate)

    def job_priority(self) -> Priority:
        return Priority[self.priority.upper()]


_CHOICES = {
    "codec": get_args(CodecName),
    "quality_profile": tuple(PROFILES),
    "priority": get_args(PriorityName),
    "errors": get_args(ErrorsName),
}


def read_options(fields: Mapping[str, str]) -> StreamOptions:
    """Read the options from form fields or a query. Raises BadParameter, naming what is possible."""
    try:
        options = StreamOptions.model_validate({name: fields[name] for name in OPTION_FIELDS if name in fields})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        possible = f"one of {', '.join(_CHOICES[name])}" if name in _CHOICES else "a whole number of bits per second"
        raise BadParameter(f"{name} must be {possible}, not {fields[name][:40]!r}.") from error
    options.profile()
    return options


def read_job_id(text: str) -> str:
    """A UUID in its canonical form. Raises BadParameter."""
    job_id = canonical_uuid(text)
    if job_id is None:
        raise BadParameter("job_id must be a UUID, e.g. 550e8400-e29b-41d4-a716-446655440000.")
    return job_id


def job_reply(job: Job, *, base_url: str, queue_position: int | None, eta_seconds: float | None) -> dict[str, Any]:
    """A job as clients see it. `base_url` is the address of its playlists, without a slash at the end."""
    has_segments = bool(job.result.get("segment_count")) and job.status not in (JobStatus.FAILED, JobStatus.CANCELLED)
    return {
        "id": job.id,
        "track_id": job.title,
        "status": job.status.value,
        "progress": round(job.progress, 1),
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "completed_at": timestamp(job.completed_at),
        "error": job.error,
        "phase": phase(job),
        "queue_position": queue_position,
        "eta_seconds": None if eta_seconds is None else round(eta_seconds, 1),
        "manifest_url": f"{base_url}/index.m3u8" if job.status is JobStatus.COMPLETED else None,
        "live_url": f"{base_url}/live.m3u8" if has_segments else None,
        "master_url": f"{base_url}/master.m3u8" if has_segments else None,
        "source_name": job.source_name,
        "received_bytes": job.source_bytes if job.accepted_at is not None else None,
        "duration_seconds": job.result.get("duration_seconds"),
        "lost_seconds": job.result.get("lost_seconds"),
        "codec": job.result.get("codec") or job.options.get("codec"),
        "bitrate": job.result.get("bitrate", job.options.get("bitrate")),
        "quality_profile": job.options.get("quality_profile"),
        "priority": job.priority.name.lower(),
    }


def phase(job: Job) -> str:
    """Where the job is, in one word: uploading, waiting, working or ended."""
    if job.status.ended:
        return "ended"
    if job.accepted_at is None:
        return "uploading"
    return "waiting" if job.status is JobStatus.PENDING else "working"
