"""What every job store promises, run on each implementation there is."""

import asyncio
from typing import Any

import pytest
from support.jobs import LEASE_SECONDS, NOW, Clock, make_job, make_store

from streamsrv.errors import BadParameter, Conflict, NotFound
from streamsrv.jobs.job import Job, JobKind, JobStatus, LeaseLost, Priority, Segment
from streamsrv.jobs.sqlite import SqliteJobStore

AGEING_SECONDS = 100.0
KINDS = [JobKind.HLS]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[SqliteJobStore])
def new_store(request, tmp_path, clock):
    """Make store objects that share what they keep."""
    limits = {"clock": clock, "ageing_seconds": AGEING_SECONDS, "max_restarts": 2}
    return lambda: make_store(tmp_path / "jobs.db", store_class=request.param, **limits)


@pytest.fixture
async def store(new_store):
    async with new_store() as store:
        yield store


def make_segment(number: int, **changes) -> Segment:
    values: dict[str, Any] = {
        "name": f"segment_{number:05}.ts",
        "key": f"a/1/{number}",
        "size": 9,
        "etag": "e",
        "seconds": 6.0,
    }
    return Segment(number=number, **(values | changes))


async def accept(store, job_id="a", priority=Priority.NORMAL):
    return await store.accept(
        job_id, source=f"{job_id}/source", source_bytes=5, title="Song", options={"codec": "aac"}, priority=priority
    )


async def submit_accepted(store, job_id="a", priority=Priority.NORMAL):
    await store.submit(make_job(job_id))
    return await accept(store, job_id, priority)


async def claim(store, job_id="a"):
    """Submit, accept and claim one job."""
    await submit_accepted(store, job_id)
    lease = await store.claim(KINDS)
    assert lease is not None
    return lease


# The life of a job


async def test_what_was_submitted_is_read_back(store):
    """Every field of a job survives the store."""
    job = make_job(
        title="é", source_name="é.mp3", options={"codec": "aac", "deep": {"list": [1, None]}}, priority=Priority.URGENT
    ).evolve(kind=JobKind.EXTRACT, subject="somebody", fingerprint="f")
    assert await store.submit(job) == job
    assert await store.get("a") == job
    assert await store.get("b") is None


async def test_a_job_goes_from_submission_to_completion(store, clock):
    """Accept, claim, report and finish each note their moment and what they were told."""
    await store.submit(make_job())
    clock.now += 1
    accepted = await accept(store, priority=Priority.BACKGROUND)
    assert (accepted.accepted_at, accepted.source, accepted.source_bytes) == (clock.now, "a/source", 5)
    assert (accepted.title, accepted.options, accepted.priority) == ("Song", {"codec": "aac"}, Priority.BACKGROUND)
    clock.now += 1
    lease = await store.claim(KINDS)
    assert (lease.job.status, lease.job.started_at, lease.job.attempt) == (JobStatus.PROCESSING, clock.now, 1)
    assert lease.until == clock.now + LEASE_SECONDS
    await store.report(lease, progress=40, result={"duration": 3.5, "gone": 1})
    clock.now += 1
    done = await store.finish(lease, JobStatus.COMPLETED, result={"gone": None, "bitrate": 1})
    assert (done.status, done.progress, done.completed_at) == (JobStatus.COMPLETED, 100.0, clock.now)
    assert done.result == {"duration": 3.5, "bitrate": 1}
    assert await store.get("a") == done


async def test_an_id_is_taken_once(store):
    """A second job of the same name is refused, whatever became of the first."""
    lease = await claim(store)
    with pytest.raises(Conflict):
        await store.submit(make_job())
    await store.finish(lease, JobStatus.FAILED, error="no")
    await store.mark_discarded("a")
    with pytest.raises(Conflict):
        await store.submit(make_job())


async def test_the_id_of_a_failed_upload_is_free_again(store):
    """A new upload replaces a failed one, its segments too, and the revision goes on for who still watches."""
    await store.submit(make_job())
    lease = await store.claim_upload("a")
    await store.add_segments(lease, [make_segment(1)])
    refused = await store.refuse("a", "The upload ended early")
    await store.mark_discarded("a")
    again = await store.submit(make_job(title="second"))
    assert (again.status, again.title, again.error) == (JobStatus.PENDING, "second", None)
    assert again.revision > refused.revision
    assert await store.segments("a") == []


