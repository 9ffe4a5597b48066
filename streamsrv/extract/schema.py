"""What the extraction endpoints take and give."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from streamsrv.extract.cursor import request_digest
from streamsrv.extract.sources import SourceFile
from streamsrv.extract.tracks import track_members
from streamsrv.jobs.job import Job, JobStatus
from streamsrv.jobs.words import timestamp
from streamsrv.media.film import Film
from streamsrv.media.formats import FORMATS, Format
from streamsrv.media.integrity.loss import TERMS, ErrorsName, Terms

FormatName = Literal["flac", "wav", "mp3", "m4a", "opus", "ogg"]
OnMissing = Literal["error", "silence", "skip"]

FORMAT_NAMES: tuple[str, ...] = get_args(FormatName)
MAX_TRACK = 999
MIN_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS = 0.1, 3600.0

VideoFile = Annotated[str, Field(min_length=1, max_length=4096)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TracksRequest(_Asked):
    """Which tracks are there?"""

    video_files: list[VideoFile] = Field(min_length=1)


class WholeRequest(_Asked):
    """The audio of all clips, one after the other. None is what wasn't said."""

    video_files: list[VideoFile] = Field(min_length=1)
    track: Annotated[int, Field(ge=0, le=MAX_TRACK)] | None = None
    format: FormatName | None = None
    on_missing: OnMissing | None = None
    errors: ErrorsName | None = None

    @property
    def track_number(self) -> int:
        return self.track or 0

    @property
    def form(self) -> Format:
        return FORMATS[self.format or "flac"]

    @property
    def missing(self) -> OnMissing:
        return self.on_missing or "error"

    @property
    def terms(self) -> Terms:
        return TERMS[self.errors or "strict"]

    def brief(self) -> dict[str, Any]:
        """What is worth keeping beside each of many results: not the list, which may be long."""
        return {**self.model_dump(exclude={"video_files"}), "video_count": len(self.video_files)}

    def digest(self, subject: str) -> bytes:
        """The same for the same request, however its defaults were said."""
        return self._digest(subject, {})

    def _digest(self, subject: str, more: Mapping[str, Any]) -> bytes:
        parameters = {"format": self.form.name, "on_missing": self.missing, **more}
        parameters |= {"errors": self.errors} if self.terms.tolerates else {}
        return request_digest(self.video_files, track=self.track_number, subject=subject, parameters=parameters)


class SegmentRequest(WholeRequest):
    """One step through it: the segment at a cursor, or the first one."""

    cursor: Annotated[str, Field(max_length=1000)] | None = None
    segment_seconds: Annotated[float, Field(ge=MIN_SEGMENT_SECONDS, le=MAX_SEGMENT_SECONDS)] | None = None

    def with_length(self, usual_seconds: float) -> "SegmentRequest":
        """The same, its segment's length settled."""
        return self.model_copy(update={"segment_seconds": float(self.segment_seconds or usual_seconds)})

    def digest(self, subject: str) -> bytes:
        return self._digest(subject, {"segment_seconds": self.segment_seconds})


def phase(job: Job) -> str:
    """Where the job is, in one word: waiting, fetching, working or ended."""
    if job.status.ended:
        return "ended"
    if job.status is JobStatus.PENDING:
        return "waiting"
    return str(job.result.get("phase", "working"))


def status_reply(
    job: Job, *, audio_file: str | None, queue_position: int | None, eta_seconds: float | None, shown: list[str]
) -> dict[str, Any]:
    """An extraction as clients see it. `shown` are the first of its videos as anybody may see them."""
    request = WholeRequest.model_validate(dict(job.options))
    return {
        "cursor": job.id,
        "status": job.status.value,
        "audio_file": audio_file,
        "progress": round(job.progress, 1),
        "queue_position": queue_position,
        "eta_seconds": None if eta_seconds is None else round(eta_seconds, 1),
        "phase": phase(job),
        "error": job.error,
        "clip": job.result.get("clip"),
        "tracks": job.result.get("tracks"),
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "completed_at": timestamp(job.completed_at),
        "duration_seconds": job.result.get("duration_seconds"),
        "lost_seconds": job.result.get("lost_seconds"),
        "video_files": shown,
        "video_count": len(request.video_files),
        "track": request.track_number,
        "format": request.form.name,
        "on_missing": request.missing,
        "errors": request.errors or "strict",
    }


def segment_reply(cursor: str, audio_file: str | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A step as clients see it. `facts` are `done`, times in seconds, rate, channels and priming."""
    return {"cursor": cursor, "audio_file": audio_file, **facts}


def tracks_reply(films: Sequence[tuple[SourceFile, Film]]) -> dict[str, Any]:
    """The tracks of each clip, in order."""
    clips = [
        {"uri": source.uri, "duration_seconds": film.duration_seconds, "tracks": track_members(film.tracks)}
        for source, film in films
    ]
    return {"clips": clips}
