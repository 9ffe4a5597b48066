"""Results: each file under the SHA-256 of its bytes, found again by what it answers, removed when nobody asks."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.jobs import Clock, make_store

from streamsrv.extract.archive import Archive, digest_in, file_name
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.storage.local import LocalStorage

DAY = 86400.0


class Place:
    """An archive on a disk and a database of its own."""

    def __init__(self, folder: Path, store: SqliteJobStore) -> None:
        self.folder = folder
        self.clock = Clock()
        self.storage = LocalStorage(folder)
        self.store = store

    def archive(self, days: float = 7.0, max_bytes: int = 1 << 30) -> Archive:
        return Archive(self.storage, self.store.results, days=days, max_bytes=max_bytes, clock=self.clock)

    async def keep(self, key: str, body: bytes) -> str:
        """Keep a file, and give its name."""
        async with self.storage.scratch("test") as scratch:
            path = scratch / "sound.flac"
            path.write_bytes(body)
            sha256 = hashlib.sha256(body).hexdigest()
            kept = await self.archive().keep(path, sha256, key=key, subject="local", request={}, facts={"of": key})
        return file_name(kept.file)

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "files/extracted").glob("*"))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with make_store(tmp_path / "jobs.db") as store:
        yield Place(tmp_path, store)


async def test_a_file_is_named_by_its_bytes(place: Place) -> None:
    """The name is the SHA-256 with the format's suffix; the same bytes are one file, whatever they answer."""
    one, same, other = await place.keep("a", b"sound"), await place.keep("b", b"sound"), await place.keep("c", b"else")
    assert one == same == f"{hashlib.sha256(b'sound').hexdigest()}.flac"
    assert digest_in(one) == hashlib.sha256(b"sound").hexdigest()
    assert place.files() == sorted([one, other])
    path = await place.archive().locate(one)
    assert path is not None
    assert path.read_bytes() == b"sound"


async def test_what_was_made_is_found(place: Place) -> None:
    """A result is found by its key as long as its file is there, and made anew where that is gone."""
    name = await place.keep("a", b"sound")
    found = await place.archive().find("a")
    assert found is not None
    assert (file_name(found.file), found.facts) == (name, {"of": "a"})
    assert await place.archive().find("b") is None
    (place.folder / "files/extracted" / name).unlink()
    assert await place.archive().find("a") is None
    await place.keep("a", b"sound")
    assert await place.archive().find("a") is not None


@pytest.mark.parametrize("name", ["..", "x.flac", "a" * 64, "A" * 64 + ".flac", "a" * 64 + ".flac/..", ""])
async def test_other_names_name_nothing(place: Place, name: str) -> None:
    """Only names that the archive gives are looked for."""
    assert await place.archive().locate(name) is None
    assert not await place.archive().has(name)


async def test_what_nobody_asks_for_goes(place: Place) -> None:
    """After the days a file goes with its results, unless it was asked for meanwhile; a look at it is no use of it."""
    asked, looked, left = [await place.keep(key, key.encode()) for key in "abc"]
    place.clock.now += 6 * DAY
    await place.archive().locate(asked)
    await place.archive().has(looked)
    place.clock.now += 2 * DAY
    await place.archive().tidy()
    assert place.files() == [asked]
    assert await place.archive().find("c") is None
    assert left not in place.files()


async def test_zero_days_keep_all(place: Place) -> None:
    """With 0 days nothing goes."""
    name = await place.keep("a", b"sound")
    place.clock.now += 1000 * DAY
    await place.archive(days=0).tidy()
    assert place.files() == [name]


async def test_files_without_results_go_in_their_time(place: Place, tmp_path: Path) -> None:
    """What a lost database has left is served for the days, and then goes."""
    name = await place.keep("a", b"sound")
    assert await place.store.results.forget(f"extracted/{name}", place.clock.now + 1)
    await place.archive().tidy()
    assert await place.archive().has(name)
    place.clock.now += 8 * DAY
    await place.archive().tidy()
    assert place.files() == []


async def test_there_is_so_much_room(place: Place) -> None:
    """Beyond it what was unused for longest goes, but nothing that was made or asked for within the hour."""
    names = []
    for key in "abcd":
        names.append(await place.keep(key, key.encode() * 1000))
        place.clock.now += 7200.0
    await place.archive().locate(names[0])
    await place.archive(max_bytes=2500).tidy()
    assert place.files() == sorted([names[0], names[3]])
    place.clock.now += 1.0
    await place.archive(max_bytes=10).tidy()
    assert place.files() == [names[0]]


async def test_a_stray_file_harms_nobody(place: Place) -> None:
    """What somebody else has put there is left alone."""
    await place.keep("a", b"sound")
    (place.folder / "files/extracted/copy of a file.flac").write_bytes(b"x")
    place.clock.now += 8 * DAY
    await place.archive().tidy()
    assert place.files() == ["copy of a file.flac"]


async def test_a_use_that_was_not_noted_counts(place: Place) -> None:
    """A use is noted once an hour; a file that was asked for a moment ago stays all the same."""
    name = await place.keep("a", b"sound")
    archive = place.archive(max_bytes=1)
    await archive.locate(name)
    place.clock.now += 3599.0
    await archive.locate(name)
    place.clock.now += 2.0
    await archive.tidy()
    assert place.files() == [name]


async def test_what_could_not_be_stored_takes_no_room(place: Place) -> None:
    """A result whose file didn't get there is forgotten, and nothing else has to go for it."""
    (place.folder / "files").mkdir()
    (place.folder / "files/extracted").write_bytes(b"in the way")
    with pytest.raises(OSError, match="exists"):
        await place.keep("a", b"sound")
    assert await place.archive().find("a") is None
    assert await place.store.results.total_bytes() == 0


async def test_nothing_is_too_old_while_the_time_is_unsure(place: Place) -> None:
    """While nobody is sure what time it is a file stays, however old it looks; later it goes."""
    sure: list[float | None] = [None]
    archive = Archive(
        place.storage, place.store.results, days=7, max_bytes=1 << 30, clock=place.clock, sure_clock=lambda: sure[0]
    )
    name = await place.keep("a", b"sound")
    place.clock.now += 1000 * DAY
    await archive.tidy()
    assert place.files() == [name]
    sure[0] = place.clock.now
    await archive.tidy()
    assert place.files() == []
