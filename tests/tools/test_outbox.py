"""The outbox: a webhook is owed by the commit that ends its job, and what was tried is never forgotten."""

import asyncio
import sqlite3

import pytest
from support.jobs import LEASE_SECONDS, NOW, SONG, Clock, make_job, make_store, make_submission, meddle

from streamsrv.errors import DiskFull
from streamsrv.jobs.job import JobKind, JobStatus
from streamsrv.jobs.outbox import Delivery, OutboxStore
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.submissions import Submission

KINDS = [JobKind.SEPARATE]
TRACKS = [{"name": "vocals", "file": "a/1/vocals.mp3"}, {"name": "é", "clipped": 0}]
PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = JobStatus


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[SqliteJobStore])
def new_store(request, tmp_path, clock):
    """Make store objects that share what they keep."""
    limits = {"clock": clock, "max_attempts": 1, "max_restarts": 0}
    return lambda: make_store(tmp_path / "jobs.db", store_class=request.param, **limits)


@pytest.fixture
async def store(new_store):
    async with new_store() as store:
        yield store


@pytest.fixture
def outbox(store) -> OutboxStore:
    return store.outbox


def owing(name: str = "one", **changes) -> Submission:
    """One that named an address."""
    values = {"model_reason": "there was no other", "callback_url": "http://Example.com:81/hook?x=1"}
    return make_submission(name, **(values | changes))


async def submit(store, job_id="a", name=None, *, accepted_at=NOW, **changes):
    job = make_job(job_id, kind=JobKind.SEPARATE, fingerprint=f"of {job_id}", accepted_at=accepted_at)
    return await store.submissions.submit(job, owing(name or job_id, **changes))


async def owe(store, *job_ids, **changes):
    """Let jobs end whose webhooks are owed from now on, and give the ids of these."""
    for job_id in job_ids:
        await submit(store, job_id, **changes)
        await store.finish(await store.claim(KINDS), COMPLETED)
    return [f"msg_{job_id}" for job_id in job_ids]


async def due(outbox, now=NOW, busy=(), limit=9):
    return [message.id for message in await outbox.due(now, busy, limit)]


async def record(outbox, message_id, *, at=NOW, status=500, error=None, state="waiting", failures=1, next_at=None):
    """Note a try of what was due when this is called."""
    stands = {message.id: message.next_at for message in await outbox.messages_of(SONG, "local")}
    tried = {"due_at": stands.get(message_id), "at": at, "seconds": 0.5, "status": status, "error": error}
    await outbox.record(message_id, **tried, state=state, failures=failures, next_at=next_at)


# What is owed


async def test_a_message_says_all_that_there_is_to_say(store, outbox, clock):
    """It has its submission and its job as they are, result and error included."""
    await submit(store)
    clock.now += 5
    done = await store.finish(await store.claim(KINDS), COMPLETED, result={"tracks": TRACKS})
    (message,) = await outbox.due(clock.now, (), 9)
    assert (message.id, message.url, message.host) == (
        "msg_a",
        "http://Example.com:81/hook?x=1",
        "example.com:81",
    )
    assert (message.state, message.failures, message.next_at) == ("waiting", 0, clock.now)
    assert message.submission == owing("a")
    assert message.job == done
    assert message.job.result["tracks"] == TRACKS
    assert await outbox.messages_of(SONG, "local") == [message]


async def finish_cancelled(store, lease):
    await store.request_cancel("a")
    await store.finish(lease, COMPLETED)


ENDS = {
    "completed": (COMPLETED, lambda store, lease: store.finish(lease, COMPLETED)),
    "failed": (FAILED, lambda store, lease: store.finish(lease, FAILED, error="no")),
    "cancelled": (CANCELLED, lambda store, lease: store.finish(lease, CANCELLED)),
    "cancelled meanwhile": (CANCELLED, finish_cancelled),
    "released": (FAILED, lambda store, lease: store.release(lease, "no")),
    "recovered": (FAILED, lambda store, lease: store.recover()),
}


@pytest.mark.parametrize("end", ENDS)
async def test_whichever_way_a_job_ends_its_webhooks_are_owed(store, outbox, end):
    """Each submission that named an address is owed one, with the status that the job has now."""
    for name in ("one", "two", "three"):
        await submit(store, "a", name)
    await submit(store, "a", "quiet", callback_url=None)
    status, finish = ENDS[end]
    lease = await store.claim(KINDS)
    assert await outbox.messages_of(SONG, "local") == []
    await finish(store, lease)
    messages = await outbox.messages_of(SONG, "local")
    assert [message.id for message in messages] == ["msg_one", "msg_two", "msg_three"]
    assert {message.job.status for message in messages} == {status}
    assert [message.job for message in messages] == [await store.get("a")] * 3


