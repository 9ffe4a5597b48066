"""Tracks as files: MP3 as it was made, WAV and FLAC made of the lossless segments when somebody asks."""

import asyncio
import hashlib
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streamsrv.encoding.files import FileEncoder
from streamsrv.encoding.options import EncodingOptions, encoding_for
from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import InternalError, NotFound
from streamsrv.files import disk_errors
from streamsrv.jobs.job import Job, Segment
from streamsrv.jobs.store import JobStore
from streamsrv.media.arguments import Pcm
from streamsrv.media.feed import FilePart
from streamsrv.media.formats import FORMATS, Format
from streamsrv.separate.publisher import segment_name
from streamsrv.storage.room import Room
from streamsrv.storage.shelf import Shelf
from streamsrv.storage.storage import Storage
from streamsrv.tasks import SharedWork, outcome_of

SUFFIXES = ("mp3", "flac", "wav")
DEPTH_BITS = 16
REMOVED = "The track was removed."

# So many files are made at the same time, whoever asks for them: more would take the cores from the songs.
_MADE_AT_ONCE = 2


def song_pcm(sample_rate: int, channels: int) -> Pcm:
    """How the tracks of a song are kept."""
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    return Pcm(sample_rate=sample_rate, layout=layout, channels=channels, depth_bits=DEPTH_BITS)


@dataclass(frozen=True, slots=True)
class TrackFile:
    """A file that stays as long as it is held. The tag is strong: the same bytes have the same one."""

    path: Path
    etag: str
    form: Format


class TrackFiles:
    """The files of completed songs. What was made is on `shelf`, whose entries can be made again."""

    def __init__(
        self,
        *,
        encoder: FileEncoder,
        storage: Storage,
        store: JobStore,
        shelf: Shelf,
        shared: SharedWork,
        room: Room,
    ) -> None:
        self._encoder = encoder
        self._storage = storage
        self._store = store
        self._shelf = shelf
        self._shared = shared
        self._room = room
        self._making = asyncio.Semaphore(_MADE_AT_ONCE)

    @asynccontextmanager
    async def opened(self, job: Job, track: str, suffix: str) -> AsyncIterator[TrackFile]:
        """Hold the file of a track. Raises NotFound where the track is gone, DiskFull, InternalError."""
        form = FORMATS[suffix]
        if suffix == "mp3":
            path = await self._storage.locate(mp3_key(job, track))
            if path is None:
                raise NotFound("There is no such track.")
            yield TrackFile(path, _tag(job, track, suffix), form)
            return
        name = _entry(job, track, suffix)
        with self._shelf.hold(name) as path:
            if not path.exists():
                await self._shared.run(name, partial(self._make, job, track, form))
            yield TrackFile(path, _tag(job, track, suffix), form)

    @asynccontextmanager
    async def archive(self, job: Job, tracks: Sequence[str], suffix: str) -> AsyncIterator[Path]:
        """A zip of these tracks, for the time of the block. Nothing is compressed: sound is already.

        Whoever asks for the same one meanwhile, or later, has the same one.
        """
        with self._shelf.hold(_zips(job)) as folder:
            path = folder / f"{_digest(tracks)}.{suffix}.zip"
            if not path.exists():
                await self._shared.run(str(path), partial(self._zip, job, tracks, suffix, path))
            yield path

    async def _zip(self, job: Job, tracks: Sequence[str], suffix: str, target: Path) -> None:
        with self._shelf.hold(_zips(job)):
            async with AsyncExitStack() as held:
                files = [await held.enter_async_context(self.opened(job, track, suffix)) for track in tracks]
                sizes = await asyncio.to_thread(lambda: [file.path.stat().st_size for file in files])
                await held.enter_async_context(self._room.lent(sum(sizes)))
                folder = await held.enter_async_context(self._storage.scratch(f"archive.{job.id}"))
                path = folder / "tracks.zip"
                for track, file in zip(tracks, files, strict=True):
                    await asyncio.to_thread(_add_to_zip, path, file.path, f"{track}.{suffix}")
                with disk_errors():
                    await asyncio.to_thread(_place, path, target)
            await self._shelf.measure(_zips(job))

    async def remove(self, job: Job, track: str) -> None:
        """Remove all files of a track, its segments, too; their rows stay."""
        for attempt in await self._storage.names(output_key(job.id)):
            await self._storage.remove(f"{output_key(job.id)}/{attempt}/{track}")
        await self.forget(job, track)

    async def forget(self, job: Job, track: str) -> None:
        """Remove the files that were made of a track."""
        for suffix in SUFFIXES:
            await self._shelf.remove(_entry(job, track, suffix))
        await self._shelf.remove(_zips(job))

    async def _make(self, job: Job, track: str, form: Format) -> None:
        segments = await track_segments(self._store, job, track)
        error = await outcome_of(partial(self._make_of, segments, job, track, form))
        if not await self._are_there(segments):
            raise NotFound(REMOVED) from error
        if error is not None:
            raise error

    async def _are_there(self, segments: Sequence[Segment]) -> bool:
        """Whether there are any, with all their files: who removes a track waits for nobody who makes a file of it."""
        for segment in segments:
            if await self._storage.locate(segment.key) is None:
                return False
        return bool(segments)

    async def _make_of(self, segments: Sequence[Segment], job: Job, track: str, form: Format) -> None:
        pcm = song_pcm(job.result["sample_rate"], job.result["channels"])
        with self._shelf.hold(_entry(job, track, form.name)) as target:
            async with self._making, self._storage.scratch(f"track.{job.id}") as folder:
                path = folder / f"track{form.suffix}"
                await self._encode(segments, pcm, form, path)
                with disk_errors():
                    path.replace(target)
            await self._shelf.measure(target.name)

    async def _encode(self, segments: Sequence[Segment], pcm: Pcm, form: Format, path: Path) -> None:
        source = EncoderSource.of_segments(stored_parts(self._storage, segments))
        made = await self._encoder.encode(source, encoding_for(form, EncodingOptions(), pcm), form, path)
        expected = segments_samples(segments, pcm.sample_rate)
        if made.samples != expected:
            raise InternalError(f"Of {expected} samples {made.samples} were encoded.")