async def test_segments_go_with_their_files(store):
    """Once the files of a cancelled job are gone it has no segments any more, so none is served from any memory."""
    lease = await claim(store)
    await store.add_segments(lease, [make_segment(1)])
    await store.finish(lease, JobStatus.CANCELLED)
    assert await store.segment("a", make_segment(1).name) is not None
    await store.mark_discarded("a")
    assert await store.segments("a") == []
    assert await store.segment("a", make_segment(1).name) is None


async def test_submit_waits_for_the_files_of_a_failed_upload(store):
    """A new upload of the same name never meets the files of the one that failed."""
    await store.submit(make_job())
    await store.refuse("a", "The upload ended early")
    async with asyncio.timeout(3), asyncio.TaskGroup() as group:
        again = group.create_task(store.submit(make_job()))
        await store.get("a")
        assert not again.done()
        await store.mark_discarded("a")
    assert again.result().status is JobStatus.PENDING


async def test_accept_refuses_what_is_over(store):
    """Only a job that is neither ended, nor being cancelled, nor accepted can be accepted."""
    with pytest.raises(NotFound):
        await accept(store)
    await submit_accepted(store)
    with pytest.raises(Conflict):
        await accept(store)
    await store.submit(make_job("b"))
    await store.refuse("b", "no")
    with pytest.raises(Conflict):
        await accept(store, "b")
    await store.submit(make_job("c"))
    await store.claim_upload("c")
    await store.request_cancel("c")
    with pytest.raises(Conflict):
        await accept(store, "c")


async def test_refuse_ends_only_uploads(store):
    """A refused upload fails with the reason; an accepted job isn't touched."""
    await store.submit(make_job())
    refused = await store.refuse("a", "The upload ended early")
    assert (refused.status, refused.error) == (JobStatus.FAILED, "The upload ended early")
    await submit_accepted(store, "b")
    assert await store.refuse("b", "no") is None
    assert (await store.get("b")).status is JobStatus.PENDING


async def test_a_live_job_stays_with_its_runner_when_accepted(store):
    """A job that is encoded while it arrives is completed only after the upload's end was seen."""
    await store.submit(make_job())
    assert await store.claim(KINDS) is None
    lease = await store.claim_upload("a")
    assert await store.claim_upload("a") is None
    with pytest.raises(ValueError, match="before its upload was accepted"):
        await store.finish(lease, JobStatus.COMPLETED)
    accepted = await accept(store)
    assert accepted.status is JobStatus.PROCESSING
    assert await store.claim(KINDS) is None
    assert (await store.finish(lease, JobStatus.COMPLETED)).status is JobStatus.COMPLETED


# Work that is done once for each request


def make_request(job_id: str = "a", **changes) -> Job:
    """A job that has no upload: it is accepted from the start."""
    return make_job(job_id, kind=JobKind.EXTRACT, **({"accepted_at": NOW, "fingerprint": "f"} | changes))


async def latest(store, fingerprint="f"):
    return await store.latest(JobKind.EXTRACT, "local", fingerprint)


async def test_the_same_request_gets_the_job_that_waits_or_runs(store):
    """While a job with its fingerprint is unfinished a request gets that one, which isn't changed by it."""
    first = await store.submit_once(make_request())
    assert first == make_request()
    assert await store.submit_once(make_request("b", title="again")) == first
    lease = await store.claim([JobKind.EXTRACT])
    assert await store.submit_once(make_request("b")) == lease.job
    await store.put_back(lease)
    assert (await store.submit_once(make_request("b"))).id == "a"
    assert await store.get("b") is None


async def test_a_request_is_made_anew_after_each_end(store):
    """A job that has ended, however it did, leaves its fingerprint to the next one; `latest` gives the newest."""
    assert await latest(store) is None
    for number, status in enumerate((JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)):
        job = await store.submit_once(make_request(str(number)))
        assert job.id == str(number)
        assert await latest(store) == job
        ended = await store.finish(await store.claim([JobKind.EXTRACT]), status)
        assert await latest(store) == ended
    await store.submit_once(make_request("waits"))
    await store.request_cancel("waits")
    assert (await store.submit_once(make_request("last"))).id == "last"
    assert (await latest(store)).id == "last"


