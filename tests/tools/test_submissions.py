"""Submissions: which job answers which of them, what they call it, what was removed of it, and when it may go."""

import asyncio
import sqlite3
from dataclasses import replace

import pytest
from support.jobs import NOW, SONG, Clock, make_job, make_store, make_submission, meddle

from streamsrv.errors import Conflict, DiskFull
from streamsrv.jobs.assignment import Work
from streamsrv.jobs.job import Job, JobKind, JobStatus
from streamsrv.jobs.retention import DAY_SECONDS, Retention
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.submissions import SubmissionStore

OTHER_SONG = "b" * 64
KINDS = [JobKind.SEPARATE]
PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = JobStatus


@pytest.fixture(params=[SqliteJobStore])
def new_store(request, tmp_path):
    """Make store objects that share what they keep."""
    return lambda: make_store(tmp_path / "jobs.db", store_class=request.param, clock=Clock())


@pytest.fixture
async def store(new_store):
    async with new_store() as store:
        yield store


@pytest.fixture
def submissions(store) -> SubmissionStore:
    return store.submissions


def song_job(job_id: str = "a", **changes) -> Job:
    values = {"fingerprint": "f", "accepted_at": NOW, "source": f"{job_id}/source"}
    return make_job(job_id, kind=JobKind.SEPARATE, **(values | changes))


async def end(store, status=COMPLETED, **result):
    """Let the job whose turn it is end in this way."""
    return await store.finish(await store.claim(KINDS), status, result=result)


async def submit(store, job_id="a", name="one", *, fingerprint="f", status=None, **changes):
    """Ask for a song, and let the job that was written for it end if a status says how."""
    job, written = await store.submissions.submit(
        song_job(job_id, fingerprint=fingerprint), make_submission(name, **changes)
    )
    if written and status is not None:
        job = await end(store, status)
    return job, written


def count(path, table):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


# Submitting


async def test_the_first_submission_writes_its_job(store, submissions):
    """The job is written as it was given, and the submission is read back with every field."""
    submission = make_submission("é", callback_url="http://example.com/hook", subject="somebody")
    assert await submissions.submit(song_job(), submission) == (song_job(), True)
    assert await store.get("a") == song_job()
    assert await submissions.submission_of("a", "somebody") == submission
    assert await submissions.submission_of("a", "local") is None


async def test_who_asks_while_it_is_made_shares_the_job(store, submissions):
    """A job that waits or runs answers every further submission, and isn't changed by it."""
    job, _ = await submit(store)
    assert await submit(store, "b", "two") == (job, False)
    lease = await store.claim(KINDS)
    assert await submit(store, "c", "three") == (lease.job, False)
    assert (await store.get("b"), await store.get("c")) == (None, None)


async def test_what_is_complete_answers_again(store, submissions):
    """A completed job answers who asks later, and nothing is made again."""
    done, _ = await submit(store, status=COMPLETED)
    assert await submit(store, "b", "two") == (done, False)
    assert await store.get("b") is None


@pytest.mark.parametrize("status", [FAILED, CANCELLED])
async def test_what_did_not_come_to_be_is_made_anew(store, status):
    """A job that failed or was cancelled answers nobody new."""
    await submit(store, status=status)
    job, written = await submit(store, "b", "two")
    assert (job.id, written) == ("b", True)


async def test_a_failure_hides_nothing_that_is_complete(store, submissions):
    """After a new try that failed the next one is made anew: the newest job decides."""
    await submit(store, status=COMPLETED)
    await submissions.remove_track("a", "local", "drums")
    await submit(store, "b", "two", status=FAILED)
    assert (await submit(store, "c", "three"))[0].id == "c"


async def test_what_lacks_a_track_is_made_anew(store, submissions):
    """A result of which anybody has removed a track isn't complete any more, though it is still shown."""
    await submit(store, status=COMPLETED)
    await submissions.remove_track("a", "local", "drums")
    job, written = await submit(store, "b", "two")
    assert (job.id, written) == ("b", True)
    assert (await submissions.latest_completed(SONG, "local")).id == "a"


