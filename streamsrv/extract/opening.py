"""From a request to its reel: open every clip, look into it, choose its track, and find the grid for all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from streamsrv.errors import MissingTrack, SourceChanged, UnusableFile
from streamsrv.extract.reel import Reel, ReelClip, naming_clip
from streamsrv.extract.schema import OnMissing, WholeRequest
from streamsrv.extract.sources import Progress, SourceFile, Sources, is_elsewhere
from streamsrv.extract.studio import Studio
from streamsrv.extract.timeline import grid_of
from streamsrv.extract.tracks import describe_tracks, track_members
from streamsrv.media.checks import check_declared_length, check_samples
from streamsrv.media.film import Film
from streamsrv.media.integrity.loss import STRICT, Terms
from streamsrv.tasks import all_of, both

# How a source is opened: as it is now, or as it was when it came here.
Open = Callable[[str, Progress | None], AbstractAsyncContextManager[SourceFile]]
# Told the number of the clip, the bytes that are there, and those there will be if that is known.
ClipProgress = Callable[[int, int, int | None], None]

T = TypeVar("T")

_AT_ONCE = 8


@asynccontextmanager
async def opened_reel(
    studio: Studio,
    request: WholeRequest,
    open_source: Open,
    *,
    priority: int,
    hashed: int,
    progress: ClipProgress = lambda _number, _have, _all: None,
) -> AsyncIterator[Reel]:
    """The reel of a request, for the block. Nothing of it is decoded yet; the first `hashed` clips are read through.

    Raises what is wrong with one of the clips, the problem has its number as a member `clip`.
    """
    opening = opened_films(studio, request.video_files, open_source, hashed=hashed, progress=progress)
    async with opening as films:
        count = len(films)
        clips = []
        for number, (source, film) in enumerate(films):
            with naming_clip(number, count):
                clips.append(choose_track(source, film, request.track_number, request.missing, request.terms))
                _check_cost(clips[-1], studio)
        tracks = [clip.track for clip in clips if clip.track is not None]
        if not tracks:
            raise UnusableFile("None of the clips has sound.")
        async with Reel(studio, clips, grid_of(tracks), priority=priority) as reel:
            yield reel


@asynccontextmanager
async def opened_films(
    studio: Studio,
    uris: Sequence[str],
    open_source: Open,
    *,
    hashed: int = 0,
    progress: ClipProgress = lambda _number, _have, _all: None,
) -> AsyncIterator[list[tuple[SourceFile, Film]]]:
    """Every clip as a file of this disk, with what is in it, for the block; several are opened at once."""
    places = asyncio.Semaphore(_AT_ONCE)
    async with AsyncExitStack() as held:

        async def open_one(number: int) -> tuple[SourceFile, Film]:
            async with places:
                with naming_clip(number, len(uris)):
                    opening = open_source(uris[number], lambda have, most: progress(number, have, most))
                    source = await held.enter_async_context(opening)
                    if number >= hashed:
                        return source, await studio.contents.film(source)
                    # Its content is asked for soon, and takes as long as a large file takes to be read.
                    film, _ = await both(studio.contents.film(source), studio.contents.content(source))
                    return source, film

        yield await all_of([open_one(number) for number in range(len(uris))])


async def hold_copies(sources: Sources, uris: Sequence[str], held: AsyncExitStack, progress: ClipProgress) -> None:
    """Bring here what lies on other machines, as it is now; the copies stay until `held` is closed.

    Raises what is wrong with one of them, as `opened_reel` does.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def hold(number: int) -> None:
        async with places:
            with naming_clip(number, len(uris)):
                fetching = sources.current(uris[number], lambda have, most: progress(number, have, most))
                await held.enter_async_context(fetching)

    await all_of([hold(number) for number, uri in enumerate(uris) if is_elsewhere(uri)])


async def again_if_changed(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, and once more where a file changed meanwhile: often only its name did, or who may read it."""
    try:
        return await work()
    except SourceChanged:
        return await work()


def choose_track(source: SourceFile, film: Film, number: int, on_missing: OnMissing, terms: Terms = STRICT) -> ReelClip:
    """The clip with the track of that number, on these terms. Pure.

    Raises UnusableFile, MissingTrack with the tracks there are.
    """
    terms = film.terms(terms)
    if not film.tracks:
        return ReelClip(source, film, None, _silent_seconds(film, on_missing))
    if number >= len(film.tracks):
        raise MissingTrack(
            f"There is no audio track {number}. There are: {describe_tracks(film.tracks)}.",
            members={"tracks": track_members(film.tracks)},
        )
    track = film.tracks[number]
    if track.fault is not None:
        raise UnusableFile(f"Track {number}: {track.fault}")
    return ReelClip(source, film, track, terms=terms)


def _check_cost(clip: ReelClip, studio: Studio) -> None:
    check_declared_length(clip.declared, studio.max_seconds)
    if clip.track is not None:
        check_samples(clip.declared, clip.track.sample_rate, clip.track.channels, studio.max_samples)


def _silent_seconds(film: Film, on_missing: OnMissing) -> float:
    if on_missing == "error":
        raise UnusableFile('There is no sound in this file. on_missing can be "silence" or "skip".')
    if on_missing == "silence" and film.duration_seconds is None:
        raise UnusableFile("There is no sound in this file, and it doesn't say how long its silence would be.")
    return film.duration_seconds or 0.0 if on_missing == "silence" else 0.0
