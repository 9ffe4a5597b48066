"""The runner with a real store and small works: who works when, and how every job ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.deadline import eventually
from support.jobs import make_job, make_store

from streamsrv.errors import DiskFull, InternalError, UnusableFile
from streamsrv.jobs import attempt
from streamsrv.jobs import runner as runner_module
from streamsrv.jobs.assignment import Assignment, Work
from streamsrv.jobs.job import Job, JobKind, JobStatus, Priority, Segment
from streamsrv.jobs.retention import Retention
from streamsrv.jobs.runner import Runner
from streamsrv.jobs.sqlite import SqliteJobStore

PATIENCE_SECONDS = 10.0
CANCEL_SECONDS = 2.0
DAY_SECONDS = 86400.0


class Studio:
    """Works that the test steers, and a record of what the runner asked for."""

    def __init__(self) -> None:
        self.play: Callable[[Assignment], Awaitable[dict | None]] = self.wait_for_go
        self.go = asyncio.Event()
        self.started: list[str] = []
        self.working: list[str] = []
        self.cancelled: list[str] = []
        self.discarded: list[str] = []
        self.most_working = 0
        self.discard_fails = False
        self.more: dict[JobKind, Work] = {}

    @property
    def works(self) -> dict[JobKind, Work]:
        return {JobKind.HLS: Work(run=self.run, discard=self.discard), **self.more}

    async def run(self, assignment: Assignment) -> dict | None:
        job_id = assignment.job.id
        self.started.append(job_id)
        self.working.append(job_id)
        self.most_working = max(self.most_working, len(self.working))
        try:
            return await self.play(assignment)
        except asyncio.CancelledError:
            self.cancelled.append(job_id)
            raise
        finally:
            self.working.remove(job_id)

    async def wait_for_go(self, _assignment: Assignment) -> dict | None:
        await self.go.wait()
        return {"worked": True}

    async def discard(self, job: Job) -> None:
        if self.discard_fails:
            raise OSError("no")
        assert job.id not in self.working
        self.discarded.append(job.id)


@pytest.fixture
async def no_task_left():
    """After every test no task is left but the test's own."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


@pytest.fixture
async def store(tmp_path, no_task_left):
    async with make_store(tmp_path / "jobs.db") as store:
        yield store


@pytest.fixture
def studio():
    return Studio()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """A failing store is asked again at once."""
    monkeypatch.setattr(attempt, "RETRY_SECONDS", 0.01)


@asynccontextmanager
async def running(store, studio, *, slots=2, upload_slots=2, lease_seconds=30.0, **more):
    limits = {"slots": slots, "upload_slots": upload_slots, "lease_seconds": lease_seconds, "retention_days": 0}
    async with asyncio.timeout(60), Runner(store, studio.works, **(limits | more)) as runner:
        yield runner


async def submit(store, job_id="a"):
    return await store.submit(make_job(job_id, created_at=time.time()))


async def accept(store, job_id="a", priority=Priority.NORMAL):
    return await store.accept(
        job_id, source=f"{job_id}/source", source_bytes=5, title="Song", options={}, priority=priority
    )


async def queue(store, *job_ids):
    for job_id in job_ids:
        await submit(store, job_id)
        await accept(store, job_id)


async def reach(store, job_id, condition, seconds=PATIENCE_SECONDS) -> Job:
    """Wait until the job's row fulfils a condition."""
    revision = 0
    async with asyncio.timeout(seconds):
        while True:
            job = await store.wait_for_change(job_id, revision, seconds)
            if condition(job):
                return job
            revision = job.revision


async def ended(store, job_id="a", seconds=PATIENCE_SECONDS) -> Job:
    return await reach(store, job_id, lambda job: job.status.ended, seconds)


async def discarded(store, job_id="a", seconds=PATIENCE_SECONDS) -> Job:
    return await reach(store, job_id, lambda job: job.discarded, seconds)


# Slots