async def test_requests_differ_by_kind_subject_and_fingerprint(store):
    """What only looks alike is another request, and `latest` tells them apart, too."""
    jobs = [
        make_request("a"),
        make_request("b", fingerprint="g"),
        make_request("c", subject="somebody"),
        make_job("d", accepted_at=1.0, fingerprint="f"),
    ]
    for job in jobs:
        assert await store.submit_once(job) == job
    for job in jobs:
        assert await store.submit_once(job.evolve(id="other")) == job
        assert await store.latest(job.kind, job.subject, job.fingerprint) == job
    assert await store.latest(JobKind.HLS, "somebody", "f") is None


async def test_fifty_requests_at_once_are_one_job(new_store):
    """Two stores on the same data: all who ask at once get the same job, which is written once."""
    async with new_store() as one, new_store() as other:
        stores = [one, other] * 25
        jobs = await asyncio.gather(
            *(store.submit_once(make_request(f"job-{number}")) for number, store in enumerate(stores))
        )
        listed, _ = await one.page(kind=JobKind.EXTRACT, limit=100)
    assert len({job.id for job in jobs}) == 1
    assert listed == [jobs[0]]


CANCELLED_ENDS = {
    "cancelled": lambda store, lease: store.finish(lease, JobStatus.CANCELLED),
    "completed": lambda store, lease: store.finish(lease, JobStatus.COMPLETED),
    "failed": lambda store, lease: store.finish(lease, JobStatus.FAILED, error="no"),
    "released": lambda store, lease: store.release(lease, "no"),
    "put back": lambda store, lease: store.put_back(lease),
    "recovered": lambda store, lease: store.recover(),
}


@pytest.mark.parametrize("end", CANCELLED_ENDS)
async def test_a_job_that_is_being_cancelled_answers_no_new_request(store, end):
    """Who asks while a job is being stopped gets one of its own, and the old one ends without being in its way."""
    await store.submit_once(make_request("old"))
    lease = await store.claim([JobKind.EXTRACT])
    await store.request_cancel("old")
    assert (await store.submit_once(make_request("new"))).id == "new"
    assert (await store.submit_once(make_request("newer"))).id == "new"
    await CANCELLED_ENDS[end](store, lease)
    assert (await store.get("old")).status is JobStatus.CANCELLED
    assert (await latest(store)).id == "new"
    assert (await store.claim([JobKind.EXTRACT])).job.id == "new"


async def test_once_needs_a_fingerprint_and_a_free_id(store):
    """Without a fingerprint nothing is the same, and an id isn't used twice; both change nothing."""
    with pytest.raises(ValueError, match="fingerprint"):
        await store.submit_once(make_job())
    await store.submit_once(make_request())
    with pytest.raises(Conflict):
        await store.submit_once(make_request(fingerprint="g"))
    assert await latest(store, "g") is None


async def test_submit_refuses_a_request_that_stands(store):
    """A plain submission promises a job of its own, so a fingerprint that is taken is a conflict, in words."""
    await store.submit(make_request())
    with pytest.raises(Conflict, match="waits or runs"):
        await store.submit(make_request("b"))
    await store.request_cancel("a")
    assert (await store.submit(make_request("b"))).id == "b"


async def test_a_request_that_came_wakes_the_runner(store):
    """A job that was written wakes whoever looks for work; one that was there already does not."""
    async with asyncio.timeout(3):
        await store.submit_once(make_request())
        await store.wait_for_work(60)
    loop = asyncio.get_running_loop()
    await store.submit_once(make_request("b"))
    began = loop.time()
    await store.wait_for_work(0.05)
    assert loop.time() - began > 0.04


# Claims


async def test_exactly_one_of_many_claimers_gets_a_job(new_store):
    """Two stores on the same data and many claims at once: each job goes out once."""
    async with new_store() as one, new_store() as other:
        for number in range(10):
            await submit_accepted(one, f"job-{number}")
        leases = await asyncio.gather(*(store.claim(KINDS) for _ in range(15) for store in (one, other)))
    claimed = [lease.job.id for lease in leases if lease is not None]
    assert sorted(claimed) == sorted({f"job-{number}" for number in range(10)})
    assert len({lease.token for lease in leases if lease is not None}) == 10


