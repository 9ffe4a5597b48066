"""The routes of `/v1/stream`: submit, watch and cancel jobs, and serve what they made."""

import hashlib
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from streamsrv.errors import NotFinished, NotFound, RefusedUpload, Unavailable, UnusableFile
from streamsrv.hls.intake import Intake
from streamsrv.hls.playlists import Playlists
from streamsrv.hls.schema import OPTION_FIELDS, job_reply, read_job_id, read_options
from streamsrv.hls.work import HlsWork
from streamsrv.jobs.estimates import eta_seconds
from streamsrv.jobs.follow import follow
from streamsrv.jobs.job import Job, JobKind, JobStatus
from streamsrv.jobs.queue_limit import QueueLimit
from streamsrv.jobs.runner import Runner
from streamsrv.jobs.store import JobStore
from streamsrv.jobs.words import read_limit, read_statuses
from streamsrv.media.formats import MEDIA_TYPES
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.spool import Spools
from streamsrv.storage.storage import Storage
from streamsrv.web.admission import Admission
from streamsrv.web.events import last_event_id, send_events
from streamsrv.web.requests import public_origin, read_query
from streamsrv.web.responses import bytes_reply, json_reply
from streamsrv.web.segments import HotFiles
from streamsrv.web.uploads import UploadLimits, defer_continue, receive_form

_ID = "{job_id:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}}"
_PLAYLIST_TYPE = MEDIA_TYPES[".m3u8"]
_FOREVER = "public, max-age=31536000, immutable"
# A playlist is held until its first segment is there: players don't come back after an error.
_FIRST_SEGMENT_SECONDS = 8.0
_RECENT_JOBS = 20
_SEEN_AHEAD = 100


