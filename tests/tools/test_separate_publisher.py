"""Samples become segments of all tracks, published together, once, and by a second attempt only where they lack."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.jobs import NOW, make_job, make_store
from support.sound import decode

from streamsrv.errors import InternalError
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import JobKind, Segment
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.downloads import song_pcm
from streamsrv.separate.encoders import TrackEncoder, segment_encoding
from streamsrv.separate.publisher import INIT_NAME, StemPublisher, segment_name
from streamsrv.storage.local import LocalStorage

RATE = 44100
PCM = song_pcm(RATE, 2)
TRACKS = ("vocals", "drums")
SOUND = np.random.default_rng(3).integers(-20000, 20000, (round(14.2 * RATE), 2)).astype("<i2")
PIECES = 3
KINDS = [JobKind.SEPARATE]


@pytest.fixture
async def made(tools: FfmpegTools, tmp_path: Path) -> Path:
    """A folder in which both tracks' encoders have made all of the same sound."""
    folder = tmp_path / "made"
    folder.mkdir()
    for track in TRACKS:
        await encode(TrackEncoder(tools, folder / track, PCM, max_seconds=100), SOUND)
    return folder


async def encode(encoder: TrackEncoder, sound: np.ndarray) -> list[int]:
    """Let the encoder have the sound, second by second; gives the numbers of the segments that it finished."""
    numbers: list[int] = []

    async def note(finished: Sequence[int]) -> None:
        numbers.extend(finished)

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(encoder.follow(note))
        for start in range(0, len(sound), RATE):
            await encoder.write(sound[start : start + RATE].tobytes())
        await encoder.end()
    assert following.result().encoded_samples == len(sound)
    return numbers


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteJobStore]:
    async with make_store(tmp_path / "jobs.db") as store:
        await store.submit(make_job(kind=JobKind.SEPARATE, accepted_at=NOW, source="a/source"))
        yield store


async def publisher(
    store: SqliteJobStore, folder: Path, *, attempt: int, published: list[Segment] | None = None
) -> StemPublisher:
    lease = await store.claim(KINDS)
    assert lease is not None
    return StemPublisher(
        Assignment(store, lease),
        LocalStorage(folder.parent / "data"),
        segment_encoding(PCM),
        tracks=TRACKS,
        folder=folder,
        prefix=f"stems/a/{attempt}",
        published=published or [],
    )


async def test_segments_are_the_samples(tools: FfmpegTools, made: Path, tmp_path: Path) -> None:
    """An encoder's segments, behind its initialisation section, are the samples it was given; so is its MP3 as long."""
    folder = tmp_path / "alone"
    encoder = TrackEncoder(tools, folder, PCM, max_seconds=100)
    assert await encode(encoder, SOUND) == [1, 2, 3]
    joined = tmp_path / "joined.mp4"
    names = [INIT_NAME, *(f"segment_{number:05}.m4s" for number in range(1, PIECES + 1))]
    joined.write_bytes(b"".join((folder / name).read_bytes() for name in names))
    assert np.array_equal(decode(joined), SOUND)
    assert len(SOUND) <= len(decode(encoder.mp3)) <= len(SOUND) + 1152
    for name in names:
        assert (folder / name).read_bytes() == (made / "vocals" / name).read_bytes()


async def test_what_all_tracks_have_is_published(store: SqliteJobStore, made: Path) -> None:
    """A piece is published once every track has it, together with the tracks' initialisation sections."""
    publishing = await publisher(store, made, attempt=1)
    await publishing.add(0, [1, 2])
    assert await store.segments("a") == []
    await publishing.add(1, [1])
    assert [row.name for row in await store.segments("a")] == [
        segment_name(track, name) for name in (INIT_NAME, "segment_00001.m4s") for track in TRACKS
    ]
    await publishing.add(1, [2, 3])
    await publishing.add(0, [3])
    rows = await store.segments("a")
    assert len(rows) == (PIECES + 1) * len(TRACKS)
    assert [counted.samples for counted in publishing.counted] == [len(SOUND)] * len(TRACKS)
    storage = LocalStorage(made.parent / "data")
    for row in rows:
        data = await storage.read(row.key)
        assert data is not None
        assert (len(data), hashlib.sha256(data).hexdigest()[:32]) == (row.size, row.etag)
    job = await store.get("a")
    assert job is not None
    assert job.result["segment_count"] == PIECES


async def first_attempt(store: SqliteJobStore, made: Path) -> list[Segment]:
    """Publish one piece, and lose the job; gives the rows."""
    again = made.parent / "first"
    shutil.copytree(made, again)
    publishing = await publisher(store, again, attempt=1)
    for track in range(len(TRACKS)):
        await publishing.add(track, [1])
    await store.recover()
    return await store.segments("a")


async def test_a_second_attempt_adds_what_lacks(store: SqliteJobStore, made: Path) -> None:
    """After a crash what was listed stays where it was served from; only what comes behind is new."""
    before = await first_attempt(store, made)
    publishing = await publisher(store, made, attempt=2, published=before)
    for track in range(len(TRACKS)):
        await publishing.add(track, [1, 2, 3])
    rows = await store.segments("a")
    assert rows[: len(before)] == before
    assert {row.key.split("/")[2] for row in rows[len(before) :]} == {"2"}
    assert len(rows) == (PIECES + 1) * len(TRACKS)


async def test_other_segments_take_the_place_of_all(store: SqliteJobStore, made: Path) -> None:
    """Should a second attempt make other bytes, nothing of the first is kept: no track has seams."""
    before = await first_attempt(store, made)
    first, second = (made / "vocals" / f"segment_0000{number}.m4s" for number in (1, 2))
    shutil.copy(second, first)
    publishing = await publisher(store, made, attempt=2, published=before)
    for track in range(len(TRACKS)):
        await publishing.add(track, [1, 2])
    rows = await store.segments("a")
    assert {row.key.split("/")[2] for row in rows} == {"2"}
    assert len(rows) == 3 * len(TRACKS)


async def test_half_a_segment_is_never_published(store: SqliteJobStore, made: Path) -> None:
    """A segment that wasn't written completely is an error, and no track gets that piece."""
    segment = made / "drums" / "segment_00001.m4s"
    segment.write_bytes(segment.read_bytes()[:-100])
    publishing = await publisher(store, made, attempt=1)
    await publishing.add(0, [1])
    with pytest.raises(InternalError):
        await publishing.add(1, [1])
    assert await store.segments("a") == []
