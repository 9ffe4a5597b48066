"""Results: what was made for which request, how long ago it was used, and what happens when the disk is full."""

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from support.jobs import NOW, make_job, make_store, meddle

from streamsrv.errors import DiskFull, InternalError
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.results import SECONDS_BETWEEN_NOTES, Result, ResultStore, SqliteResults


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
async def store(path):
    async with make_store(path) as store:
        yield store


@pytest.fixture
def results(store) -> ResultStore:
    return store.results


def make_result(key: str = "k", **changes) -> Result:
    values: dict[str, Any] = {
        "kind": JobKind.EXTRACT,
        "subject": "local",
        "request": {"video_files": ["file:///film.mp4"], "deep": {"list": [1, None]}},
        "cursor": "next",
        "facts": {"duration_seconds": 29.5},
        "file": f"{key}.flac",
        "size": 9,
        "created_at": NOW,
        "used_at": NOW,
    }
    return Result(key=key, **(values | changes))


async def used_at(results, key="k") -> float:
    return (await results.find(key)).used_at


class Uses:
    """Counts the uses of files that the database really wrote."""

    def __init__(self, store) -> None:
        self._run = store._database._writer.execute_fetchall

    async def start(self):
        await self._run("CREATE TEMP TABLE uses (file)")
        await self._run(
            "CREATE TEMP TRIGGER count_use AFTER UPDATE OF used_at ON main.results "
            "BEGIN INSERT INTO uses VALUES (NEW.file); END"
        )

    async def count(self) -> int:
        return len(list(await self._run("SELECT file FROM uses")))


@pytest.fixture
async def uses(store):
    uses = Uses(store)
    await uses.start()
    return uses


# Recording


async def test_what_was_recorded_is_found(results):
    """Every field of a result survives, with and without a cursor."""
    first, last = make_result(), make_result("é", cursor=None, facts={}, size=0, created_at=1.5)
    assert await results.record(first) == first
    assert await results.record(last) == last
    assert (await results.find("k"), await results.find("é")) == (first, last)
    assert await results.find("none") is None


async def test_a_result_that_is_made_again_replaces_the_first(results):
    """The same key names one result: the last one, which exists since the first."""
    await results.record(make_result())
    other = make_result(
        kind=JobKind.HLS,
        subject="somebody",
        request={},
        cursor=None,
        facts={"x": 1},
        file="other.flac",
        size=7,
        created_at=NOW + 5,
        used_at=NOW + 5,
    )
    written = await results.record(other)
    assert written == replace(other, created_at=NOW)
    assert await results.find("k") == written
    assert (await results.is_known("k.flac"), await results.is_known("other.flac")) == (False, True)


async def test_results_outlive_the_server(path):
    """What was recorded is there after the store was opened again, whatever becomes of the jobs."""
    async with make_store(path) as store:
        await store.submit_once(make_job(kind=JobKind.EXTRACT, fingerprint="f"))
        await store.results.record(make_result())
        await store.request_cancel("a")
        await store.remove("a")
    async with make_store(path) as store:
        assert await store.results.find("k") == make_result()


async def test_only_json_is_recorded(results):
    """What JSON doesn't have is refused and changes nothing."""
    with pytest.raises(TypeError):
        await results.record(make_result(facts={"x": object()}))
    with pytest.raises(ValueError, match="JSON"):
        await results.record(make_result(request={"x": float("nan")}))
    assert await results.find("k") is None


async def test_many_at_once_record_one_result(results):
    """However many make the same at the same time, one of theirs is found, whole."""
    made = [make_result(file=f"{number}.flac", size=number) for number in range(50)]
    await asyncio.gather(*(results.record(result) for result in made))
    assert await results.find("k") in made
    assert sum([await results.is_known(result.file) for result in made]) == 1


async def test_a_caller_that_went_away_has_recorded(results):
    """A change whose caller is cancelled runs to its end."""
    async with asyncio.timeout(3), asyncio.TaskGroup() as group:
        caller = group.create_task(results.record(make_result()))
        await asyncio.sleep(0)
        caller.cancel()
    assert caller.cancelled()
    assert await results.find("k") == make_result()


# Using


async def test_a_use_counts_for_all_results_of_a_file(results):
    """A file that several requests share is used by each of them, and no other file is."""
    for key, file in {"a": "one", "b": "one", "c": "two"}.items():
        await results.record(make_result(key, file=file))
    await results.use("one", NOW + 60)
    assert [await used_at(results, key) for key in "abc"] == [NOW + 60, NOW + 60, NOW]


async def test_a_use_is_written_once_an_hour(results, uses):
    """A file that is fetched all the time costs one write an hour."""
    await results.record(make_result())
    for seconds in (1.0, 2.0, SECONDS_BETWEEN_NOTES):
        await results.use("k.flac", NOW + seconds)
        assert await used_at(results) == NOW + 1
    await results.use("k.flac", NOW + 1 + SECONDS_BETWEEN_NOTES)
    assert await used_at(results) == NOW + 1 + SECONDS_BETWEEN_NOTES
    assert await uses.count() == 2


async def test_uses_at_the_same_time_are_one_write(results, uses):
    """Fifty who begin to listen at once cost one write."""
    await results.record(make_result())
    await asyncio.gather(*(results.use("k.flac", NOW + number / 1000) for number in range(50)))
    assert await uses.count() == 1


async def test_a_clock_that_was_set_back_counts(results):
    """A time before the last one is written, so that a wrong clock doesn't keep a file from being noted."""
    await results.record(make_result())
    await results.use("k.flac", NOW + 10 * SECONDS_BETWEEN_NOTES)
    await results.use("k.flac", NOW + 60)
    assert await used_at(results) == NOW + 60