async def test_n_jobs_work_at_a_time(store, studio):
    """With two slots two jobs work, the others wait, and a slot that gets free is filled at once."""
    await queue(store, *"abcde")
    async with running(store, studio):
        await eventually(lambda: len(studio.working) == 2)
        assert [await store.position(job_id) for job_id in "abcde"] == [None, None, 1, 2, 3]
        studio.go.set()
        jobs = [await ended(store, job_id) for job_id in "abcde"]
    assert {(job.status, job.progress) for job in jobs} == {(JobStatus.COMPLETED, 100.0)}
    assert {job.result["worked"] for job in jobs} == {True}
    assert (studio.most_working, studio.started, studio.discarded) == (2, list("abcde"), [])


async def test_a_kind_with_slots_of_its_own_holds_up_nobody(store, studio):
    """Jobs of a kind with its own slots wait for each other only, and have a queue of their own."""
    extraction = make_job("x", kind=JobKind.EXTRACT, created_at=time.time(), accepted_at=time.time())
    for job_id in "xyz":
        await store.submit(replace(extraction, id=job_id))
    await queue(store, *"abc")
    studio.more = {JobKind.EXTRACT: Work(run=studio.run, discard=studio.discard, slots=1)}
    async with running(store, studio):
        await eventually(lambda: len(studio.working) == 3)
        assert sorted(studio.working) == ["a", "b", "x"]
        assert [await store.position(job_id) for job_id in "cyz"] == [1, 1, 2]
        studio.go.set()
        jobs = [await ended(store, job_id) for job_id in "abcxyz"]
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert studio.most_working == 3


async def test_an_urgent_job_has_a_slot_of_its_own(store, studio):
    """Where all slots of its kind are taken an urgent job starts at once, one of them, and no other job does."""
    song = make_job("x", kind=JobKind.SEPARATE, created_at=time.time(), accepted_at=time.time())
    for job_id in "abc":
        await store.submit(replace(song, id=job_id))
    studio.more = {JobKind.SEPARATE: Work(run=studio.run, discard=studio.discard, slots=2, urgent_slots=1)}
    async with running(store, studio):
        await eventually(lambda: len(studio.working) == 2)
        for job_id in "uv":
            await store.submit(replace(song, id=job_id, priority=Priority.URGENT))
        await eventually(lambda: len(studio.working) == 3)
        assert sorted(studio.working) == ["a", "b", "u"]
        studio.go.set()
        jobs = [await ended(store, job_id) for job_id in "abcuv"]
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert studio.most_working == 3


async def test_a_job_that_waits_for_others_takes_no_slot(store, studio):
    """While it stands aside another one works; behind that it gets a slot again, and before new jobs. So many may."""
    extraction = make_job("x", kind=JobKind.EXTRACT, created_at=time.time(), accepted_at=time.time())
    for job_id in ("slow1", "slow2", "slow3", "a", "b", "c"):
        await store.submit(replace(extraction, id=job_id))
    came, ends, worked = asyncio.Event(), {name: asyncio.Event() for name in "abc"}, []

    async def work(assignment):
        name = assignment.job.id
        if name in ends:
            worked.append(name)
            await ends[name].wait()
            return
        async with assignment.aside():
            await came.wait()
        worked.append(name)
        return

    studio.play = work
    aside = Work(run=studio.run, discard=studio.discard, slots=1, aside_slots=2)
    studio.more = {JobKind.EXTRACT: aside}
    async with running(store, studio):
        await eventually(lambda: len(studio.working) == 3)
        assert sorted(studio.working) == ["slow1", "slow2", "slow3"]  # the third one keeps its slot
        await store.request_cancel("slow3")
        await eventually(lambda: worked == ["a"])
        await store.request_cancel("slow2")
        await ended(store, "slow2")
        came.set()
        assert [await store.position(job_id) for job_id in "bc"] == [1, 2]
        ends["a"].set()
        await eventually(lambda: worked == ["a", "slow1", "b"])
        ends["b"].set()
        ends["c"].set()
        jobs = [await ended(store, job_id) for job_id in ("slow1", "a", "b", "c")]
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert worked == ["a", "slow1", "b", "c"]


