"""What only the SQLite job store promises: opening, damage, a full disk, and the graph inside the file."""

import asyncio
import re
import sqlite3
import threading
from contextlib import suppress
from itertools import product

import pytest
from support.jobs import make_job, make_store, make_submission, meddle

from streamsrv.errors import DiskFull, InternalError
from streamsrv.jobs.job import JobKind, JobStatus
from streamsrv.jobs.queries import load_queries, load_schema
from streamsrv.jobs.rows import job_values
from streamsrv.jobs.schema import UnusableDatabase


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture(autouse=True)
def no_thread_left():
    """After every test each connection's thread has ended; one that lives would hang the exit."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


async def fill(path, jobs=200):
    async with make_store(path) as store:
        for number in range(jobs):
            await store.submit(make_job(f"job-{number}", title="x" * 500))


async def make_newer(path):
    await fill(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


async def make_garbage(path):
    path.write_bytes(b"This is not a database. " * 1000)


async def make_truncated(path):
    await fill(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


async def make_overwritten(path):
    await fill(path)
    data = bytearray(path.read_bytes())
    data[8192:40960] = b"\xa5" * 32768
    path.write_bytes(data)


async def make_foreign(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE jobs (something)")
    connection.close()


async def make_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    "make",
    [make_newer, make_garbage, make_truncated, make_overwritten, make_foreign, make_folder],
    ids=lambda f: f.__name__,
)
async def test_a_database_that_cannot_be_used_gives_one_clear_error(path, make):
    """Newer, damaged or foreign: one line that names the file, and nothing is left open."""
    await make(path)
    store = make_store(path)
    with pytest.raises(UnusableDatabase) as raised:
        await store.open()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    if make is make_newer:
        assert "newer version" in str(raised.value)
    with pytest.raises(RuntimeError, match="not open"):
        await store.get("a")


async def test_a_missing_folder_is_a_clear_error(tmp_path):
    """The folder is made by whoever starts the server, not here."""
    with pytest.raises(UnusableDatabase):
        await make_store(tmp_path / "none" / "jobs.db").open()


async def test_several_stores_may_share_a_file(path):
    """What one writes the others read."""
    stores = [make_store(path) for _ in range(3)]
    try:
        await stores[0].open()
        await asyncio.gather(*(store.open() for store in stores[1:]))
        await stores[0].submit(make_job())
        assert await stores[2].get("a") is not None
    finally:
        for store in stores:
            await store.close()


async def test_closing_twice_and_cancelled_opening_leave_nothing_open(path):
    """close() may be called again, and an open() that is cancelled at any point closes what it had opened."""
    async with make_store(path) as store:
        await store.close()
    for steps in range(40):
        store = make_store(path)
        opening = asyncio.ensure_future(store.open())
        for _ in range(steps):
            await asyncio.sleep(0.0002)
        opening.cancel()
        await asyncio.wait({opening})
        await store.close()


async def test_readers_see_only_what_was_committed(path):
    """A read neither waits for a transaction that is under way nor sees any of it."""
    async with make_store(path) as store:
        async with asyncio.timeout(3), store._database.transaction() as transaction:
            await transaction.run("insert_job", job_values(make_job()))
            assert await store.get("a") is None
        assert await store.get("a") is not None


async def test_a_transaction_that_raises_leaves_nothing(path):
    """All of it or nothing."""
    async with make_store(path) as store:
        with suppress(ZeroDivisionError):
            async with store._database.transaction() as transaction:
                await transaction.run("insert_job", job_values(make_job()))
                raise ZeroDivisionError
        assert await store.get("a") is None
        await store.submit(make_job())


async def test_a_full_disk_is_said_and_passes(path):
    """No space is DiskFull, changes nothing, and work goes on once there is space again."""
    async with make_store(path) as store:
        await store.submit(make_job())
        await meddle(store, "PRAGMA max_page_count = 1")
        with pytest.raises(DiskFull):
            await store.submit(make_job("b", title="x" * 1_000_000))
        assert await store.get("b") is None
        await meddle(store, "PRAGMA max_page_count = 1000000")
        await store.submit(make_job("b", title="x" * 1_000_000))


async def test_a_failing_database_is_the_servers_own_fault(path):
    """What SQLite can't do is an InternalError, whatever it was."""
    async with make_store(path) as store:
        await meddle(store, "DROP TABLE segments")
        with pytest.raises(InternalError):
            await store.segments("a")


