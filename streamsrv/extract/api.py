"""The routes of extractions: segment by segment, or the whole as a job; and what there is to extract from."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from streamsrv.errors import BadParameter, NotFound
from streamsrv.extract.archive import digest_in, file_name
from streamsrv.extract.browsing import Entry, list_folder
from streamsrv.extract.opening import opened_films
from streamsrv.extract.reel import naming_clip
from streamsrv.extract.schema import (
    SegmentRequest,
    TracksRequest,
    WholeRequest,
    segment_reply,
    status_reply,
    tracks_reply,
)
from streamsrv.extract.steps import Steps
from streamsrv.extract.studio import Studio
from streamsrv.jobs.estimates import eta_seconds
from streamsrv.jobs.follow import follow
from streamsrv.jobs.job import Job, JobKind, JobStatus
from streamsrv.jobs.queue_limit import QueueLimit
from streamsrv.jobs.store import JobStore
from streamsrv.jobs.words import read_limit, read_statuses
from streamsrv.media.formats import FORMATS
from streamsrv.outbound.urls import redact
from streamsrv.storage.room import Room
from streamsrv.web.admission import Admission
from streamsrv.web.downloads import while_connected
from streamsrv.web.events import last_event_id, send_events
from streamsrv.web.json_body import JsonLimits, read_json
from streamsrv.web.requests import public_origin, read_query
from streamsrv.web.responses import json_reply
from streamsrv.web.stored import send_stored
from streamsrv.web.uploads import defer_continue

_CURSOR = "{cursor:[0-9a-f]{32}}"
_FILE = "{name:[0-9a-f]{64}\\.[a-z0-9]{2,4}}"
# Of a long list so many addresses are told; its length is, too.
_SHOWN_FILES = 20
_FOREVER = "public, max-age=31536000, immutable"
_SUBJECT = "local"
# A list is kept with its job, and comes back with every page of jobs.
_MAX_LIST_CHARACTERS = 1 << 18
# Escaped, a character takes up to six bytes.
MAX_BODY_BYTES = 6 * _MAX_LIST_CHARACTERS + (64 << 10)
_MEDIA_TYPES = {form.suffix: form.media_type for form in FORMATS.values()}


class ExtractApi:
    """Handlers of extractions."""

    def __init__(
        self,
        *,
        store: JobStore,
        studio: Studio,
        steps: Steps,
        admission: Admission,
        queue: QueueLimit,
        room: Room,
        limits: JsonLimits,
        max_clips: int,
        segment_seconds: float,
        fresh_seconds: float,
        download_idle_seconds: float,
        public_url: str,
    ) -> None:
        self._store = store
        self._studio = studio
        self._sources = studio.sources
        self._archive = studio.archive
        self._steps = steps
        self._admission = admission
        self._queue = queue
        self._room = room
        self._limits = limits
        self._max_clips = max_clips
        self._segment_seconds = segment_seconds
        self._fresh_seconds = fresh_seconds
        self._download_idle_seconds = download_idle_seconds
        self._public_url = public_url

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/extract_audio_segment", self.segment, expect_handler=defer_continue),
            web.post("/extract_audio", self.whole, expect_handler=defer_continue),
            web.get(f"/status/{_CURSOR}", self.status),
            web.delete(f"/status/{_CURSOR}", self.end),
            web.get(f"/status/{_CURSOR}/events", self.events, allow_head=False),
            web.get(f"/extracted/{_FILE}", self.file),
            web.get("/v1/extract/jobs", self.list_jobs),
            web.get("/v1/extract/files", self.list_files),
            web.post("/v1/extract/tracks", self.list_tracks, expect_handler=defer_continue),
        ]

    async def segment(self, request: web.Request) -> web.Response:
        """The next step of a walk: a file, and the cursor behind it."""
        origin = self._origin(request)
        with self._admission.place(request):
            asked = await read_json(request, SegmentRequest, limits=self._limits)
            self._check(asked.video_files)
            async with while_connected(request):
                made = await self._steps.step(asked.with_length(self._segment_seconds), _SUBJECT)
        audio_file = None if made.file is None else f"{origin}/extracted/{file_name(made.file)}"
        return json_reply(segment_reply(made.cursor, audio_file, made.facts))

    async def whole(self, request: web.Request) -> web.Response:
        """Begin to extract the whole, unless that was begun or done already; `Location` says where to look."""
        origin = self._origin(request)
        with self._admission.place(request):
            asked = await read_json(request, WholeRequest, limits=self._limits)
            self._check(asked.video_files)
            job = await self._standing(asked)
            if job is None:
                await self._queue.check(JobKind.EXTRACT)
                await self._room.check()
                job = await self._store.submit_once(_job(asked))
        return web.Response(status=202, headers={"Location": f"{origin}/status/{job.id}"})

    async def status(self, request: web.Request) -> web.Response:
        return json_reply(await self._describe(request, await self._job(request)))

    async def events(self, request: web.Request) -> web.StreamResponse:
        changes = follow(self._store, await self._job(request), last_event_id(request))
        return await send_events(request, ((job.revision, await self._describe(request, job)) async for job in changes))

    async def end(self, request: web.Request) -> web.Response:
        """Cancel an extraction that isn't over, or forget one that is. Its file goes in its own time."""
        job = await self._job(request)
        if job.status.ended:
            await self._store.remove(job.id)
            return web.Response(status=204)
        job = await self._store.request_cancel(job.id)
        return json_reply(await self._describe(request, job), status=202)

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = await self._archive.locate(name)
        media_type = _MEDIA_TYPES.get(name[name.index(".") :])
        if path is None or media_type is None:
            raise NotFound("There is no such file, or nobody asked for it for so long that it was removed.")
        return await send_stored(
            request,
            path,
            etag=digest_in(name)[:32],
            media_type=media_type,
            name=None,
            cache_control=_FOREVER,
            idle_seconds=self._download_idle_seconds,
        )

    async def list_jobs(self, request: web.Request) -> web.Response:
        """Newest first; `status` filters (several with commas), `next` is the cursor of the next page."""
        query = read_query(request, ("status", "limit", "before"))
        jobs, cursor = await self._store.page(
            kind=JobKind.EXTRACT,
            statuses=read_statuses(query.get("status", "")),
            before=query.get("before"),
            limit=read_limit(query.get("limit", "")),
        )
        return json_reply({"jobs": [await self._describe(request, job) for job in jobs], "next": cursor})

    async def list_files(self, request: web.Request) -> web.Response:
        """Videos of this server: the roots, or what is in a folder below them."""
        folder = read_query(request, ("folder",)).get("folder")
        with self._admission.place(request):
            listing = await asyncio.to_thread(list_folder, self._sources, folder)
        entries = [_entry_reply(entry) for entry in listing.entries]
        return json_reply({**asdict(listing), "entries": entries})

    async def list_tracks(self, request: web.Request) -> web.Response:
        """Which audio tracks each of some videos has."""
        with self._admission.place(request):
            asked = await read_json(request, TracksRequest, limits=self._limits)
            self._check(asked.video_files)
            async with (
                while_connected(request),
                opened_films(self._studio, asked.video_files, self._sources.current) as films,
            ):
                return json_reply(tracks_reply(films))

    def _check(self, uris: list[str]) -> None:
        if len(uris) > self._max_clips:
            raise BadParameter(f"video_files may have {self._max_clips} entries at most.")
        if sum(map(len, uris)) > _MAX_LIST_CHARACTERS:
            raise BadParameter(f"video_files may have {_MAX_LIST_CHARACTERS} characters in all.")
        for number, uri in enumerate(uris):
            with naming_clip(number, len(uris)):
                self._sources.check(uri)

    async def _standing(self, asked: WholeRequest) -> Job | None:
        """The extraction that answers this request already: one that goes on, or whose result is still what it was."""
        job = await self._store.latest(JobKind.EXTRACT, _SUBJECT, asked.digest(_SUBJECT).hex())
        if job is None or job.cancel_requested or job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            return None
        if job.status is not JobStatus.COMPLETED:
            return job
        stamps = job.result["stamps"]
        is_old = None in stamps and time.time() - (job.completed_at or 0.0) > self._fresh_seconds
        if is_old or await self._archive.locate(file_name(job.result["file"])) is None:
            return None
        return job if await self._sources.are_as_before(asked.video_files, stamps) else None

    async def _job(self, request: web.Request) -> Job:
        job = await self._store.get(request.match_info["cursor"])
        if job is None or job.kind is not JobKind.EXTRACT:
            raise NotFound("There is no such extraction.")
        return job

    async def _describe(self, request: web.Request, job: Job) -> dict[str, Any]:
        position = await self._store.position(job.id) if job.status is JobStatus.PENDING else None
        return status_reply(
            job,
            audio_file=await self._audio_file(request, job),
            queue_position=position,
            eta_seconds=eta_seconds(job, ahead=[], recent=[], slots=1, now=time.time()),
            shown=[_shown(uri) for uri in job.options["video_files"][:_SHOWN_FILES]],
        )

    async def _audio_file(self, request: web.Request, job: Job) -> str | None:
        """The address of a completed extraction's file; None where there is none yet, or none any more."""
        name = file_name(job.result.get("file", ""))
        if job.status is not JobStatus.COMPLETED or not await self._archive.has(name):
            return None
        return f"{self._origin(request)}/extracted/{name}"

    def _origin(self, request: web.Request) -> str:
        return public_origin(request, self._public_url)


def _job(asked: WholeRequest) -> Job:
    now = time.time()
    return Job(
        id=uuid.uuid4().hex,
        kind=JobKind.EXTRACT,
        subject=_SUBJECT,
        title=asked.form.name,
        options=asked.model_dump(),
        fingerprint=asked.digest(_SUBJECT).hex(),
        created_at=now,
        accepted_at=now,
    )


def _shown(uri: str) -> str:
    """Addresses of other servers may have a secret in their query; a file's name is none."""
    return uri if uri.lower().startswith("file://") else redact(uri)


def _entry_reply(entry: Entry) -> Mapping[str, Any]:
    return {**asdict(entry), "kind": "folder" if entry.size is None else "file"}