async def test_a_server_that_stops_waits_for_none_that_stands_aside(store, studio):
    """Whether it waits for others or for a slot again, it goes back to the queue."""
    extraction = make_job("x", kind=JobKind.EXTRACT, created_at=time.time(), accepted_at=time.time())
    for job_id in ("waits", "returns", "a"):
        await store.submit(replace(extraction, id=job_id))
    came, left = asyncio.Event(), asyncio.Event()

    async def work(assignment):
        if assignment.job.id == "a":
            await asyncio.Event().wait()
        async with assignment.aside():
            await (came if assignment.job.id == "returns" else asyncio.Event()).wait()
            left.set()

    studio.play = work
    studio.more = {JobKind.EXTRACT: Work(run=studio.run, discard=studio.discard, slots=1, aside_slots=9)}
    async with running(store, studio):
        await eventually(lambda: len(studio.working) == 3)
        came.set()
        await left.wait()
    assert {(await store.get(name)).status for name in ("waits", "returns", "a")} == {JobStatus.PENDING}


async def test_a_job_that_is_accepted_later_starts_at_once(store, studio):
    """An idle runner is woken by the acceptance; nobody has to tell it."""
    studio.go.set()
    async with running(store, studio):
        await queue(store, "a")
        assert (await ended(store, seconds=CANCEL_SECONDS)).status is JobStatus.COMPLETED


async def test_uploads_have_their_own_slots(store, studio):
    """Jobs that are worked on while they arrive take no slot of accepted ones, and are limited themselves."""
    async with running(store, studio, slots=1, upload_slots=2) as runner:
        await queue(store, "accepted")
        for job_id in "abc":
            await submit(store, job_id)
        assert [await runner.start_upload(job_id) for job_id in "abc"] == [True, True, False]
        await eventually(lambda: len(studio.working) == 3)
        await store.refuse("a", "gone")
        await discarded(store, "a")
        assert await runner.start_upload("c")


async def test_no_upload_slots_start_nothing(store, studio):
    """With no upload slots every upload waits for its end."""
    async with running(store, studio, upload_slots=0) as runner:
        await submit(store)
        assert not await runner.start_upload("a")


async def test_start_upload_takes_only_what_waits_for_its_upload(store, studio):
    """A job that was cancelled, refused, accepted or never there isn't started, and costs no slot."""
    async with running(store, studio, slots=0, upload_slots=1) as runner:
        for job_id in ("cancelled", "refused", "accepted", "good"):
            await submit(store, job_id)
        await store.request_cancel("cancelled")
        await store.refuse("refused", "gone")
        await accept(store, "accepted")
        for job_id in ("cancelled", "refused", "accepted", "none"):
            assert not await runner.start_upload(job_id)
        assert await runner.start_upload("good")
        assert not await runner.start_upload("good")
    assert not await runner.start_upload("good")
    assert studio.started == ["good"]


# Ends


async def test_work_is_published_and_reported(store, studio):
    """What the work says while it works is in the row and the segments at the end."""

    async def play(assignment):
        await assignment.publish([make_segment(1)], progress=30)
        await assignment.unpublish()
        await assignment.publish([make_segment(2)], progress=60, codec="aac")
        await assignment.report(progress=70, duration=3.5)
        assert assignment.job.progress == 70
        return {"bitrate": 128}

    studio.play = play
    await queue(store, "a")
    async with running(store, studio):
        job = await ended(store)
    assert job.result == {"codec": "aac", "duration": 3.5, "bitrate": 128}
    assert [segment.number for segment in await store.segments("a")] == [2]


@pytest.mark.parametrize("error", [RuntimeError("secret"), InternalError("secret"), asyncio.CancelledError()], ids=repr)
async def test_own_failures_are_tried_again_then_fail(store, studio, error):
    """The server's own fault costs an attempt; after three the job is Failed, in words that give nothing away."""

    async def play(_assignment):
        raise error

    studio.play = play
    await queue(store, "a")
    async with running(store, studio):
        job = await discarded(store)
    assert (job.status, job.attempt, job.failures) == (JobStatus.FAILED, 3, 3)
    assert job.error == attempt.OWN_FAULT
    assert studio.discarded == ["a"]