async def test_fifty_writers_and_readers_at_once(new_store):
    """Two stores on the same data: nobody is refused, nothing is lost, and who reads sees whole changes only."""
    count, rounds = 50, 4
    async with new_store() as one, new_store() as other:
        leases = {}
        for number in range(count):
            leases[number] = await claim(one, f"job-{number}")

        async def write(number: int) -> None:
            store = (one, other)[number % 2]
            for turn in range(rounds):
                pair = [make_segment(2 * turn + each) for each in (0, 1)]
                await store.add_segments(leases[number], pair, progress=10.0 * turn)

        async def read(number: int) -> None:
            store = (other, one)[number % 2]
            for _ in range(rounds):
                assert len(await store.segments(f"job-{number}")) % 2 == 0

        await asyncio.gather(*(work(number) for number in range(count) for work in (write, read)))
        for number in range(count):
            assert len(await one.segments(f"job-{number}")) == 2 * rounds


async def test_urgent_goes_first_then_the_oldest(store, clock):
    """Within a short time priority decides, and within a priority the moment of acceptance."""
    for job_id, priority in {"n1": 1, "b1": 2, "n2": 1, "u1": 0}.items():
        await submit_accepted(store, job_id, Priority(priority))
        clock.now += 1
    assert [(await store.claim(KINDS)).job.id for _ in range(4)] == ["u1", "n1", "n2", "b1"]


async def test_waiting_makes_up_for_priority(store, clock):
    """A background job that waited for two ageing times goes before a new urgent one, and no sooner."""
    await submit_accepted(store, "background", Priority.BACKGROUND)
    clock.now += 2 * AGEING_SECONDS - 1
    await submit_accepted(store, "early", Priority.URGENT)
    clock.now += 2
    await submit_accepted(store, "late", Priority.URGENT)
    assert [(await store.claim(KINDS)).job.id for _ in range(3)] == ["early", "background", "late"]


async def test_positions_are_the_order_of_claims(store, clock):
    """Position and the jobs ahead foretell what claim does; only accepted jobs that wait have a position."""
    for job_id, priority in {"n1": 1, "b1": 2, "n2": 1, "u1": 0}.items():
        await submit_accepted(store, job_id, Priority(priority))
        clock.now += 1
    await store.submit(make_job("uploading"))
    positions = {job_id: await store.position(job_id) for job_id in ("u1", "n1", "n2", "b1", "uploading", "none")}
    assert positions == {"u1": 1, "n1": 2, "n2": 3, "b1": 4, "uploading": None, "none": None}
    assert [job.id for job in await store.ahead_of("b1", 9)] == ["u1", "n1", "n2"]
    assert [job.id for job in await store.ahead_of("b1", 2)] == ["u1", "n1"]
    await store.claim(KINDS)
    assert (await store.position("u1"), await store.position("b1")) == (None, 3)


async def test_only_asked_kinds_are_claimed(store):
    """A runner gets only work that it knows."""
    await submit_accepted(store)
    await store.submit_once(make_request("b"))
    assert await store.claim([]) is None
    assert (await store.claim([JobKind.EXTRACT])).job.id == "b"
    assert await store.claim([JobKind.EXTRACT]) is None


# Leases

LEASE_METHODS = {
    "renew": lambda store, lease: store.renew(lease),
    "report": lambda store, lease: store.report(lease, progress=1),
    "add_segments": lambda store, lease: store.add_segments(lease, [make_segment(1)]),
    "drop_segments": lambda store, lease: store.drop_segments(lease),
    "complete": lambda store, lease: store.finish(lease, JobStatus.COMPLETED),
    "fail": lambda store, lease: store.finish(lease, JobStatus.FAILED, error="no"),
    "release": lambda store, lease: store.release(lease, "no"),
    "put_back": lambda store, lease: store.put_back(lease),
}


@pytest.mark.parametrize("method", LEASE_METHODS)
async def test_a_stale_lease_is_refused(store, clock, method):
    """Who lost a job can't change it, neither while it waits nor while another works on it."""
    stale = await claim(store)
    await store.report(stale, progress=1)
    clock.now += LEASE_SECONDS + 1
    assert await store.expire() == 1
    for _ in range(2):
        before = await store.get("a")
        with pytest.raises(LeaseLost):
            await LEASE_METHODS[method](store, stale)
        assert await store.get("a") == before
        assert await store.segments("a") == []
        await store.claim(KINDS)


