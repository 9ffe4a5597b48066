"""Take a song in: from a form or from JSON, to a file, its hash and the job that answers for it."""

import asyncio
import base64
import hashlib
import re
import string
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from streamsrv.errors import BadParameter, MissingFile
from streamsrv.jobs.job import Job, JobKind
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.submissions import Submission
from streamsrv.media.checks import check_declared_length, check_samples
from streamsrv.media.integrity.loss import TERMS
from streamsrv.media.material import whole_material
from streamsrv.media.raw import RawKind
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.schema import Recipe, SongOptions, job_priority
from streamsrv.separate.work import source_key
from streamsrv.storage.spool import Spool, Spools
from streamsrv.storage.storage import Storage

log = structlog.get_logger()

# A multiple of three: then the base64 of the parts is that of the whole.
_HASHED_BYTES = 3 << 18
# Nobody else can run while they are decoded: a millisecond or two.
_DECODED_LETTERS = 1 << 20
_BREAKS = string.whitespace.encode()
# The alphabet of RFC 4648 section 5 means the same.
_USUAL_LETTERS = bytes.maketrans(b"-_", b"+/")
# What a browser's FileReader puts before it (RFC 2397).
_DATA_URL = re.compile(r"\s*data:[^,]{0,200};base64,", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of a song: how it is to be separated, what it is called, whom to tell, where addresses begin.

    `model_reason` tells, for people, why it is this model, where that isn't plain. It is no part of the recipe.
    """

    recipe: Recipe
    model_reason: str | None
    options: SongOptions
    song_name: str
    file_name: str
    callback_url: str | None
    origin: str


class Intake:
    """Takes songs in. A song that was separated in the same way is answered from what is there."""

    def __init__(
        self,
        *,
        store: SqliteJobStore,
        storage: Storage,
        spools: Spools,
        tools: FfmpegTools,
        max_seconds: float,
        max_samples: int,
    ) -> None:
        self._store = store
        self._storage = storage
        self._spools = spools
        self._tools = tools
        self._max_seconds = max_seconds
        self._max_samples = max_samples

    @asynccontextmanager
    async def spool(self) -> AsyncIterator[Spool]:
        """A file to write a song into; it is gone after the block unless it was submitted."""
        name = str(uuid.uuid4())
        spool = await self._spools.create(name)
        try:
            yield spool
        finally:
            if self._spools.get(name) is not None:
                await spool.abort()

    async def submit(self, spool: Spool, order: Order) -> tuple[Job, str, bool]:
        """Give the job that answers for the song, its hash, and whether there is something left to do.

        The file must be sound that can be read: UnusableFile, in words. Raises DiskFull.
        """
        await spool.end()
        if not spool.size:
            raise MissingFile("The song is empty.")
        material = await whole_material(self._tools, spool.path, TERMS[order.recipe.errors], name=order.file_name)
        check_declared_length(material.declared, self._max_seconds)
        check_samples(material.declared, material.source.sample_rate, material.source.channels, self._max_samples)
        song = await asyncio.to_thread(song_hash, spool.path)
        job = self._new_job(song, material.source.raw, spool, order)
        size = spool.size
        await self._storage.put(source_key(job.id), spool.path)
        self._spools.release(spool.path.name)
        try:
            answering, is_new = await self._store.submissions.submit(job, self._submission(song, order))
        except BaseException:
            await self._remove_unless_submitted(job.id)
            raise
        if not is_new:
            await self._storage.remove(source_key(job.id))
        log.info("song_submitted", job_id=answering.id, song=song, bytes=size, new=is_new, model=order.recipe.model)
        return answering, song, is_new or not answering.status.ended

    async def _remove_unless_submitted(self, job_id: str) -> None:
        if await self._store.get(job_id) is None:
            await self._storage.remove(source_key(job_id))

    def _new_job(self, song: str, raw: RawKind | None, spool: Spool, order: Order) -> Job:
        now, recipe, job_id = time.time(), order.recipe, str(uuid.uuid4())
        return Job(
            id=job_id,
            kind=JobKind.SEPARATE,
            priority=job_priority(order.options),
            title=order.song_name,
            source_name=order.file_name,
            source=source_key(job_id),
            source_bytes=spool.size,
            options={"song": song, **asdict(recipe)},
            created_at=now,
            accepted_at=now,
            fingerprint=recipe.fingerprint(song, raw),
        )

    def _submission(self, song: str, order: Order) -> Submission:
        return Submission(
            id=str(uuid.uuid4()),
            content=song,
            model=order.recipe.model,
            model_reason=order.model_reason,
            name=order.song_name,
            callback_url=order.callback_url,
            origin=order.origin,
            created_at=time.time(),
        )


def song_hash(path: Path) -> str:
    """The SHA-256 of the file's bytes in canonical base64 (RFC 4648 section 4), as hex. Blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_HASHED_BYTES):
            digest.update(base64.b64encode(data))
    return digest.hexdigest()


def song_pieces(text: str) -> Iterator[bytes]:
    """Read a song in base64, in all the ways that people's libraries write it, piece by piece. Raises BadParameter.

    With or without line breaks and padding, in the usual alphabet or that for URLs, as it is or as a `data:` URL.
    """
    prefix = _DATA_URL.match(text)
    begin = prefix.end() if prefix else 0
    rest, last = b"", len(text) - _DECODED_LETTERS
    try:
        for start in range(begin, len(text), _DECODED_LETTERS):
            letters = text[start : start + _DECODED_LETTERS].encode("ascii")
            letters = rest + letters.translate(_USUAL_LETTERS, _BREAKS)
            # Four letters are three bytes. The last four wait for the next piece: they may be the end.
            if start >= last:
                letters += b"=" * (-len(letters) % 4)
                whole = len(letters)
                _refuse_end(letters[:-4])
                _refuse_end(letters[-4:-2])
            else:
                whole = max(0, len(letters) - 1) // 4 * 4
                _refuse_end(letters[:whole])
            yield base64.b64decode(letters[:whole], validate=True)
            rest = letters[whole:]
    except ValueError as error:
        raise BadParameter("mp3: Send the bytes of the file in base64 (RFC 4648 section 4).") from error


def _refuse_end(letters: bytes) -> None:
    if b"=" in letters:
        raise ValueError("something stands behind the end")