async def test_a_failure_that_passes_leaves_a_completed_job(store, studio):
    """One bad attempt and a good one are a good job."""

    async def play(assignment):
        if assignment.job.attempt == 1:
            raise RuntimeError

    studio.play = play
    await queue(store, "a")
    async with running(store, studio):
        job = await ended(store)
    assert (job.status, job.failures, job.attempt) == (JobStatus.COMPLETED, 1, 2)


async def test_a_problem_fails_the_job_at_once(store, studio):
    """The input's fault isn't tried again; its words are the job's error and its files go."""

    async def play(_assignment):
        raise UnusableFile("That is no sound.")

    studio.play = play
    await queue(store, "a")
    async with running(store, studio):
        job = await discarded(store)
    assert (job.status, job.error, job.attempt) == (JobStatus.FAILED, "That is no sound.", 1)
    assert studio.discarded == ["a"]


async def test_a_result_that_json_cannot_hold_is_the_servers_own_fault(store, studio):
    """A mistake in what the work returns ends the job, and not the runner."""

    async def play(_assignment):
        return {"x": object()}

    studio.play = play
    await queue(store, "a")
    async with running(store, studio):
        assert (await ended(store)).status is JobStatus.FAILED
        studio.play = studio.wait_for_go
        studio.go.set()
        await queue(store, "b")
        assert (await ended(store, "b")).status is JobStatus.COMPLETED


async def test_an_end_is_recorded_once_the_store_can(tmp_path, studio, no_task_left):
    """Work that is done isn't lost to a disk that is full for a moment."""

    class FullStore(SqliteJobStore):
        refusals = 3

        async def finish(self, *args, **kwargs):
            self.refusals -= 1
            if self.refusals >= 0:
                raise DiskFull
            return await super().finish(*args, **kwargs)

    studio.go.set()
    async with make_store(tmp_path / "jobs.db", store_class=FullStore) as store:
        await queue(store, "a")
        async with running(store, studio):
            job = await ended(store)
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1)


# Uploads


async def test_a_live_job_is_completed_only_after_its_acceptance(store, studio):
    """Work that is done before the upload's end was seen waits for it; then the job is Completed at once."""
    done = asyncio.Event()

    async def play(assignment):
        done.set()
        return {"first": assignment.job.accepted_at}

    studio.play = play
    async with running(store, studio) as runner:
        await submit(store)
        assert await runner.start_upload("a")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await done.wait()
        assert (await store.get("a")).status is JobStatus.PROCESSING
        await accept(store)
        job = await ended(store, seconds=CANCEL_SECONDS)
    assert (job.status, job.attempt, job.result) == (JobStatus.COMPLETED, 1, {})


async def test_work_can_wait_for_its_acceptance(store, studio):
    """accepted() gives the job with its source as soon as there is one."""

    async def play(assignment):
        return {"source": (await assignment.accepted()).source}

    studio.play = play
    async with running(store, studio) as runner:
        await submit(store)
        assert await runner.start_upload("a")
        await accept(store)
        assert (await ended(store, seconds=CANCEL_SECONDS)).result == {"source": "a/source"}


@pytest.mark.parametrize(("error", "failures"), [(UnusableFile("Half a song"), 0), (RuntimeError("no"), 1)], ids=repr)
async def test_a_live_failure_leaves_the_decision_to_the_whole_file(store, studio, error, failures):
    """While an upload arrives its job can't fail; the attempt at the whole file decides. Only own failures count."""

    async def play(assignment):
        if assignment.job.accepted_at is None:
            raise error
        return {"source": assignment.job.source}

    studio.play = play
    async with running(store, studio) as runner:
        await submit(store)
        assert await runner.start_upload("a")
        waiting = await reach(store, "a", lambda job: job.status is JobStatus.PENDING and job.attempt == 1)
        assert (waiting.failures, waiting.error) == (failures, None)
        await accept(store)
        job = await ended(store)
    assert (job.status, job.result, job.attempt) == (JobStatus.COMPLETED, {"source": "a/source"}, 2)