async def test_a_job_that_is_being_cancelled_answers_no_new_submission(store):
    """Who asks while a job is being stopped gets one of its own."""
    await submit(store)
    await store.claim(KINDS)
    await store.request_cancel("a")
    assert [(await submit(store, job_id, job_id))[0].id for job_id in ("b", "c")] == ["b", "b"]


async def test_requests_differ_by_kind_subject_and_fingerprint(store, submissions):
    """What only looks alike is another request."""
    jobs = [
        song_job("a"),
        song_job("b", fingerprint="g"),
        song_job("c", subject="somebody"),
        replace(song_job("d"), kind=JobKind.EXTRACT),
    ]
    for job in jobs:
        assert await submissions.submit(job, make_submission(job.id)) == (job, True)
    for job in jobs:
        assert await submissions.submit(replace(job, id="other"), make_submission(job.id * 2)) == (job, False)


async def test_twenty_at_once_are_one_job(new_store):
    """Two stores on the same data: all who ask at once share the one job that is written, and each has its claim."""
    async with new_store() as one, new_store() as other:
        asked = await asyncio.gather(
            *(submit(store, f"job-{n}", str(n)) for n, store in enumerate([one, other] * 10)),
        )
        listed, _ = await one.page(limit=100)
        assert [job for job, _ in asked] == listed * 20
        assert sum(written for _, written in asked) == 1
        names = [await one.submissions.submission_of(job.id, "local") for job in listed]
        assert [name is not None for name in names] == [True]


@pytest.mark.parametrize("callback_url", [None, "http://example.com/hook"])
async def test_twenty_at_the_moment_it_ends_are_all_answered(store, submissions, callback_url):
    """However the end of a job falls between those who ask, nobody's webhook is missing or owed twice."""
    await submit(store)
    lease = await store.claim(KINDS)
    *asked, _ = await asyncio.gather(
        *(submit(store, f"job-{n}", str(n), callback_url=callback_url) for n in range(10)),
        store.finish(lease, COMPLETED),
        *(submit(store, f"job-{n}", str(n), callback_url=callback_url) for n in range(10, 20)),
        store.get("a"),
    )
    assert {entry[0].id for entry in asked if isinstance(entry, tuple)} == {"a"}
    messages = await store.outbox.messages_of(SONG, "local")
    owed = {str(n) for n in range(20)} if callback_url else set()
    assert {message.submission.id for message in messages} == owed
    assert len(messages) == len(owed)


async def test_a_submission_is_whole_or_not_at_all(store, submissions):
    """Ids are taken once; whichever is taken, neither a job nor a claim was written."""
    with pytest.raises(ValueError, match="fingerprint"):
        await submissions.submit(song_job(fingerprint=None), make_submission())
    await submit(store)
    with pytest.raises(Conflict):
        await submit(store, "b", "one", fingerprint="g")
    assert await store.get("b") is None
    with pytest.raises(Conflict):
        await submit(store, "a", "two", fingerprint="g")
    assert await submissions.jobs_of(SONG, "local") == [song_job()]
    assert await submissions.name_of("a", "local") == "one.mp3"


async def test_a_full_disk_leaves_nothing_of_a_submission(store, submissions, tmp_path):
    """No space is DiskFull, and both the job and the claim are missing."""
    await meddle(store, "PRAGMA max_page_count = 1")
    with pytest.raises(DiskFull):
        await submissions.submit(song_job(), make_submission(origin="x" * 1_000_000))
    assert await store.get("a") is None
    await meddle(store, "PRAGMA max_page_count = 1000000")
    assert count(tmp_path / "jobs.db", "submissions") == 0
    assert (await submit(store))[1]