async def test_a_refused_upload_voids_its_lease(store):
    """The runner of an upload that didn't arrive learns it from its next call."""
    await store.submit(make_job())
    lease = await store.claim_upload("a")
    await store.refuse("a", "gone")
    with pytest.raises(LeaseLost):
        await store.report(lease, progress=50)


async def test_a_renewed_lease_does_not_expire(store, clock):
    """A lease holds from its last renewal on."""
    lease = await claim(store)
    clock.now += LEASE_SECONDS - 1
    assert (await store.renew(lease)).until == clock.now + LEASE_SECONDS
    clock.now += LEASE_SECONDS - 1
    assert await store.expire() == 0


async def test_whoever_is_alive_keeps_its_lease(store, clock):
    """A lease that ran out while its holder lives is no lost one; the holder renews it when its time comes."""
    lease = await claim(store)
    clock.now += LEASE_SECONDS + 1
    assert await store.expire({"a", "b"}) == 0
    assert (await store.renew(lease)).until == clock.now + LEASE_SECONDS
    clock.now += LEASE_SECONDS + 1
    assert await store.expire({"b"}) == 1


async def test_own_failures_are_retried_then_fail(store):
    """A job has three attempts; after the last it ends Failed with the words given."""
    await submit_accepted(store)
    for failures in (1, 2):
        job = await store.release(await store.claim(KINDS), "The server failed")
        assert (job.status, job.failures, job.error) == (JobStatus.PENDING, failures, None)
    job = await store.release(await store.claim(KINDS), "The server failed")
    assert (job.status, job.failures, job.attempt, job.error) == (JobStatus.FAILED, 3, 3, "The server failed")
    assert job.completed_at is not None


async def test_an_upload_waits_again_after_every_failure(store):
    """Before its upload was accepted no own failure ends a job."""
    await store.submit(make_job())
    for failures in range(1, 5):
        job = await store.release(await store.claim_upload("a"), "The server failed")
        assert (job.status, job.failures) == (JobStatus.PENDING, failures)


async def test_put_back_counts_nothing(store):
    """A job that was put back has neither failed nor been restarted, and is claimed again."""
    lease = await claim(store)
    job = await store.put_back(lease)
    assert (job.status, job.failures, job.restarts) == (JobStatus.PENDING, 0, 0)
    again = await store.claim(KINDS)
    assert (again.job.attempt, again.job.started_at) == (2, lease.job.started_at)


# Progress and segments


async def test_progress_never_decreases(store, clock):
    """Less progress than before is ignored, also by the next attempt, and 100 is the most."""
    lease = await claim(store)
    for told, seen in ((40, 40), (20, 40), (400, 100), (-1, 100)):
        clock.now += 1
        assert (await store.report(lease, progress=told)).progress == seen
    await store.release(lease, "no")
    assert (await store.report(await store.claim(KINDS), progress=3)).progress == 100


async def test_progress_is_written_twice_a_second(store, clock):
    """Many reports are few revisions; what was held back goes with the next write."""
    lease = await claim(store)
    first = await store.report(lease, progress=1)
    for progress in (2, 3, 4):
        clock.now += 0.1
        assert (await store.report(lease, progress=progress)).progress == progress
    assert (await store.get("a")).revision == first.revision
    renewed = await store.renew(lease)
    assert (renewed.job.progress, renewed.job.revision) == (4, first.revision + 1)
    clock.now += 0.5
    assert (await store.report(lease, progress=5)).revision == first.revision + 2
    await store.report(lease, progress=7)
    assert (await store.add_segments(lease, [make_segment(1)])).progress == 7


async def test_renewing_alone_is_no_change(store):
    """Who watches a job isn't woken with a new revision by a renewed lease."""
    lease = await claim(store)
    assert (await store.renew(lease)).job.revision == lease.job.revision