async def test_a_refused_upload_ends_its_work(store, studio):
    """An upload that didn't arrive takes its work along, and its files go."""
    async with running(store, studio) as runner:
        await submit(store)
        assert await runner.start_upload("a")
        await eventually(lambda: studio.working)
        await store.refuse("a", "The upload ended early")
        job = await discarded(store, seconds=CANCEL_SECONDS)
    assert (job.status, job.error) == (JobStatus.FAILED, "The upload ended early")
    assert (studio.cancelled, studio.discarded) == (["a"], ["a"])


async def test_an_upload_can_be_sent_again_at_once(store, studio):
    """A second upload of the same name starts after the first one's files are gone, and keeps its own."""
    async with running(store, studio) as runner:
        await submit(store)
        assert await runner.start_upload("a")
        await eventually(lambda: studio.working)
        await store.refuse("a", "The upload ended early")
        async with asyncio.timeout(CANCEL_SECONDS):
            await submit(store)
        assert studio.discarded == ["a"]
        assert await runner.start_upload("a")
        studio.go.set()
        await accept(store)
        assert (await ended(store)).status is JobStatus.COMPLETED
    assert studio.discarded == ["a"]


async def test_a_request_that_goes_away_leaves_no_claim_behind(store, studio):
    """A cancelled start_upload() either never claimed the job or has it worked on."""
    async with running(store, studio) as runner:
        await submit(store)
        starting = asyncio.ensure_future(runner.start_upload("a"))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        await eventually(lambda: studio.working)
        await store.refuse("a", "gone")
        await discarded(store)


# Cancelling


async def test_a_queued_job_is_cancelled(store, studio):
    """It never starts, and its files go."""
    await queue(store, "a")
    async with running(store, studio, slots=0):
        await store.request_cancel("a")
        job = await discarded(store, seconds=CANCEL_SECONDS)
    assert (job.status, studio.started, studio.discarded) == (JobStatus.CANCELLED, [], ["a"])


@pytest.mark.parametrize("live", [True, False], ids=["uploading", "running"])
async def test_a_running_job_is_cancelled(store, studio, live):
    """Its work is stopped within two seconds, then its files go and others get its slot."""
    async with running(store, studio, slots=1, upload_slots=1) as runner:
        await (submit(store) if live else queue(store, "a"))
        assert not live or await runner.start_upload("a")
        await eventually(lambda: studio.working)
        await store.request_cancel("a")
        job = await discarded(store, seconds=CANCEL_SECONDS)
        assert (job.status, studio.cancelled, studio.discarded) == (JobStatus.CANCELLED, ["a"], ["a"])
        studio.go.set()
        await queue(store, "b")
        assert (await ended(store, "b")).status is JobStatus.COMPLETED


async def test_work_that_ends_its_own_way_when_cancelled_is_cancelled_all_the_same(store, studio):
    """What a cancelled work returns or raises doesn't matter."""

    async def play(_assignment):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise UnusableFile("broken pipe") from None

    studio.play = play
    await queue(store, "a")
    async with running(store, studio):
        await eventually(lambda: studio.working)
        await store.request_cancel("a")
        assert (await ended(store)).status is JobStatus.CANCELLED


# Leases


async def test_a_lease_is_renewed_while_the_work_goes_on(tmp_path, studio, no_task_left):
    """A job that takes longer than its lease stays with its runner."""
    async with make_store(tmp_path / "jobs.db", lease_seconds=2.0) as store:
        await queue(store, "a")
        async with running(store, studio, lease_seconds=2.0):
            await eventually(lambda: studio.working)
            first_end = time.time() + 2.0
            await eventually(lambda: time.time() > first_end + 0.1)
            assert await store.expire() == 0
            studio.go.set()
            job = await ended(store)
    assert (job.status, job.attempt, job.restarts) == (JobStatus.COMPLETED, 1, 0)