async def test_other_ends_owe_webhooks_too(store, outbox, clock):
    """A lease that ran out, an upload that didn't arrive, a job that was cancelled while it waited."""
    await submit(store, "expired")
    await store.claim(KINDS)
    clock.now += LEASE_SECONDS + 1
    await store.expire()
    await submit(store, "refused", accepted_at=None)
    await store.refuse("refused", "The upload ended early")
    await submit(store, "cancelled")
    await store.request_cancel("cancelled")
    await submit(store, "lost", accepted_at=None)
    await store.recover()
    messages = await outbox.messages_of(SONG, "local")
    assert {message.job.id: message.job.status for message in messages} == {
        "expired": FAILED,
        "refused": FAILED,
        "cancelled": CANCELLED,
        "lost": FAILED,
    }
    assert [message.next_at for message in messages] == [message.job.completed_at for message in messages]


async def test_a_job_that_waits_again_owes_nothing_yet(store, outbox):
    """Only an end is told; a server that stops in between is none."""
    await submit(store)
    await store.put_back(await store.claim(KINDS))
    await store.claim(KINDS)
    await store.request_cancel("a")
    assert await outbox.messages_of(SONG, "local") == []
    assert await outbox.next_due(()) is None


async def test_who_asks_after_the_end_is_told_at_once(store, outbox):
    """A submission that a completed job answers is owed its webhook by the commit that claims it, and only its own."""
    await owe(store, "a")
    await submit(store, "a", "late", created_at=NOW + 60)
    await submit(store, "a", "quiet", callback_url=None)
    messages = await outbox.messages_of(SONG, "local")
    assert [(message.id, message.next_at) for message in messages] == [("msg_a", NOW), ("msg_late", NOW + 60)]
    assert messages[0].job == messages[1].job


