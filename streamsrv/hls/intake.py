"""Take an upload in: from its first byte a job that can be seen and cancelled, accepted once its end was seen."""

import asyncio
from collections.abc import Mapping

import structlog

from streamsrv.errors import Conflict, DiskFull, MissingFile, Problem
from streamsrv.hls.schema import ENCODING_FIELDS, StreamOptions, read_options
from streamsrv.hls.work import source_key
from streamsrv.jobs.job import Job, JobKind, JobStatus
from streamsrv.jobs.queue_limit import QueueLimit
from streamsrv.jobs.runner import Runner
from streamsrv.jobs.store import JobStore
from streamsrv.media.probe import probe
from streamsrv.media.sniff import HEAD_BYTES, sniff
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.spool import Spool, Spools
from streamsrv.storage.storage import Storage
from streamsrv.web.uploads import FilePart, Form

log = structlog.get_logger()

_CUT_OFF = "The upload ended before the file was complete."


class Intake:
    """One upload on its way to a job. It is the sink of the form's file part; call `accept` at the end or `refuse`.

    `given` are the options of the query string, `expected_bytes` what the request says of its length, 0 if nothing.
    """

    def __init__(
        self,
        *,
        job_id: str,
        given: Mapping[str, str],
        expected_bytes: int,
        store: JobStore,
        storage: Storage,
        spools: Spools,
        runner: Runner,
        queue: QueueLimit,
        tools: FfmpegTools,
        now: float,
    ) -> None:
        self.job_id = job_id
        self._given = given
        self._expected_bytes = expected_bytes
        self._store = store
        self._storage = storage
        self._spools = spools
        self._runner = runner
        self._queue = queue
        self._tools = tools
        self._now = now
        self._spool: Spool | None = None
        self._task: asyncio.Task[object] | None = None
        self._submitted = False
        self._cancelled = False
        self._may_start = False

    async def open_file(self, part: FilePart, fields: Mapping[str, str]) -> "Intake":
        """The file's first byte has come: from here on there is a job. Conflict where its id is taken."""
        known = {**self._given, **fields}
        options = read_options(known)
        job = Job(
            id=self.job_id,
            kind=JobKind.HLS,
            status=JobStatus.PENDING,
            priority=options.job_priority(),
            title=_title(part.filename),
            source_name=part.filename,
            source_bytes=self._expected_bytes,
            options=options.model_dump(mode="json"),
            created_at=self._now,
        )
        await self._queue.check(JobKind.HLS)
        self._task = asyncio.current_task()  # from the next line on somebody may find the job and cancel it
        await self._store.submit(job)
        self._submitted = True
        self._spool = await self._spools.create(self.job_id)
        self._may_start = any(name in known for name in ENCODING_FIELDS)
        log.info("upload_started", job_id=self.job_id, source_name=part.filename, expected_bytes=self._expected_bytes)
        return self

    async def append(self, data: bytes) -> None:
        spool = self._opened()
        await spool.append(data)
        if self._may_start and spool.appended >= HEAD_BYTES:
            self._may_start = False
            container = await asyncio.to_thread(sniff, await spool.head(HEAD_BYTES))
            if container is not None and container.pipeable:
                await self._runner.start_upload(self.job_id)

    async def accept(self, form: Form) -> Job:
        """The form's end was seen: make sure of the file, keep it, let the job count. Raises a Problem otherwise."""
        options = read_options({**self._given, **form.fields})
        if self._spool is None or form.file is None:
            raise MissingFile("Send the audio file in the field 'file'." if form.file is None else "The file is empty.")
        await self._spool.end()
        job = await self._store.get(self.job_id)
        if job is not None and job.status is JobStatus.PENDING:
            # Nobody has looked into it yet: what isn't sound is refused now and not queued.
            await probe(self._tools, self._spool.path, name=form.file.filename)
        return await self._keep(form, options)

    async def refuse(self, error: BaseException) -> None:
        """The upload didn't arrive or can't be used: the job ends Failed and its bytes go."""
        if not self._submitted:
            return
        words = error.detail if isinstance(error, Problem) else _CUT_OFF
        if self._spool is not None:
            # Its bytes go first: they may be why the disk has no space for a row.
            await self._spool.abort()
        try:
            await self._store.refuse(self.job_id, words)
        except DiskFull:
            self._runner.refuse_later(self.job_id, words)
        job = await self._store.get(self.job_id)
        if job is not None and job.accepted_at is not None:
            return  # it had been accepted just before: the file has left the spool and is the job's now
        await self._storage.remove(source_key(self.job_id))
        log.info("upload_refused", job_id=self.job_id, reason=words)

    def cancel(self) -> None:
        """Somebody cancelled the job while it is being sent: stop reading."""
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def cancelled_by_request(self) -> Conflict | None:
        """What to answer the sender if `cancel` is why reading stopped."""
        if not self._cancelled or self._task is None:
            return None
        self._task.uncancel()
        return Conflict("The job was cancelled while its file was being sent.")

    async def _keep(self, form: Form, options: StreamOptions) -> Job:
        spool = self._opened()
        key = source_key(self.job_id)
        await self._storage.put(key, spool.path)
        job = await self._store.accept(
            self.job_id,
            source=key,
            source_bytes=spool.size,
            title=_title(form.file.filename if form.file else ""),
            options=options.model_dump(mode="json"),
            priority=options.job_priority(),
        )
        self._spools.release(self.job_id)
        self._spool = None
        self._runner.wake()
        log.info("job_accepted", job_id=job.id, source_bytes=job.source_bytes, options=dict(job.options))
        return job

    def _opened(self) -> Spool:
        assert self._spool is not None  # noqa: S101 - the form's walk opens the file before it appends
        return self._spool


def _title(filename: str) -> str:
    """The track's name is the file's, without its suffix."""
    stem = filename.rpartition(".")[0] or filename
    return stem or "untitled"