@pytest.mark.parametrize("is_live", [False, True])
async def test_a_machine_that_slept_goes_on(tmp_path, studio, no_task_left, is_live):
    """Where the clock runs ahead of what the process lived through, the runner takes no job away from itself."""
    skew_seconds = [0.0]

    def clock() -> float:
        return time.time() + skew_seconds[0]

    async with make_store(tmp_path / "jobs.db", clock=clock) as store, running(store, studio) as runner:
        await submit(store)
        if is_live:
            assert await runner.start_upload("a")
        await accept(store)
        await eventually(lambda: studio.working)
        skew_seconds[0] = 3600.0
        await runner._settle()
        studio.go.set()
        job = await ended(store)
    assert (job.status, job.attempt, job.restarts) == (JobStatus.COMPLETED, 1, 0)


async def test_a_lost_lease_ends_the_work(tmp_path, studio, no_task_left):
    """A job that was taken away is worked on no more under the old lease; the next attempt completes it."""
    skew_seconds = [0.0]
    async with make_store(tmp_path / "jobs.db", clock=lambda: time.time() + skew_seconds[0]) as store:
        await queue(store, "a")
        async with running(store, studio, slots=1):
            await eventually(lambda: studio.working)
            skew_seconds[0] = 31.0
            assert await store.expire() == 1
            await eventually(lambda: studio.cancelled == ["a"], seconds=CANCEL_SECONDS)
            studio.go.set()
            job = await ended(store)
    assert (job.status, job.restarts) == (JobStatus.COMPLETED, 1)
    assert (studio.started, studio.discarded) == (["a", "a"], [])


# Start and stop


async def test_stopping_puts_jobs_back(store, studio):
    """Running jobs wait for the next server, which does them; neither failure nor restart is counted."""
    await queue(store, "a", "b", "c")
    async with running(store, studio):
        await eventually(lambda: len(studio.working) == 2)
    assert studio.working == []
    for job_id in "abc":
        job = await store.get(job_id)
        assert (job.status, job.failures, job.restarts) == (JobStatus.PENDING, 0, 0)
    studio.go.set()
    async with running(store, studio):
        assert {(await ended(store, job_id)).status for job_id in "abc"} == {JobStatus.COMPLETED}


async def test_stopping_at_any_moment_leaves_no_job_claimed(store, studio):
    """Wherever the runner is when it is told to stop, no job is left Processing."""
    await queue(store, *(f"job-{number}" for number in range(4)))
    for steps in range(25):
        async with running(store, studio, slots=4):
            for _ in range(steps):
                await asyncio.sleep(0)
        page, _ = await store.page(limit=9)
        assert {(job.status, job.restarts) for job in page} == {(JobStatus.PENDING, 0)}


async def test_a_job_cancelled_while_stopping_is_cancelled_and_cleared_later(store, studio):
    """A cancellation is kept across a restart, and the files go even if the old server had no time."""
    studio.discard_fails = True
    await queue(store, "a")
    async with running(store, studio):
        await eventually(lambda: studio.working)
        await store.request_cancel("a")
    assert (await store.get("a")).status is JobStatus.CANCELLED
    studio.discard_fails = False
    async with running(store, studio):
        await discarded(store)
    assert studio.discarded == ["a"]


async def test_the_start_settles_what_a_killed_server_left(store, studio):
    """Jobs that ran are done again; uploads that didn't end are Failed with their files gone."""
    await queue(store, "ran")
    await store.claim([JobKind.HLS])
    await submit(store, "uploading")
    await submit(store, "live")
    await store.claim_upload("live")
    studio.go.set()
    async with running(store, studio):
        ran = await ended(store, "ran")
        assert (ran.status, ran.restarts) == (JobStatus.COMPLETED, 1)
        for job_id in ("uploading", "live"):
            assert (await discarded(store, job_id)).status is JobStatus.FAILED
    assert sorted(studio.discarded) == ["live", "uploading"]