async def test_the_file_knows_the_graph_of_statuses(path):
    """No statement, not even a mistaken one, makes a move that JobStatus doesn't allow."""
    async with make_store(path) as store:
        connection = sqlite3.connect(path, isolation_level=None)
        for number, (before, after) in enumerate(product(JobStatus, JobStatus)):
            ended = 1.0 if before.ended else None
            job = make_job(str(number), status=before, accepted_at=1.0, completed_at=ended)
            values = job_values(job) | {"lease_token": "x" if before is JobStatus.PROCESSING else None}
            names = ", ".join(values)
            connection.execute(
                f"INSERT INTO jobs ({names}) VALUES ({', '.join(':' + name for name in values)})", values
            )
            move = (
                "UPDATE jobs SET status = :after, lease_token = iif(:after = 'Processing', 'x', NULL), "
                "completed_at = iif(:after IN ('Pending', 'Processing'), NULL, 1.0) WHERE id = :id"
            )
            made = True
            try:
                connection.execute(move, {"after": after, "id": job.id})
            except sqlite3.IntegrityError:
                made = False
            assert made == before.may_become(after), (before, after)
            found = await store.get(job.id)
            assert found is not None
            assert found.status is (after if made else before)
        connection.close()


# A row as version 1 wrote it, with its columns as they were then.
VERSION_1_ROW = {
    "id": "old",
    "kind": "hls",
    "subject": "local",
    "status": "Pending",
    "priority": 1,
    "title": "Song",
    "source_name": "song.mp3",
    "source": "old/source",
    "source_bytes": 5,
    "options": '{"codec": "aac"}',
    "result": "{}",
    "progress": 12.5,
    "created_at": 1.0,
    "accepted_at": 2.0,
    "attempt": 1,
    "failures": 0,
    "restarts": 0,
    "cancel_requested": 0,
    "discarded": 0,
    "revision": 7,
}


def make_version_1(path):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in load_schema()[0]:
        connection.execute(statement)
    names = ", ".join(VERSION_1_ROW)
    values = ", ".join(f":{name}" for name in VERSION_1_ROW)
    connection.execute(f"INSERT INTO jobs ({names}) VALUES ({values})", VERSION_1_ROW)
    connection.execute("INSERT INTO segments VALUES (1, 1, 'segment_00001.ts', 'old/1/1', 9, 'e', 6.0)")
    connection.close()


async def test_a_database_of_version_1_is_brought_up_to_date(path):
    """Its jobs and segments stay, work on them goes on, and what is new is there; opening again changes nothing."""
    make_version_1(path)
    for _ in range(2):
        async with make_store(path) as store:
            job = await store.get("old")
            assert job is not None
            assert (job.title, job.revision, job.progress, job.fingerprint) == ("Song", 7, 12.5, None)
            assert [segment.key for segment in await store.segments("old")] == ["old/1/1"]
    async with make_store(path) as store:
        lease = await store.claim([JobKind.HLS])
        assert lease is not None
        assert (await store.finish(lease, JobStatus.COMPLETED)).status is JobStatus.COMPLETED
        asked = make_job("new", accepted_at=1.0, fingerprint="f")
        assert await store.submit_once(asked) == await store.submit_once(asked.evolve(id="newer"))
        assert not await store.results.is_known("old/1/1")


VERSION_2_RESULT = {
    "key": "k",
    "kind": "extract",
    "subject": "local",
    "request": "{}",
    "facts": "{}",
    "file": "old.flac",
    "size": 9,
    "created_at": 1.0,
    "used_at": 2.0,
}


def make_version_2(path):
    make_version_1(path)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in load_schema()[1]:
        connection.execute(statement)
    connection.execute("UPDATE jobs SET fingerprint = 'f'")
    names, values = ", ".join(VERSION_2_RESULT), ", ".join(f":{name}" for name in VERSION_2_RESULT)
    connection.execute(f"INSERT INTO results ({names}) VALUES ({values})", VERSION_2_RESULT)
    connection.close()


