"""A segment that was looked up before comes from memory, and never outlives a change of its job."""

import asyncio

import pytest
from support.jobs import make_job, make_store

from streamsrv.jobs.job import JobStatus, Lease, Segment
from streamsrv.jobs.seen import SeenSegments
from streamsrv.jobs.sqlite import SqliteJobStore

NAME = "segment_00001.ts"


def make_segment(etag: str = "old", *, name: str = NAME) -> Segment:
    return Segment(number=int(name[8:13]), name=name, key=f"a/{etag}", size=9, etag=etag, seconds=6.0)


@pytest.fixture
async def store(tmp_path):
    async with make_store(tmp_path / "jobs.db") as store:
        yield store


async def publish(store: SqliteJobStore, segment: Segment) -> Lease:
    """Publish a segment of job "a" while its upload arrives, and look it up."""
    await store.submit(make_job())
    lease = await store.claim_upload("a")
    assert lease is not None
    await store.add_segments(lease, [segment])
    assert await store.segment("a", NAME) == segment
    return lease


async def test_the_second_look_needs_no_database(store, monkeypatch):
    """That is what it is for."""
    lease = await publish(store, make_segment())
    monkeypatch.setattr(store._database, "read", None)
    assert await store.segment("a", NAME) == make_segment()
    monkeypatch.undo()
    await store.put_back(lease)


async def test_segments_that_were_taken_back_are_not_found(store):
    """What an attempt publishes anew under an old name has other bytes."""
    lease = await publish(store, make_segment())
    await store.drop_segments(lease)
    assert await store.segment("a", NAME) is None
    await store.add_segments(lease, [make_segment("new")])
    assert await store.segment("a", NAME) == make_segment("new")


async def test_a_removed_job_has_no_segments(store):
    """Nor has the next job of its id."""
    lease = await publish(store, make_segment())
    await store.finish(lease, JobStatus.FAILED, error="no")
    assert await store.segment("a", NAME) == make_segment()
    await store.remove("a")
    assert await store.segment("a", NAME) is None
    await store.submit(make_job())
    assert await store.segment("a", NAME) is None


async def test_an_upload_that_replaces_a_failed_one_starts_empty(store):
    """The failed one's segments go with it."""
    await publish(store, make_segment())
    await store.refuse("a", "The upload ended early")
    assert await store.segment("a", NAME) == make_segment()
    await store.mark_discarded("a")
    assert await store.segment("a", NAME) is None
    await store.submit(make_job())
    assert await store.segment("a", NAME) is None


async def test_what_was_read_before_a_change_is_not_kept_after_it(store):
    """A look and a change that overlap can end in either order."""
    lease = await publish(store, make_segment())
    for _ in range(20):
        await asyncio.gather(*(store.segment("a", NAME) for _ in range(3)), store.drop_segments(lease))
        assert await store.segment("a", NAME) is None
        await store.add_segments(lease, [make_segment()])


def test_only_the_changed_job_is_forgotten():
    """Other jobs' segments stay at hand."""
    seen = SeenSegments(10)
    for job_id in ("a", "b"):
        seen.keep(job_id, make_segment(), since=seen.changes)
    seen.forget("a")
    assert seen.find("a", NAME) is None
    assert seen.find("b", NAME) == make_segment()


def test_a_read_that_began_before_a_change_is_not_kept():
    """Nobody knows whether it saw the change."""
    seen = SeenSegments(10)
    since = seen.changes
    seen.forget("a")
    seen.keep("a", make_segment(), since=since)
    assert seen.find("a", NAME) is None


def test_no_more_are_kept_than_allowed():
    """Memory is bounded, whatever clients ask for and in whatever order jobs change."""
    seen = SeenSegments(10)
    for number in range(1, 200):
        if number % 7 == 0:
            seen.forget(f"{number % 3}")
        seen.keep(f"{number % 3}", make_segment(name=f"segment_{number % 40:05}.ts"), since=seen.changes)
        assert seen._kept == sum(map(len, seen._jobs.values())) <= 10