async def test_files_that_cannot_be_removed_are_tried_again(store, studio):
    """A failing discard holds up nothing else, and is made good later."""
    studio.discard_fails = True
    await queue(store, "a")
    await store.request_cancel("a")
    studio.go.set()
    async with running(store, studio) as runner:
        await queue(store, "b")
        await ended(store, "b")
        assert not (await store.get("a")).discarded
        studio.discard_fails = False
        runner.wake()
        await discarded(store)
    assert studio.discarded == ["a"]


# Retention


async def test_old_jobs_are_removed_with_their_files(store, studio):
    """Past the days of retention rows and files go, of every end; younger jobs and waiting ones stay."""
    await queue(store, "completed", "failed")

    async def play(assignment):
        if assignment.job.id == "failed":
            raise UnusableFile

    studio.play = play
    async with running(store, studio):
        await ended(store, "completed")
        await discarded(store, "failed")
        studio.play = studio.wait_for_go
        await queue(store, "working")
        await eventually(lambda: studio.working)
        retention = Retention(store, studio.works, days=1, is_running=lambda job_id: job_id == "working")
        for days, left in ((0.9, ["working", "failed", "completed"]), (1.1, ["working"])):
            await retention.remove_old(time.time() + days * DAY_SECONDS)
            assert [job.id for job in (await store.page(limit=9))[0]] == left
    assert studio.discarded == ["failed", "completed"]  # each once


async def test_the_runner_removes_old_jobs(store, studio):
    """It does so at its start already."""
    studio.go.set()
    await queue(store, "a")
    async with running(store, studio):
        done = await ended(store)
    async with running(store, studio, retention_days=1, clock=lambda: time.time() + 2 * DAY_SECONDS):
        assert await store.wait_for_change("a", done.revision, PATIENCE_SECONDS) is None
    assert studio.discarded == ["a"]


async def test_nothing_is_old_while_the_time_is_unsure(store, studio, monkeypatch):
    """While nobody is sure what time it is the runner removes nothing, and later what is old."""
    monkeypatch.setattr(runner_module, "HOUR_SECONDS", 0.0)
    studio.go.set()
    await queue(store, "a")
    asked, sure = [], asyncio.Event()

    def clock() -> float | None:
        asked.append(sure.is_set())
        return time.time() + 2 * DAY_SECONDS if sure.is_set() else None

    async with running(store, studio, retention_days=1, clock=clock) as runner:
        done = await ended(store)
        looks = len(asked)
        runner.wake()
        await eventually(lambda: len(asked) > looks)
        assert await store.get("a") is not None
        sure.set()
        runner.wake()
        assert await store.wait_for_change("a", done.revision, PATIENCE_SECONDS) is None


async def test_without_retention_jobs_stay(store, studio):
    """0 days keep everything."""
    await queue(store, "a")
    studio.go.set()
    async with running(store, studio, clock=lambda: time.time() + 1e9) as runner:
        await ended(store)
        runner.wake()
    assert await store.get("a") is not None


async def test_a_job_that_is_removed_while_it_stops_leaves_no_files(store, studio):
    """A row that goes before its work has ended takes the files along once it has."""
    stopping, stop = asyncio.Event(), asyncio.Event()

    async def play(_assignment):
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()
            await stop.wait()

    studio.play = play
    async with running(store, studio) as runner:
        await submit(store)
        assert await runner.start_upload("a")
        await eventually(lambda: studio.working)
        await store.refuse("a", "gone")
        await stopping.wait()
        await store.remove("a")
        assert studio.discarded == []
        stop.set()
        await eventually(lambda: studio.discarded == ["a"], seconds=CANCEL_SECONDS)


def make_segment(number) -> Segment:
    return Segment(number=number, name=f"segment_{number:05}.ts", key=f"a/1/{number}", size=9, etag="e", seconds=6.0)