async def test_a_new_job_wakes_the_runner(store):
    """A job that was written wakes whoever looks for work; one that was there already does not."""
    async with asyncio.timeout(3):
        await submit(store)
        await store.wait_for_work(60)
    await submit(store, "b", "two")
    async with asyncio.timeout(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.wait_for_work(60)


async def test_a_caller_that_went_away_has_submitted(store, submissions):
    """A change whose caller is cancelled runs to its end."""
    async with asyncio.timeout(3), asyncio.TaskGroup() as group:
        caller = group.create_task(submissions.submit(song_job(), make_submission()))
        await asyncio.sleep(0)
        caller.cancel()
    assert caller.cancelled()
    assert await submissions.name_of("a", "local") == "one.mp3"


async def test_submissions_outlive_the_server(new_store):
    """A server that comes after a killed one knows who asked, and works on it."""
    killed = new_store()
    await killed.open()
    try:
        await submit(killed)
        await killed.claim(KINDS)
        async with new_store() as store:  # the other one never gets to close
            await store.recover()
            assert (await submit(store, "b", "two"))[0].id == "a"
            assert await store.submissions.name_of("a", "local") == "two.mp3"
            assert (await end(store)).status is COMPLETED
    finally:
        await killed.close()


# What stands for a song


async def shown(submissions, model=None):
    """The ids of the job that is shown for the song, and of the one whose tracks are served."""
    jobs = await submissions.latest(SONG, "local", model), await submissions.latest_completed(SONG, "local", model)
    return tuple(None if job is None else job.id for job in jobs)


async def test_what_runs_is_shown_and_what_is_complete_is_served(store, submissions):
    """The status is that of what waits or runs, while the tracks are those that there are."""
    assert await shown(submissions) == (None, None)
    await submit(store, "a", status=COMPLETED)
    assert await shown(submissions) == ("a", "a")
    await submit(store, "b", "two", fingerprint="g")
    assert await shown(submissions) == ("b", "a")
    await submit(store, "x", "three")  # which is complete already
    assert await shown(submissions) == ("b", "a")
    await store.claim(KINDS)
    assert await shown(submissions) == ("b", "a")
    await store.recover()
    await end(store)
    assert await shown(submissions) == ("a", "a")


async def test_what_was_asked_for_last_is_shown(store, submissions):
    """Of several that are complete it is the one that was asked for last; a failure is shown, not served."""
    await submit(store, "a", "one", status=COMPLETED)
    await submit(store, "b", "two", fingerprint="g", status=COMPLETED)
    await submit(store, "x", "three")
    assert await shown(submissions) == ("a", "a")
    await submit(store, "c", "four", fingerprint="h", status=FAILED)
    assert await shown(submissions) == ("c", "a")


async def test_what_is_being_cancelled_does_not_come_first(store, submissions):
    """What was asked for after that is shown, though it has ended."""
    await submit(store, "a", "one", status=COMPLETED)
    await submit(store, "b", "two", fingerprint="g")
    await store.claim(KINDS)
    await store.request_cancel("b")
    assert await shown(submissions) == ("b", "a")
    await submit(store, "x", "three")
    assert await shown(submissions) == ("a", "a")


async def test_a_model_narrows_what_is_shown(store, submissions):
    """Asked for one model, jobs of others don't count."""
    await submit(store, "a", "one", model="small", status=COMPLETED)
    await submit(store, "b", "two", model="large", fingerprint="g", status=FAILED)
    assert await shown(submissions, "small") == ("a", "a")
    assert await shown(submissions, "large") == ("b", None)
    assert await shown(submissions, "none") == (None, None)


async def test_songs_and_subjects_are_told_apart(store, submissions):
    """Nobody is shown what somebody else asked for, though one job may answer both; each has a name for it."""
    await submit(store, "a", "mine")
    await submit(store, "x", "theirs", subject="somebody")
    await submit(store, "b", "other", content=OTHER_SONG, fingerprint="g")
    await submit(store, "c", "hers", subject="her", fingerprint="h")
    assert [job.id for job in await submissions.jobs_of(SONG, "local")] == ["a"]
    assert [job.id for job in await submissions.jobs_of(SONG, "somebody")] == ["a"]
    assert [job.id for job in await submissions.jobs_of(SONG, "her")] == ["c"]
    assert [await submissions.name_of("a", who) for who in ("local", "somebody", "her")] == [
        "mine.mp3",
        "theirs.mp3",
        None,
    ]


async def test_all_jobs_of_a_song_are_listed_once(store, submissions):
    """That which was asked for last comes first, and has the name that it was given last."""
    await submit(store, "a", "one", status=COMPLETED)
    await submit(store, "b", "two", fingerprint="g", status=FAILED)
    await submit(store, "x", "three")
    jobs = await submissions.jobs_of(SONG, "local")
    assert [(job.id, await submissions.name_of(job.id, "local")) for job in jobs] == [
        ("a", "three.mp3"),
        ("b", "two.mp3"),
    ]
    assert await submissions.jobs_of(OTHER_SONG, "local") == []


# Removing


async def test_a_track_is_removed_once(store, submissions):
    """The second time it was gone already, and so is one of a job that nobody of that name asked for."""
    await submit(store, status=COMPLETED)
    assert await submissions.remove_track("a", "local", "drums")
    assert not await submissions.remove_track("a", "local", "drums")
    assert await submissions.remove_track("a", "local", "bass")
    assert not await submissions.remove_track("a", "somebody", "vocals")
    assert not await submissions.remove_track("none", "local", "vocals")
    assert await submissions.removed_tracks("a", "local") == {"drums", "bass"}
    assert await submissions.removed_tracks("a", "somebody") == frozenset()
    assert await submissions.removed_tracks("none", "local") == frozenset()


async def test_one_of_twenty_removes_a_track(store, submissions):
    """However many remove it at once, one of them did."""
    await submit(store, status=COMPLETED)
    removed = await asyncio.gather(*(submissions.remove_track("a", "local", "drums") for _ in range(20)))
    assert sum(removed) == 1


async def test_a_track_is_wanted_as_long_as_somebody_wants_it(store, submissions):
    """Its file may go once each of those who claim the job has removed it, or claims it no more."""
    await submit(store, "a", "mine")
    await submit(store, "x", "again")
    await submit(store, "x", "theirs", subject="somebody")
    assert await submissions.is_wanted("a", "drums")
    await submissions.remove_track("a", "local", "drums")
    assert await submissions.is_wanted("a", "drums")
    await submissions.remove_track("a", "somebody", "drums")
    assert not await submissions.is_wanted("a", "drums")
    assert await submissions.is_wanted("a", "bass")
    await submissions.remove_track("a", "local", "bass")
    await end(store)
    await submissions.drop_claims(SONG, "somebody")
    assert not await submissions.is_wanted("a", "bass")
    assert await submissions.is_wanted("a", "vocals")
    assert not await submissions.is_wanted("none", "vocals")


async def test_dropping_gives_what_nobody_claims(store, submissions):
    """A job goes with the last who claims it; other songs stay; dropping again is nothing."""
    await submit(store, "a", "mine", status=COMPLETED)
    await submit(store, "x", "theirs", subject="somebody")
    await submit(store, "b", "alone", fingerprint="g", status=FAILED)
    await submit(store, "c", "other", content=OTHER_SONG, fingerprint="h", status=COMPLETED)
    assert await submissions.drop_claims(SONG, "local") == ["b"]
    assert await submissions.jobs_of(SONG, "local") == []
    assert await submissions.drop_claims(SONG, "local") == []
    assert [job.id for job in await submissions.unclaimed(JobKind.SEPARATE, 9)] == ["b"]
    assert await submissions.drop_claims(SONG, "somebody") == ["a"]
    assert [job.id for job in await submissions.unclaimed(JobKind.SEPARATE, 9)] == ["a", "b"]
    assert [job.id for job in await submissions.unclaimed(JobKind.SEPARATE, 1)] == ["a"]
    assert await submissions.unclaimed(JobKind.HLS, 9) == []
    assert [job.id for job in await submissions.jobs_of(OTHER_SONG, "local")] == ["c"]


async def test_dropping_what_one_model_made(store, submissions):
    """What other models made of the song stays claimed."""
    await submit(store, "a", "one", status=COMPLETED)
    await submit(store, "b", "two", fingerprint="g", model="other", status=COMPLETED)
    assert await submissions.drop_claims(SONG, "local", "other") == ["b"]
    assert [job.id for job in await submissions.jobs_of(SONG, "local")] == ["a"]


async def test_what_waits_or_runs_stays_claimed(store, submissions):
    """Who drops a song at the moment that somebody asks for it anew takes nothing from them."""
    await submit(store, "a", "one", status=COMPLETED)
    await submit(store, "b", "two", fingerprint="g")
    assert await submissions.drop_claims(SONG, "local") == ["a"]
    await store.claim(KINDS)
    assert await submissions.drop_claims(SONG, "local") == []
    assert [job.id for job in await submissions.jobs_of(SONG, "local")] == ["b"]


async def test_what_nobody_claims_answers_nobody(store, submissions):
    """Its files are on their way out, so who asks now gets a job of their own."""
    await submit(store, status=COMPLETED)
    await submissions.drop_claims(SONG, "local")
    assert (await submit(store, "b", "two"))[0].id == "b"
    assert (await store.remove("a")).id == "a"
    assert [job.id for job in await submissions.jobs_of(SONG, "local")] == ["b"]


async def test_everything_goes_with_its_job(store, submissions, tmp_path):
    """A job that is removed leaves no claim, no removed track, no webhook and no try behind."""
    await submit(store, callback_url="http://example.com/hook", status=COMPLETED)
    await submissions.remove_track("a", "local", "drums")
    (message,) = await store.outbox.due(NOW, (), 1)
    tried = {"due_at": message.next_at, "at": NOW, "seconds": 1.0, "status": 500, "error": None, "state": "waiting"}
    await store.outbox.record(message.id, **tried, failures=1, next_at=NOW + 5)
    tables = ("submissions", "removed_tracks", "outbox", "deliveries")
    assert [count(tmp_path / "jobs.db", table) for table in tables] == [1, 1, 1, 1]
    await store.remove("a")
    assert [count(tmp_path / "jobs.db", table) for table in tables] == [0, 0, 0, 0]
    await store.outbox.record(message.id, **tried, failures=1, next_at=NOW + 5)  # it was under way
    assert [count(tmp_path / "jobs.db", table) for table in tables] == [0, 0, 0, 0]


# Retention


async def test_what_was_asked_for_lately_is_kept(store, submissions):
    """A result's days begin anew with each who asks for it."""
    await submit(store, "a", "one", status=COMPLETED)
    await submit(store, "b", "two", fingerprint="g", status=COMPLETED)
    assert [job.id for job in await store.ended_before(NOW + 1, 9)] == ["a", "b"]
    await submit(store, "x", "again", created_at=NOW + 1)
    assert [job.id for job in await store.ended_before(NOW + 1, 9)] == ["b"]
    assert not await store.retire("a", NOW + 1)
    assert await store.retire("b", NOW + 1)
    assert [job.id for job in await submissions.jobs_of(SONG, "local")] == ["a"]
    assert [job.id for job in await store.ended_before(NOW + 2, 9)] == ["a", "b"]
    assert await store.retire("none", NOW)


async def test_what_has_not_ended_does_not_retire(store, submissions):
    """Work that goes on is claimed by those who asked for it, however long ago."""
    await submit(store)
    assert not await store.retire("a", NOW + 9)
    await store.claim(KINDS)
    assert not await store.retire("a", NOW + 9)
    assert await submissions.name_of("a", "local") == "one.mp3"


async def test_who_asks_while_an_old_result_goes_gets_a_new_one(store, submissions):
    """From the moment that retention takes the files, the job answers nobody any more."""
    await submit(store, status=COMPLETED)
    asked = []

    async def never(_assignment):
        raise AssertionError("nothing runs here")

    async def discard(_job):
        asked.append(await submit(store, "b", "two", created_at=NOW + 2 * DAY_SECONDS))

    works = {JobKind.SEPARATE: Work(run=never, discard=discard)}
    retention = Retention(store, works, days=1, is_running=lambda _id: False)
    await retention.remove_old(NOW + 2 * DAY_SECONDS)
    assert [(job.id, written) for job, written in asked] == [("b", True)]
    assert [job.id for job in await submissions.jobs_of(SONG, "local")] == ["b"]
    assert await store.get("a") is None