async def test_segments_are_published_all_or_none(store):
    """A number or name that is there already refuses the whole call."""
    lease = await claim(store)
    init = make_segment(0, name="init.mp4", seconds=0.0)
    await store.add_segments(lease, [make_segment(1), init], progress=10, result={"codec": "aac"})
    before = await store.get("a")
    for wrong in (make_segment(1, name="other.ts"), make_segment(9, name="init.mp4")):
        with pytest.raises(ValueError, match="twice"):
            await store.add_segments(lease, [make_segment(2), wrong], progress=90)
    assert await store.get("a") == before
    assert await store.segments("a") == [init, make_segment(1)]
    assert await store.segment("a", "init.mp4") == init
    assert await store.segment("a", "none.ts") is None
    assert await store.segment("b", "init.mp4") is None


async def test_segments_of_a_folder(store):
    """Those of one folder are listed alone, whatever others are called."""
    lease = await claim(store)
    names = ["vocals/init.mp4", "vocals2/a.m4s", "vocals/a.m4s", "vocal/a.m4s", "vocals", "vocals.m4s"]
    await store.add_segments(lease, [make_segment(number, name=name) for number, name in enumerate(names)])
    assert [segment.name for segment in await store.segments_in("a", "vocals")] == ["vocals/init.mp4", "vocals/a.m4s"]
    assert await store.segments_in("a", "none") == []
    assert await store.segments_in("b", "vocals") == []


async def test_only_the_urgent_can_be_claimed(store, clock):
    """Claiming for a class leaves those that are less urgent where they are."""
    await store.submit(make_job("b", accepted_at=clock(), priority=Priority.NORMAL))
    assert await store.claim(KINDS, Priority.URGENT) is None
    await store.submit(make_job("u", accepted_at=clock(), priority=Priority.URGENT))
    assert (await store.claim(KINDS, Priority.URGENT)).job.id == "u"
    assert (await store.claim(KINDS)).job.id == "b"


async def test_dropped_segments_can_be_published_anew(store):
    """An attempt whose output differs starts from an empty list, and what was noted of the old one goes with it."""
    lease = await claim(store)
    await store.add_segments(lease, [make_segment(1)], result={"segment_count": 1, "codec": "flac"})
    job = await store.drop_segments(lease, result={"segment_count": None})
    assert job.result == {"codec": "flac"}
    assert await store.segments("a") == []
    await store.add_segments(lease, [make_segment(1, etag="new")])
    assert [segment.etag for segment in await store.segments("a")] == ["new"]


async def test_only_json_is_kept(store):
    """What JSON doesn't have is refused and changes nothing."""
    lease = await claim(store)
    with pytest.raises(TypeError):
        await store.report(lease, result={"x": object()})
    with pytest.raises(ValueError, match="JSON"):
        await store.finish(lease, JobStatus.COMPLETED, result={"x": float("nan")})
    assert (await store.get("a")).status is JobStatus.PROCESSING


# Cancelling


async def test_cancelling_a_waiting_job_ends_it(store):
    """A job that nobody works on is cancelled at once, accepted or not; asking again changes nothing."""
    await submit_accepted(store)
    await store.submit(make_job("b"))
    for job_id in "ab":
        cancelled = await store.request_cancel(job_id)
        assert cancelled.status is JobStatus.CANCELLED
        assert await store.request_cancel(job_id) == cancelled
    assert await store.claim(KINDS) is None
    with pytest.raises(NotFound):
        await store.request_cancel("none")


@pytest.mark.parametrize("end", CANCELLED_ENDS)
async def test_a_cancelled_running_job_ends_cancelled_whichever_way(store, end):
    """Once a cancellation was asked for, no other end is possible."""
    lease = await claim(store)
    asked = await store.request_cancel("a")
    assert (asked.status, asked.cancel_requested) == (JobStatus.PROCESSING, True)
    await CANCELLED_ENDS[end](store, lease)
    job = await store.get("a")
    assert (job.status, job.error) == (JobStatus.CANCELLED, None)


# Start-up