class HlsApi:
    """Handlers of the streaming jobs. Each job and segment is looked up in the store; nothing else is remembered."""

    def __init__(
        self,
        *,
        store: JobStore,
        storage: Storage,
        spools: Spools,
        runner: Runner,
        work: HlsWork,
        tools: FfmpegTools,
        hot: HotFiles,
        limits: UploadLimits,
        admission: Admission,
        queue: QueueLimit,
        slots: int,
        public_url: str,
    ) -> None:
        self._store = store
        self._storage = storage
        self._spools = spools
        self._runner = runner
        self._work = work
        self._tools = tools
        self._hot = hot
        self._playlists = Playlists(store, hot)
        self._limits = limits
        self._admission = admission
        self._queue = queue
        self._slots = slots
        self._public_url = public_url
        self._arriving: defaultdict[str, set[Intake]] = defaultdict(set)  # several may name one id; one gets it

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/stream/transcode", self.transcode, expect_handler=defer_continue),
            web.get("/v1/stream/jobs", self.list_jobs),
            web.get(f"/v1/stream/job/{_ID}", self.show_job),
            web.delete(f"/v1/stream/job/{_ID}", self.delete_job),
            web.get(f"/v1/stream/job/{_ID}/events", self.job_events, allow_head=False),
            # The first that matches answers, and segments are asked for most.
            web.get(f"/v1/stream/hls/{_ID}/{{segment:segment_[0-9]{{5,9}}\\.(?:ts|m4s)|init\\.mp4}}", self.segment),
            web.get(f"/v1/stream/hls/{_ID}/index.m3u8", self.index_playlist),
            web.get(f"/v1/stream/hls/{_ID}/live.m3u8", self.live_playlist),
            web.get(f"/v1/stream/hls/{_ID}/master.m3u8", self.master_playlist),
        ]

    async def transcode(self, request: web.Request) -> web.Response:
        """Take a file in; the reply comes once its last byte is safe on disk."""
        origin = self._origin(request)  # a bad Host is refused now, not once the job counts
        query = read_query(request, (*OPTION_FIELDS, "job_id"))
        job_id = read_job_id(query.pop("job_id")) if "job_id" in query else str(uuid.uuid4())
        read_options(query)
        intake = Intake(
            job_id=job_id,
            given=query,
            expected_bytes=request.content_length or 0,
            store=self._store,
            storage=self._storage,
            spools=self._spools,
            runner=self._runner,
            queue=self._queue,
            tools=self._tools,
            now=time.time(),
        )
        with self._admission.place(request):
            job = await self._receive(request, intake)
        return json_reply(
            {"job_id": job.id, "status": "queued", "message": "Job submitted successfully"},
            headers={"Location": f"{origin}/v1/stream/job/{job.id}"},
        )

    async def _receive(self, request: web.Request, intake: Intake) -> Job:
        arriving = self._arriving[intake.job_id]
        arriving.add(intake)
        try:
            form = await receive_form(request, fields=OPTION_FIELDS, limits=self._limits, open_file=intake.open_file)
            return await intake.accept(form)
        except BaseException as error:
            conflict = intake.cancelled_by_request()
            await intake.refuse(conflict or error)
            if conflict is not None:
                raise conflict from error
            if isinstance(error, UnusableFile):
                raise RefusedUpload(error.detail, members=error.members) from error
            raise
        finally:
            arriving.remove(intake)
            if not arriving:
                del self._arriving[intake.job_id]

    async def list_jobs(self, request: web.Request) -> web.Response:
        """Newest first; `status` filters (several with commas), `next` is the cursor of the next page."""
        query = read_query(request, ("status", "limit", "before"))
        jobs, cursor = await self._store.page(
            kind=JobKind.HLS,
            statuses=read_statuses(query.get("status", "")),
            before=query.get("before"),
            limit=read_limit(query.get("limit", "")),
        )
        return json_reply({"jobs": [await self._describe_briefly(request, job) for job in jobs], "next": cursor})

    async def show_job(self, request: web.Request) -> web.Response:
        return json_reply(await self._describe(request, await self._job(request)))

    async def delete_job(self, request: web.Request) -> web.Response:
        """Cancel a job that isn't over, or remove one that is, with its files."""
        job = await self._job(request)
        if job.status.ended:
            await self._work.discard(job)
            await self._store.remove(job.id)
            self._hot.forget(f"hls/{job.id}/")
            return web.Response(status=204)
        job = await self._store.request_cancel(job.id)
        for intake in self._arriving.get(job.id, ()):
            intake.cancel()
        return json_reply(await self._describe(request, job), status=202)

    async def job_events(self, request: web.Request) -> web.StreamResponse:
        job = await self._job(request)
        changes = follow(self._store, job, last_event_id(request))
        return await send_events(request, ((job.revision, await self._describe(request, job)) async for job in changes))

    async def index_playlist(self, request: web.Request) -> web.Response:
        """The playlist of a finished job; 400 until then."""
        job = await self._playable(request)
        if job.status is not JobStatus.COMPLETED:
            raise NotFinished(f"The job is {job.status.value}; live.m3u8 plays what is ready.")
        return _playlist_reply(request, job, await self._playlists.index(job))

    async def live_playlist(self, request: web.Request) -> web.Response:
        """The playlist that grows with the job."""
        job = await self._with_segments(request)
        return _playlist_reply(request, job, await self._playlists.live(job))

    async def master_playlist(self, request: web.Request) -> web.Response:
        """What a player needs to know before it opens live.m3u8: codec and bit rate."""
        job = await self._with_segments(request)
        return _playlist_reply(request, job, await self._playlists.master(job))

    async def segment(self, request: web.Request) -> web.Response:
        job_id, name = request.match_info["job_id"].lower(), request.match_info["segment"]
        row = await self._store.segment(job_id, name)
        if row is None:
            raise NotFound("There is no such segment.")
        # With the tag, since a job whose upload failed leaves its id, and with it its keys, to the next one.
        body = await self._hot.get(f"{row.key} {row.etag}", lambda: self._storage.read(row.key))
        if body is None:
            raise NotFound("There is no such segment.")
        media_type = MEDIA_TYPES["." + name.rpartition(".")[2]]
        return bytes_reply(request, body, etag=row.etag, media_type=media_type, cache_control=_FOREVER)

    async def _job(self, request: web.Request) -> Job:
        job = await self._store.get(request.match_info["job_id"].lower())
        if job is None or job.kind is not JobKind.HLS:
            raise NotFound("There is no such job.")
        return job

    async def _playable(self, request: web.Request) -> Job:
        job = await self._job(request)
        if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise NotFound(f"The job is {job.status.value}; there is nothing to play.")
        return job

    async def _with_segments(self, request: web.Request) -> Job:
        """The job once it has a segment: waits a few seconds for it, then 503, since players retry that and no 4xx."""
        deadline = time.monotonic() + _FIRST_SEGMENT_SECONDS
        job = await self._playable(request)
        while not job.result.get("segment_count"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable("The first segment isn't ready yet.", headers={"Retry-After": "2"})
            await self._store.wait_for_change(job.id, job.revision, left)
            job = await self._playable(request)
        return job

    async def _describe(self, request: web.Request, job: Job) -> dict[str, Any]:
        position = await self._store.position(job.id) if job.status is JobStatus.PENDING else None
        ahead, recent = await self._traffic(job) if position is not None else ([], [])
        return self._reply(request, job, position, ahead, recent)

    async def _describe_briefly(self, request: web.Request, job: Job) -> dict[str, Any]:
        """For lists: a waiting job's place, but no estimate, which would read the queue for each of them."""
        position = await self._store.position(job.id) if job.status is JobStatus.PENDING else None
        return self._reply(request, job, position, [], [])

    def _reply(
        self, request: web.Request, job: Job, position: int | None, ahead: Sequence[Job], recent: Sequence[Job]
    ) -> dict[str, Any]:
        reply = job_reply(
            job,
            base_url=f"{self._origin(request)}/v1/stream/hls/{job.id}",
            queue_position=position,
            eta_seconds=eta_seconds(job, ahead=ahead, recent=recent, slots=self._slots, now=time.time()),
        )
        spool = self._spools.get(job.id)
        return reply if spool is None else {**reply, "received_bytes": spool.appended}

    async def _traffic(self, job: Job) -> tuple[list[Job], list[Job]]:
        return await self._store.ahead_of(job.id, _SEEN_AHEAD), await self._store.recent_completed(
            JobKind.HLS, _RECENT_JOBS
        )

    def _origin(self, request: web.Request) -> str:
        return public_origin(request, self._public_url)


def _playlist_reply(request: web.Request, job: Job, body: bytes) -> web.Response:
    finished = job.status is JobStatus.COMPLETED
    return bytes_reply(
        request,
        body,
        etag=hashlib.sha256(body).hexdigest()[:32],
        media_type=_PLAYLIST_TYPE,
        cache_control="public, max-age=3600" if finished else "no-cache",
    )