async def test_a_database_of_version_2_is_brought_up_to_date(path):
    """Jobs, segments and results stay; a job of then can be claimed now, and its end owes the webhook."""
    make_version_2(path)
    for _ in range(2):
        async with make_store(path) as store:
            job = await store.get("old")
            assert job is not None
            assert (job.title, job.revision, job.fingerprint) == ("Song", 7, "f")
            assert [segment.key for segment in await store.segments("old")] == ["old/1/1"]
            result = await store.results.find("k")
            assert result is not None
            assert result.file == "old.flac"
            assert await store.submissions.name_of("old", "local") is None
    async with make_store(path) as store:
        submission = make_submission("s", callback_url="http://example.com/hook")
        assert await store.submissions.submit(make_job("new", fingerprint="f"), submission) == (job, False)
        lease = await store.claim([JobKind.HLS])
        assert lease is not None
        await store.finish(lease, JobStatus.COMPLETED)
        assert [message.id for message in await store.outbox.due(1e12, (), 9)] == ["msg_s"]


async def test_the_file_knows_what_is_owed(path):
    """Whatever statement ends a job, even a mistaken one, owes each webhook once, and names a song by its digest."""
    async with make_store(path) as store:
        await store.submissions.submit(
            make_job(fingerprint="f"), make_submission("s", callback_url="http://example.com/")
        )
        connection = sqlite3.connect(path, isolation_level=None)
        for status in ("Failed", "Failed"):
            connection.execute("UPDATE jobs SET status = ?, completed_at = 5.0", (status,))
        connection.close()
        (message,) = await store.outbox.messages_of("a" * 64, "local")
        assert (message.id, message.next_at) == ("msg_s", 5.0)
        with pytest.raises(sqlite3.IntegrityError):
            await store.submissions.submit(make_job("b", fingerprint="g"), make_submission("t", content="short"))
        assert await store.get("b") is None


async def test_the_file_holds_one_unfinished_job_for_each_request(path):
    """No statement, not even a mistaken one, writes a second job that waits or runs for the same request."""
    async with make_store(path) as store:
        await store.submit_once(make_job(fingerprint="f"))
        second = job_values(make_job("b", fingerprint="f"))
        with pytest.raises(sqlite3.IntegrityError):
            await store._database.change("insert_job", second)
        await store._database.change("insert_job", second | {"cancel_requested": 1})
        await store._database.change("insert_job", job_values(make_job("c")))


# Of a whole table; what another step has found before is short.
SCANNED = re.compile(r"SCAN (?!due\b|claims\b|newest\b|json_each\b|outbox USING )")


class Nulls(dict):
    """Nothing for every name."""

    def __missing__(self, name):
        return None


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("find_unfinished", "jobs_unfinished_once"),
        ("get_latest", "jobs_by_fingerprint"),
        ("list_unused_files", "results_by_use"),
        ("list_unused_files", "results_by_file"),
        ("use_file", "results_by_file"),
        ("forget_file", "results_by_file"),
        ("find_file", "results_by_file"),
        ("find_complete", "jobs_by_fingerprint"),
        ("find_complete", "submissions_by_job"),
        ("get_standing", "submissions_by_content"),
        ("get_standing_completed", "submissions_by_content"),
        ("list_jobs_of_content", "submissions_by_content"),
        ("get_submission", "submissions_by_job"),
        ("find_want", "submissions_by_job"),
        ("drop_claims", "submissions_by_content"),
        ("retire", "submissions_by_job"),
        ("find_claim", "submissions_by_job"),
        ("list_ended_before", "submissions_by_job"),
        ("list_messages", "submissions_by_content"),
        ("list_due_messages", "outbox_waiting"),
        ("list_deliveries", "deliveries_by_message"),
    ],
)
def test_what_is_asked_often_has_an_index(query, index):
    """A long history makes no request slow: rows are found, not searched for."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (statement for step in load_schema() for statement in step):
        connection.execute(statement)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {load_queries()[query]}", Nulls()).fetchall()
    steps = [row[3] for row in rows]
    assert any(index in step for step in steps)
    assert not any(SCANNED.match(step) for step in steps), steps
    connection.close()


def test_every_query_fits_the_schema():
    """Each named statement compiles on a database that the schema steps made from nothing."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (statement for step in load_schema() for statement in step):
        connection.execute(statement)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(load_schema()),)

    for name, statement in load_queries().items():
        assert sqlite3.complete_statement(statement), name
        if not statement.upper().lstrip("- ").startswith("PRAGMA") and "PRAGMA" not in statement:
            connection.execute(f"EXPLAIN {statement}", Nulls()).fetchall()
    connection.close()