async def test_a_result_that_is_new_is_noted_anew(results):
    """What was remembered of a file doesn't hold for results that were recorded or forgotten since."""
    await results.record(make_result())
    await results.use("k.flac", NOW + 1)
    await results.record(make_result("second", file="k.flac", used_at=NOW - 1000))
    await results.use("k.flac", NOW + 2)
    assert await used_at(results, "second") == NOW + 2
    await results.forget("k.flac", NOW + 1)
    await results.record(make_result())
    await results.use("k.flac", NOW + 3)
    assert await used_at(results) == NOW + 3


async def test_a_file_without_results_is_not_remembered(results):
    """A use of what isn't known yet leaves nothing behind that would hide a later one."""
    await results.use("k.flac", NOW)
    assert not await results.is_known("k.flac")
    await results.record(make_result(used_at=NOW - 9))
    await results.use("k.flac", NOW + 1)
    assert await used_at(results) == NOW + 1


async def test_what_is_remembered_is_bounded(store, uses):
    """Only so many files are remembered; of one that was pushed out the next use is written again."""
    results = SqliteResults(store._database, remembered_files=2)
    for key in "abc":
        await results.record(make_result(key, file=key))
    for file in "abca":
        await results.use(file, NOW + 1)
    assert await uses.count() == 4
    await results.use("c", NOW + 1)
    await results.use("a", NOW + 1)
    assert await uses.count() == 4
    await results.use("c", NOW + 1 + SECONDS_BETWEEN_NOTES)  # c is noted anew, so a is the one to go
    await results.use("b", NOW + 1 + SECONDS_BETWEEN_NOTES)
    await results.use("c", NOW + 2 + SECONDS_BETWEEN_NOTES)
    assert await uses.count() == 6


# Forgetting


async def test_unused_files_are_those_none_of_whose_results_was_used(results):
    """One result that was used keeps its file; the one that was unused for longest comes first."""
    for key, file, used in [
        ("a", "kept", NOW - 900),
        ("b", "kept", NOW),
        ("c", "lately", NOW - 100),
        ("d", "z-long", NOW - 300),
        ("e", "z-long", NOW - 200),
        ("f", "edge", NOW - 50),
    ]:
        await results.record(make_result(key, file=file, used_at=used))
    assert list(await results.unused_files(NOW - 50, 9)) == ["z-long", "lately"]
    assert list(await results.unused_files(NOW - 50, 1)) == ["z-long"]
    assert list(await results.unused_files(NOW - 200, 9)) == []
    await results.use("z-long", NOW + 1)
    assert list(await results.unused_files(NOW - 50, 9)) == ["lately"]


async def test_a_file_in_use_is_not_forgotten(results):
    """One result that was used since the moment keeps all of them."""
    for key, used in {"a": NOW - 100, "b": NOW - 10}.items():
        await results.record(make_result(key, file="one", used_at=used))
    assert not await results.forget("one", NOW - 50)
    assert await results.find("a") is not None
    assert await results.forget("one", NOW)
    assert await results.find("b") is None


async def test_sizes_are_summed_up_by_file(results):
    """A file that several results are in counts once."""
    assert await results.total_bytes() == 0
    for key, file, size in [("a", "one", 10), ("b", "one", 10), ("c", "two", 5)]:
        await results.record(make_result(key, file=file, size=size))
    assert await results.total_bytes() == 15


async def test_a_forgotten_file_has_no_results(results):
    """All results of the file go, those of others stay; forgetting again is nothing."""
    for key, file in {"a": "one", "b": "one", "c": "two"}.items():
        await results.record(make_result(key, file=file))
    for _ in range(2):
        await results.forget("one", NOW + 1)
        assert [await results.find(key) is not None for key in "abc"] == [False, False, True]
        assert (await results.is_known("one"), await results.is_known("two")) == (False, True)
    assert list(await results.unused_files(NOW + 1, 9)) == ["two"]


# Failing


async def fill_disk(store):
    """Let the file grow no more."""
    await meddle(store, "PRAGMA max_page_count = 1")


async def make_room(store):
    await meddle(store, "PRAGMA max_page_count = 1000000")


async def test_a_full_disk_is_said_and_passes(store, results):
    """No space is DiskFull, changes nothing, and goes on once there is space again."""
    await results.record(make_result())
    await fill_disk(store)
    big = make_result("big", facts={"x": "x" * 1_000_000})
    with pytest.raises(DiskFull):
        await results.record(big)
    assert (await results.find("big"), await results.is_known("big.flac")) == (None, False)
    assert await results.find("k") == make_result()
    await make_room(store)
    assert await results.record(big) == big


async def test_a_use_that_was_not_written_is_not_remembered(store, results):
    """After a use could not be written the next one is."""
    await results.record(make_result())
    await meddle(store, "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON main.results BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        await results.use("k.flac", NOW + 1)
    await meddle(store, "DROP TRIGGER refuse")
    await results.use("k.flac", NOW + 2)
    assert await used_at(results) == NOW + 2


async def test_a_failing_database_is_the_servers_own_fault(store, results):
    """What SQLite can't do is an InternalError, whatever it was."""
    await meddle(store, "DROP TABLE results")
    for call in (results.find("k"), results.record(make_result()), results.use("k", NOW), results.forget("k", NOW)):
        with pytest.raises(InternalError):
            await call


async def test_results_are_there_while_the_store_is_open(path):
    """Before and after, a call is a mistake that is told."""
    store = make_store(path)
    with pytest.raises(RuntimeError, match="not open"):
        await store.results.find("k")
    async with store:
        await store.results.record(make_result())
    with pytest.raises(RuntimeError, match="not open"):
        await store.results.record(make_result())
