"""What the separation endpoints take and give."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streamsrv.errors import BadParameter
from streamsrv.jobs.job import Job, JobStatus, Priority
from streamsrv.jobs.words import timestamp
from streamsrv.media.integrity.loss import ErrorsName
from streamsrv.media.raw import RawKind
from streamsrv.separate.settings import Precision
from streamsrv.separate.tracks import Clip
from streamsrv.text import plain_number, shown

PriorityName = Literal["urgent", "normal", "background"]

MAX_OVERLAP, MAX_SHIFTS = 0.95, 20
CALLBACK_FIELD = "callback_url"
OPTION_FIELDS = ("model", "overlap", "shifts", "precision", "priority", "errors")
FORM_FIELDS = (*OPTION_FIELDS, "song_name", CALLBACK_FIELD)

# What is found out of a song meanwhile.
_FOUND = ("duration_seconds", "lost_seconds", "sample_rate", "segment_seconds")
_POSSIBLE = {
    "model": "the name of a model, see /apiv1/models",
    "overlap": f"a number from 0 to {MAX_OVERLAP}",
    "shifts": f"a whole number from 0 to {MAX_SHIFTS}",
    "precision": f"one of {', '.join(get_args(Precision))}",
    "priority": f"one of {', '.join(get_args(PriorityName))}",
    "errors": f"one of {', '.join(get_args(ErrorsName))}",
    "song_name": "a name of at most 500 characters",
    CALLBACK_FIELD: "an address of at most 4096 characters",
}


class SongOptions(BaseModel):
    """How a song is to be separated, as the client asked. None is what wasn't said."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    overlap: Annotated[float, BeforeValidator(plain_number), Field(ge=0, le=MAX_OVERLAP)] | None = None
    shifts: Annotated[int, BeforeValidator(plain_number), Field(ge=0, le=MAX_SHIFTS)] | None = None
    precision: Precision | None = None
    priority: PriorityName = "normal"
    errors: ErrorsName = "strict"
    song_name: Annotated[str, Field(max_length=500), AfterValidator(shown)] | None = None


class FormOptions(SongOptions):
    """The same from a form or a query, and whom to tell."""

    callback_url: Annotated[str, Field(max_length=4096)] | None = None


class Callback(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, Field(min_length=1, max_length=4096)]


class SongRequest(SongOptions):
    """A song in JSON: the bytes of a file of any format, in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    mp3: Annotated[str, Field(min_length=1)]
    callback: Callback | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a result depends on besides the song and the device."""

    model: str
    overlap: float
    shifts: int
    precision: Precision
    clip: Clip = "clamp"  # what the server does, not a wish
    errors: ErrorsName = "strict"

    @classmethod
    def of(cls, job: Job) -> "Recipe":
        return cls(**{name: job.options[name] for name in cls.__dataclass_fields__ if name in job.options})

    @property
    def passes(self) -> float:
        """How often each sample is separated: in each shift, and once more where windows overlap."""
        return max(1, self.shifts) / (1 - self.overlap)

    def settled(self, options: SongOptions) -> "Recipe":
        """The same with what was asked for in the places of the defaults."""
        return Recipe(
            model=options.model or self.model,
            # In hundredths, so that there aren't endlessly many results of a song.
            overlap=self.overlap if options.overlap is None else round(options.overlap, 2),
            shifts=self.shifts if options.shifts is None else options.shifts,
            precision=options.precision or self.precision,
            clip=self.clip,
            errors=options.errors,
        )

    def fingerprint(self, song: str, raw: RawKind | None = None) -> str:
        """Names the result of a song, which is given by its hash, and by its kind where only its name told that."""
        named = [song, self.model, self.overlap, self.shifts, self.precision, self.clip]
        # Of a song that is whole the same comes out, but nobody knows that before.
        named += [self.errors] if self.errors != "strict" else []
        named += [raw.demuxer, str(raw.sample_rate)] if raw is not None else []
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def read_form(fields: Mapping[str, str]) -> FormOptions:
    """Read the options from form fields or a query. Raises BadParameter, naming what is possible."""
    try:
        return FormOptions.model_validate(dict(fields))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise BadParameter(f"{name} must be {_POSSIBLE[name]}, not {fields[name][:40]!r}.") from error


def job_priority(options: SongOptions) -> Priority:
    return Priority[options.priority.upper()]


def phase(job: Job) -> str:
    """Where the job is, in one word: waiting, loading, measuring, separating, finishing or ended."""
    if job.status.ended:
        return "ended"
    return "waiting" if job.status is JobStatus.PENDING else str(job.result.get("phase", "loading"))


def has_segments(job: Job) -> bool:
    return bool(job.result.get("segment_count")) and job.status not in (JobStatus.FAILED, JobStatus.CANCELLED)


def song_reply(
    job: Job,
    *,
    origin: str,
    song_name: str,
    model_reason: str | None,
    queue_position: int | None,
    eta_seconds: float | None,
    removed: Collection[str],
    callbacks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A song as clients see it. `origin` is where addresses begin, `removed` are the tracks that are gone."""
    recipe, song, left = Recipe.of(job), job.options["song"], set(_names(job)) - set(removed)
    is_whole, is_playable = left and job.status is JobStatus.COMPLETED, left and has_segments(job)
    return {
        "hash": song,
        "song_name": song_name,
        "status": job.status.value,
        "phase": phase(job),
        "progress": round(job.progress, 1),
        "error": job.error,
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "completed_at": timestamp(job.completed_at),
        "queue_position": queue_position,
        "eta_seconds": None if eta_seconds is None else round(eta_seconds, 1),
        "priority": job.priority.name.lower(),
        "model": recipe.model,
        "model_reason": model_reason,
        "overlap": recipe.overlap,
        "shifts": recipe.shifts,
        "precision": recipe.precision,
        "devices": job.result.get("devices", []),
        **{name: job.result.get(name) for name in _FOUND},
        "revision": job.revision,
        "master_url": f"{origin}/apiv1/stems/{song}/master.m3u8{_of(recipe)}" if is_playable else None,
        "archive_url": f"{origin}/apiv1/archive/{song}.zip{_of(recipe)}" if is_whole else None,
        "tracks": [_track_reply(job, name, origin=origin, removed=name in removed) for name in _names(job)],
        "callbacks": list(callbacks),
    }


def _track_reply(job: Job, name: str, *, origin: str, removed: bool) -> dict[str, Any]:
    song, query = job.options["song"], _of(Recipe.of(job))
    is_whole, is_playable = job.status is JobStatus.COMPLETED and not removed, has_segments(job) and not removed
    return {
        "name": name,
        "is_mix": name in job.result.get("mixes", ()),
        "playlist_url": f"{origin}/apiv1/stems/{song}/{name}/index.m3u8{query}" if is_playable else None,
        **{
            f"{suffix}_url": f"{origin}/apiv1/track/{song}/{name}.{suffix}{query}" if is_whole else None
            for suffix in ("mp3", "flac", "wav")
        },
        "clipped_samples": job.result.get("clipped", {}).get(name, 0),
        "removed": removed,
    }


def track_urls(origin: str, song: str, model: str, names: Collection[str]) -> dict[str, str]:
    """Where each track of a song can be had as MP3."""
    return {name: f"{origin}/apiv1/track/{song}/{name}.mp3?model={quote(model, safe='')}" for name in names}


def _names(job: Job) -> list[str]:
    return list(job.result.get("tracks", ()))


def _of(recipe: Recipe) -> str:
    return f"?model={quote(recipe.model, safe='')}"