async def test_an_end_that_was_not_written_owes_nothing(store, outbox):
    """End and webhook are one commit: on a full disk there is neither, and later there are both."""
    await submit(store, origin="x" * 10_000)
    lease = await store.claim(KINDS)
    await meddle(store, "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.outbox BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        await store.finish(lease, COMPLETED)
    assert (await store.get("a")).status is PROCESSING
    await meddle(store, "DROP TRIGGER refuse")
    await meddle(store, "PRAGMA max_page_count = 1")
    with pytest.raises(DiskFull):
        await store.finish(lease, COMPLETED, result={"tracks": "x" * 1_000_000})
    assert ((await store.get("a")).status, await due(outbox)) == (PROCESSING, [])
    await meddle(store, "PRAGMA max_page_count = 1000000")
    await store.finish(lease, COMPLETED)
    assert await due(outbox) == ["msg_a"]


async def test_what_is_owed_outlives_the_server(new_store):
    """A server that comes after a killed one finds each message once, with what was tried."""
    killed = new_store()
    await killed.open()
    try:
        await owe(killed, "a", "b")
        await submit(killed, "c")
        await killed.claim(KINDS)
        await record(killed.outbox, "msg_a", next_at=NOW + 5)
        await record(killed.outbox, "msg_b", status=200, state="delivered", failures=0)
        async with new_store() as store:  # the other one never gets to close
            await store.recover()  # past its restarts
            messages = await store.outbox.messages_of(SONG, "local")
            assert [(message.id, message.state) for message in messages] == [
                ("msg_a", "waiting"),
                ("msg_b", "delivered"),
                ("msg_c", "waiting"),
            ]
            assert [len(message.deliveries) for message in messages] == [1, 1, 0]
    finally:
        await killed.close()


# What is due


async def test_due_is_what_waits_and_whose_time_has_come(store, outbox):
    """Neither what comes later, nor what was delivered or given up; the longest due comes first."""
    for name in "abcd":
        await owe(store, name, callback_url=f"http://{name}.example/")
    await record(outbox, "msg_a", next_at=NOW + 9)
    await record(outbox, "msg_b", next_at=NOW + 5)
    await record(outbox, "msg_c", status=200, state="delivered", failures=0)
    await record(outbox, "msg_d", state="gave up")
    assert await outbox.next_due(()) == NOW + 5
    assert await due(outbox, NOW + 4) == []
    assert await due(outbox, NOW + 5) == ["msg_b"]
    assert await due(outbox, NOW + 9) == ["msg_b", "msg_a"]
    assert await due(outbox, NOW + 9, limit=1) == ["msg_b"]


async def test_hosts_take_turns(store, outbox):
    """Of each host the longest due is given, and nothing of a busy one: a thousand for one host hold up no other."""
    await owe(store, *(str(number) for number in range(20)), callback_url="http://slow.example/")
    await owe(store, "other", callback_url="http://OTHER.example/x")
    await owe(store, "port", callback_url="http://other.example:81/")
    await record(outbox, "msg_0", next_at=NOW + 1)
    assert set(await due(outbox, NOW + 1)) == {"msg_1", "msg_other", "msg_port"}
    assert set(await due(outbox, NOW + 1, {"slow.example"})) == {"msg_other", "msg_port"}
    assert await due(outbox, NOW + 1, {"slow.example", "other.example", "other.example:81"}) == []
    assert await outbox.next_due({"slow.example", "other.example", "other.example:81"}) is None
    assert await outbox.next_due({"other.example"}) == NOW


async def test_every_try_is_noted(store, outbox):
    """In the order in which they were recorded, each with its moment, its answer and its length."""
    await owe(store, "a", "b")
    await record(outbox, "msg_a", error="The connection broke off.", status=None, next_at=NOW + 5)
    await record(outbox, "msg_a", at=NOW + 5, failures=2, next_at=NOW + 30)
    await record(outbox, "msg_a", at=NOW + 30, status=204, state="delivered", failures=2)
    message, other = await outbox.messages_of(SONG, "local")
    assert (message.state, message.failures, message.next_at) == ("delivered", 2, None)
    assert message.deliveries == (
        Delivery(at=NOW, status=None, error="The connection broke off.", seconds=0.5),
        Delivery(at=NOW + 5, status=500, error=None, seconds=0.5),
        Delivery(at=NOW + 30, status=204, error=None, seconds=0.5),
    )
    assert other.deliveries == ()


@pytest.mark.parametrize(("state", "next_at"), [("waiting", None), ("delivered", NOW), ("gave up", NOW), ("x", None)])
async def test_what_waits_has_its_time_and_nothing_else_has(store, outbox, state, next_at):
    """A state that doesn't go with its time is refused, and the try isn't noted either."""
    await owe(store, "a")
    with pytest.raises(sqlite3.IntegrityError):
        await record(outbox, "msg_a", state=state, next_at=next_at)
    (message,) = await outbox.messages_of(SONG, "local")
    assert (message.state, message.deliveries) == ("waiting", ())


@pytest.mark.parametrize(("state", "next_at"), [("waiting", NOW + 99), ("delivered", None), ("gave up", None)])
async def test_a_message_is_sent_again(store, outbox, state, next_at):
    """Whatever became of it, it is due at once, begins anew, and keeps its id and what was tried."""
    await owe(store, "a")
    await record(outbox, "msg_a", state=state, failures=7, next_at=next_at)
    assert await outbox.replay("msg_a", NOW + 50)
    (message,) = await outbox.due(NOW + 50, (), 9)
    assert (message.id, message.state, message.failures, message.next_at) == ("msg_a", "waiting", 0, NOW + 50)
    assert len((await outbox.messages_of(SONG, "local"))[0].deliveries) == 1
    assert not await outbox.replay("msg_none", NOW)


@pytest.mark.parametrize(("state", "next_at"), [("waiting", NOW + 99), ("delivered", None), ("gave up", None)])
async def test_a_try_that_was_under_way_undoes_no_replay(store, outbox, state, next_at):
    """What is sent again while it is tried is due again, whatever comes of that try, which is noted."""
    await owe(store, "a")
    (tried,) = await outbox.due(NOW, (), 9)
    assert await outbox.replay("msg_a", NOW + 5)
    outcome = {"at": NOW, "seconds": 15.0, "status": 500, "error": None, "state": state, "failures": 8}
    await outbox.record("msg_a", due_at=tried.next_at, next_at=next_at, **outcome)
    (message,) = await outbox.due(NOW + 5, (), 9)
    assert (message.state, message.failures, message.next_at) == ("waiting", 0, NOW + 5)
    assert len((await outbox.messages_of(SONG, "local"))[0].deliveries) == 1


async def test_messages_are_their_subjects_own(store, outbox):
    """Nobody is shown where somebody else's webhooks go."""
    await submit(store, "a", "mine")
    await submit(store, "a", "theirs", subject="somebody")
    await store.finish(await store.claim(KINDS), COMPLETED)
    assert [message.id for message in await outbox.messages_of(SONG, "somebody")] == ["msg_theirs"]
    assert [message.id for message in await outbox.messages_of("b" * 64, "local")] == []


async def test_who_drops_a_song_is_told_nothing_any_more(store, outbox):
    """Its webhooks go with the claim; those of others stay."""
    await submit(store, "a", "mine")
    await submit(store, "a", "theirs", subject="somebody", callback_url="http://their.example/")
    await store.finish(await store.claim(KINDS), COMPLETED)
    await store.submissions.drop_claims(SONG, "local")
    assert await due(outbox) == ["msg_theirs"]


# Waking


async def woken(outbox):
    """Has a message been announced since the last time this was asked?"""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await outbox.wait(2.0)
    return loop.time() - began < 1.5


async def test_whoever_delivers_is_woken(store, outbox):
    """By the commit that ends a job, by a claim on what has ended, by a replay; not by a job that only goes on."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiter = group.create_task(outbox.wait(60))
        await owe(store, "a")
    assert waiter.done()
    await woken(outbox)
    await submit(store, "a", "late")
    assert await woken(outbox)
    await outbox.replay("msg_a", NOW)
    assert await woken(outbox)
    await submit(store, "b")
    await store.claim(KINDS)
    assert not await woken(outbox)
    await store.recover()
    assert await woken(outbox)