async def track_segments(store: JobStore, job: Job, track: str) -> list[Segment]:
    """What is published of a track, its initialisation section first."""
    return await store.segments_in(job.id, track)


def segments_samples(segments: Sequence[Segment], sample_rate: int) -> int:
    return sum(round(segment.seconds * sample_rate) for segment in segments)


async def stored_parts(storage: Storage, segments: Sequence[Segment]) -> AsyncIterator[FilePart]:
    """The bytes of published segments, one after the other: a file that can be decoded in order."""
    for segment in segments:
        path = await storage.locate(segment.key)
        if path is None:
            raise InternalError("A segment is gone.")
        yield FilePart(path, 0, segment.size)


def mp3_key(job: Job, track: str) -> str:
    return f"{output_key(job.id)}/{job.result['mp3_attempt']}/{segment_name(track, 'track.mp3')}"


def output_key(job_id: str) -> str:
    return f"stems/{job_id}"


def _entry(job: Job, track: str, suffix: str) -> str:
    return f"{job.id}.{track}.{suffix}"


def _zips(job: Job) -> str:
    return f"{job.id}.zips"


def _digest(tracks: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(tracks).encode()).hexdigest()[:32]


def _place(path: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    path.replace(target)


def _tag(job: Job, track: str, suffix: str) -> str:
    return hashlib.sha256(_entry(job, track, suffix).encode()).hexdigest()[:32]


def _add_to_zip(path: Path, source: Path, name: str) -> None:
    with disk_errors(), zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        try:
            archive.write(source, name)
        except FileNotFoundError as error:
            raise NotFound(REMOVED) from error
