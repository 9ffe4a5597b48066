"""One segment at a time: the same cursor and videos always give the same file and the same next cursor."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamsrv.errors import BadCursor, InternalError, SourceChanged
from streamsrv.extract.cursor import Cursor, read_cursor, write_cursor
from streamsrv.extract.encoding import Made
from streamsrv.extract.opening import again_if_changed, opened_reel
from streamsrv.extract.reel import Reel
from streamsrv.extract.schema import SegmentRequest
from streamsrv.extract.studio import Studio
from streamsrv.extract.timeline import Position, Step, samples_in
from streamsrv.jobs.results import Result
from streamsrv.tasks import SharedWork

# Somebody waits for a segment; a whole extraction can wait.
PRIORITY = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A step's answer. `file` is a storage key; behind the last segment there is none."""

    cursor: str
    file: str | None
    facts: dict[str, Any]


class Steps:
    """Makes segments, `encoders` at a time.

    Two who ask for the same one at once share the work; who asks later gets what was kept.
    """

    def __init__(self, studio: Studio, work: SharedWork, secret: bytes, *, encoders: int) -> None:
        self._studio = studio
        self._work = work
        self._secret = secret
        self._encoders = asyncio.Semaphore(encoders)

    async def step(self, request: SegmentRequest, subject: str) -> Segment:
        """The segment that begins at the request's cursor.

        Raises BadCursor for one of another request, SourceChanged where a source isn't what it was when the cursor was
        given, and what is wrong with a clip.
        """
        asked = request.digest(subject)
        start = self._read(request, asked)
        step = partial(self._step, request, subject, start)
        return await self._work.run(("step", asked, request.cursor), lambda: again_if_changed(step))

    def _read(self, request: SegmentRequest, asked: bytes) -> Cursor | None:
        if not request.cursor:
            return None
        cursor = read_cursor(request.cursor, self._secret)
        if cursor.request_digest != asked:
            raise BadCursor("The cursor belongs to another list of videos, or to other options.")
        return cursor

    async def _step(self, request: SegmentRequest, subject: str, start: Cursor | None) -> Segment:
        # A walk goes on with the content that it began with; only its beginning looks for a newer one.
        opening = self._studio.sources.current if start is None else self._studio.sources.kept
        hashed = 1 if start is None else start.position.clip + 1
        async with opened_reel(self._studio, request, opening, priority=PRIORITY, hashed=hashed) as reel:
            begin = start or Cursor(Position(), 0, request.digest(subject), b"")
            if start is not None:
                await self._check_sources(reel, start)
            if begin.position.clip >= len(reel):
                return Segment(request.cursor or "", None, _facts(reel, begin, None, is_last=True))
            key = f"step.{begin.request_digest.hex()}.{begin.position.clip}.{begin.position.sample}"
            kept = await self._studio.archive.find(key)
            if kept is None or not await _is_of(kept, reel):
                kept = await self._make(request, subject, reel, begin, key)
            return Segment(kept.facts["next"], kept.file, kept.facts["shown"])

    async def _check_sources(self, reel: Reel, start: Cursor) -> None:
        """All that lies before the cursor, and the clip that it is in, must be what it was."""
        known = min(start.position.clip + 1, len(reel))
        if await reel.digest(known) != start.sources_digest:
            raise SourceChanged("A source has changed since the cursor was given. Begin anew, without a cursor.")

    async def _make(self, request: SegmentRequest, subject: str, reel: Reel, begin: Cursor, key: str) -> Result:
        if request.segment_seconds is None:
            raise InternalError("A segment has a length.")
        step = await reel.step(begin.position, samples_in(request.segment_seconds, reel.grid))
        following = await self._cursor_behind(reel, begin, step)
        through = min(step.next.clip + 1, len(reel))
        async with self._encoders, self._studio.storage.scratch("segment") as folder:
            made = await self._studio.encoder.encode(reel.read(step.ranges), reel.grid, request.form, folder)
            shown = _facts(reel, begin, made, is_last=step.is_last)
            if request.terms.tolerates:
                # Of the clips that end in this segment: only their ends tell.
                lost_seconds = await reel.lost(range(begin.position.clip, step.next.clip))
                shown["lost_seconds"] = round(lost_seconds, 3)
            return await self._studio.archive.keep(
                made.path,
                made.sha256,
                key=key,
                subject=subject,
                request=request.brief(),
                cursor=request.cursor,
                facts={
                    "next": following,
                    "through": through,
                    "sources": (await reel.digest(through)).hex(),
                    "shown": shown,
                },
            )

    async def _cursor_behind(self, reel: Reel, begin: Cursor, step: Step) -> str:
        known = min(step.next.clip + 1, len(reel))
        sources = await reel.digest(known)
        following = Cursor(step.next, begin.start_sample + step.samples, begin.request_digest, sources)
        return write_cursor(following, self._secret)


async def _is_of(kept: Result, reel: Reel) -> bool:
    """Was it made of these very sources?"""
    through: int = kept.facts["through"]
    return through <= len(reel) and bool(kept.facts["sources"] == (await reel.digest(through)).hex())


def _facts(reel: Reel, begin: Cursor, made: Made | None, *, is_last: bool) -> dict[str, Any]:
    """What a reply says of the segment; rate, channels and priming are those of its file."""
    grid = reel.grid
    return {
        "done": is_last,
        "start_seconds": begin.start_sample / grid.sample_rate,
        "duration_seconds": made.samples / grid.sample_rate if made else 0.0,
        "sample_rate": made.encoding.sample_rate if made else grid.sample_rate,
        "channels": made.encoding.channels if made else grid.channels,
        "priming_samples": made.encoding.codec.priming_samples if made else 0,
    }