async def test_recover_after_reopening(new_store):
    """A new server ends uploads that were not accepted, and lets jobs that ran wait again."""
    async with new_store() as store:
        await claim(store, "ran")
        await store.submit(make_job("live"))
        await store.claim_upload("live")
        await store.submit(make_job("uploading"))
        await submit_accepted(store, "waited")
    async with new_store() as store:
        ended = await store.recover()
        assert {job.id: job.status for job in ended} == {"live": JobStatus.FAILED, "uploading": JobStatus.FAILED}
        assert {job.error for job in ended} == {"The upload did not arrive completely."}
        ran, waited = await store.get("ran"), await store.get("waited")
        assert (ran.status, ran.restarts, ran.attempt) == (JobStatus.PENDING, 1, 1)
        assert (waited.status, waited.restarts) == (JobStatus.PENDING, 0)
        assert {job.id for job in await store.to_discard(9)} == {"live", "uploading"}
        assert await store.recover() == []


async def test_restarts_are_limited_and_counted_apart(store):
    """A job that took the server down each time ends Failed after its restarts; failures stay what they were."""
    await submit_accepted(store)
    for restarts in (1, 2):
        await store.claim(KINDS)
        assert await store.recover() == []
        job = await store.get("a")
        assert (job.restarts, job.failures) == (restarts, 0)
    await store.claim(KINDS)
    ended = await store.recover()
    assert [(job.id, job.status, job.restarts) for job in ended] == [("a", JobStatus.FAILED, 2)]


async def test_expired_leases_free_their_jobs(store, clock):
    """A silent runner loses its jobs; one whose upload may still arrive waits again, without failing."""
    await claim(store)
    await store.submit(make_job("live"))
    await store.claim_upload("live")
    clock.now += LEASE_SECONDS + 1
    await claim(store, "fresh")
    assert await store.expire() == 2
    assert {job_id: (await store.get(job_id)).status.value for job_id in ("a", "live", "fresh")} == {
        "a": "Pending",
        "live": "Pending",
        "fresh": "Processing",
    }


# Watching


async def test_revision_grows_with_every_change(store, clock):
    """Who knows the last revision has missed nothing when it is still the same."""
    revisions = [(await store.submit(make_job())).revision]

    async def changed(result):
        await result
        revisions.append((await store.get("a")).revision)

    lease = await store.claim_upload("a")
    await changed(accept(store))
    await changed(store.report(lease, progress=1))
    clock.now += 1
    await changed(store.report(lease, progress=2))
    await changed(store.report(lease, result={"x": 1}))
    await changed(store.add_segments(lease, [make_segment(1)]))
    await changed(store.drop_segments(lease))
    await changed(store.release(lease, "no"))
    lease = await store.claim(KINDS)
    await changed(store.put_back(lease))
    await store.claim(KINDS)
    await changed(store.recover())
    lease = await store.claim(KINDS)
    await changed(store.request_cancel("a"))
    await changed(store.finish(lease, JobStatus.CANCELLED))
    await changed(store.mark_discarded("a"))
    assert revisions == sorted(set(revisions))


async def test_wait_for_change_wakes_promptly(store):
    """A waiter returns with the commit that it waits for, long before its timeout, and again when the job is gone."""
    job = await submit_accepted(store)
    async with asyncio.timeout(3):
        assert await store.wait_for_change("a", job.revision - 1, 60) == job
        async with asyncio.TaskGroup() as group:
            waiters = [group.create_task(store.wait_for_change("a", job.revision, 60)) for _ in range(3)]
            await store.get("a")
            cancelled = await store.request_cancel("a")
        assert [waiter.result() for waiter in waiters] == [cancelled] * 3
        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(store.wait_for_change("a", cancelled.revision, 60))
            await store.get("a")
            await store.remove("a")
        assert waiter.result() is None
        assert await store.wait_for_change("a", 0, 60) is None


async def test_wait_for_change_returns_the_job_as_it_is_after_its_timeout(store):
    """Nothing changed: the same job comes back."""
    job = await submit_accepted(store)
    assert await store.wait_for_change("a", job.revision, 0.01) == job


async def test_work_is_announced(store):
    """The runner is woken by a job that became claimable and by one that ended."""

    async def announced():
        async with asyncio.timeout(3):
            await store.wait_for_work(60)

    await submit_accepted(store)
    await announced()
    lease = await store.claim(KINDS)
    await store.release(lease, "no")
    await announced()
    await store.request_cancel("a")
    await announced()
    await store.wait_for_work(0.01)


async def test_a_cancelled_caller_does_not_undo_or_hide_a_change(store):
    """A change whose caller went away is made, and who waits for it is woken."""
    job = await submit_accepted(store)
    async with asyncio.timeout(3), asyncio.TaskGroup() as group:
        waiter = group.create_task(store.wait_for_change("a", job.revision, 60))
        caller = group.create_task(store.request_cancel("a"))
        await asyncio.sleep(0)
        caller.cancel()
    assert caller.cancelled()
    assert waiter.result().status is JobStatus.CANCELLED


# Lists


async def test_pages_are_newest_first_and_stable(store):
    """Each job is listed once, also while jobs are added and removed between the pages."""
    for number in range(7):
        await store.submit(make_job(f"job-{number}"))
    listed, cursor, rounds = [], None, 0
    while True:
        page, cursor = await store.page(before=cursor, limit=3)
        listed += [job.id for job in page]
        if cursor is None:
            break
        rounds += 1
        await store.submit(make_job(f"new-{rounds}"))
    assert listed == [f"job-{number}" for number in reversed(range(7))]


async def test_pages_are_filtered(store):
    """Status, kind and subject each narrow the list, and a full last page has no next one."""
    for job_id in ("a", "b", "c"):
        await submit_accepted(store, job_id)
    await store.submit(make_job("foreign", subject="somebody"))
    await store.request_cancel("b")
    await store.claim(KINDS)

    async def ids(**filters):
        page, cursor = await store.page(**({"limit": 3} | filters))
        assert cursor is None
        return [job.id for job in page]

    assert await ids() == ["c", "b", "a"]
    assert await ids(statuses=[JobStatus.CANCELLED]) == ["b"]
    assert await ids(statuses=[JobStatus.PENDING, JobStatus.PROCESSING]) == ["c", "a"]
    assert await ids(kind=JobKind.HLS, statuses=[JobStatus.FAILED]) == []
    assert await ids(subject="somebody") == ["foreign"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1 ", "1\n", "١", "f" * 16, "' OR 1"])
async def test_a_malformed_cursor_is_a_bad_parameter(store, cursor):
    """A cursor that no page gave is the client's mistake, in words."""
    with pytest.raises(BadParameter):
        await store.page(before=cursor, limit=3)


async def test_recent_completed_and_ended_before(store, clock):
    """Completed jobs are listed last first; ended ones, whatever their end, by how long ago it was."""
    start = clock.now
    for job_id, status in {"a": JobStatus.COMPLETED, "b": JobStatus.FAILED, "c": JobStatus.COMPLETED}.items():
        await store.finish(await claim(store, job_id), status)
        clock.now += 10
    assert [job.id for job in await store.recent_completed(JobKind.HLS, 9)] == ["c", "a"]
    assert [job.id for job in await store.recent_completed(JobKind.HLS, 1)] == ["c"]
    assert [job.id for job in await store.ended_before(start + 20, 9)] == ["a", "b"]
    assert [job.id for job in await store.ended_before(start + 20, 1)] == ["a"]


# Removing


async def test_only_ended_jobs_are_removed(store):
    """A removed job is forgotten with its segments; one that has not ended stays."""
    lease = await claim(store)
    await store.add_segments(lease, [make_segment(1)])
    with pytest.raises(Conflict):
        await store.remove("a")
    done = await store.finish(lease, JobStatus.COMPLETED)
    assert await store.remove("a") == done
    assert await store.remove("a") is None
    assert await store.get("a") is None
    await store.submit(make_job())
    assert await store.segments("a") == []


async def test_failed_and_cancelled_jobs_are_to_be_discarded_once(store):
    """The files of a completed job stay; those of the others are listed until they are gone."""
    await store.finish(await claim(store, "completed"), JobStatus.COMPLETED)
    await store.finish(await claim(store, "failed"), JobStatus.FAILED, error="no")
    await submit_accepted(store, "cancelled")
    await store.request_cancel("cancelled")
    await submit_accepted(store, "waiting")
    assert [job.id for job in await store.to_discard(9)] == ["failed", "cancelled"]
    assert len(await store.to_discard(1)) == 1
    await store.mark_discarded("failed")
    await store.mark_discarded("waiting")
    assert [job.id for job in await store.to_discard(9)] == ["cancelled"]
    assert (await store.get("failed")).discarded
    assert not (await store.get("waiting")).discarded
