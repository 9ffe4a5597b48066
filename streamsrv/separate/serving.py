"""The routes of `/apiv1` that give a song's tracks: as files, as playlists that grow, as segments, all in a zip."""

import hashlib
import re
import time
from contextlib import AsyncExitStack

from aiohttp import web

from streamsrv.errors import BadParameter, NotFound, Unavailable
from streamsrv.jobs.job import Job, JobKind
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.media.formats import MEDIA_TYPES
from streamsrv.separate.downloads import SUFFIXES, TrackFiles
from streamsrv.separate.playlists import StemPlaylists
from streamsrv.separate.publisher import segment_name
from streamsrv.separate.schema import has_segments
from streamsrv.separate.songs import HASH, Songs
from streamsrv.storage.storage import Storage
from streamsrv.web.downloads import safe_name, send_file, while_connected
from streamsrv.web.foreign_pages import refuse_foreign_change
from streamsrv.web.requests import read_query
from streamsrv.web.responses import bytes_reply, json_reply
from streamsrv.web.segments import HotFiles
from streamsrv.web.stored import send_stored

_TRACK = "{track:[A-Za-z0-9_-]{1,64}}"
_JOB = "{job:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}}"
_SEGMENT = "{segment:segment_[0-9]{5,9}\\.m4s|init\\.mp4}"
_SUFFIX = f"{{suffix:(?:\\.(?:{'|'.join(SUFFIXES)}))?}}"
_FILE_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,4}$")
_PLAYLIST_TYPE = MEDIA_TYPES[".m3u8"]
_FOREVER = "public, max-age=31536000, immutable"
# Tracks can be removed, and made anew.
_ASK_AGAIN = "no-cache"
# A playlist is held until its first segment is there: players don't come back after an error.
_FIRST_SEGMENT_SECONDS = 8.0
# Of so many jobs it is remembered whose they are: a segment costs no look into the store.
_KNOWN_JOBS = 1000


class ServingApi:
    """Handlers of tracks."""

    def __init__(
        self,
        *,
        store: SqliteJobStore,
        storage: Storage,
        songs: Songs,
        files: TrackFiles,
        hot: HotFiles,
        download_idle_seconds: float,
    ) -> None:
        self._store = store
        self._storage = storage
        self._songs = songs
        self._files = files
        self._hot = hot
        self._playlists = StemPlaylists(store, hot)
        self._download_idle_seconds = download_idle_seconds
        self._hashes: dict[str, str] = {}  # of songs, by their jobs; neither ever changes

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"/apiv1/track/{HASH}/{_TRACK}{_SUFFIX}", self.track),
            # What HEAD would tell of it is known only once all of it was made.
            web.get(f"/apiv1/archive/{HASH}.zip", self.archive, allow_head=False),
            web.delete(f"/apiv1/remove/{HASH}/{_TRACK}{_SUFFIX}", self.remove_track),
            # Not safe, as a GET should be (RFC 9110 section 9.2.1), but so it is documented.
            web.get(f"/apiv1/remove/{HASH}/{_TRACK}{_SUFFIX}", self.remove_track_by_get, allow_head=False),
            web.get(f"/apiv1/stems/{HASH}/{_TRACK}/{_JOB}/{_SEGMENT}", self.segment),
            web.get(f"/apiv1/stems/{HASH}/{_TRACK}/index.m3u8", self.track_playlist),
            web.get(f"/apiv1/stems/{HASH}/master.m3u8", self.master_playlist),
        ]

    async def track(self, request: web.Request) -> web.StreamResponse:
        """A track as a file; MP3 unless the address says otherwise."""
        query = read_query(request, ("model",))
        job = await self._songs.completed(request.match_info["song"], query.get("model"))
        name = await self._songs.track(job, request.match_info["track"])
        suffix = request.match_info["suffix"].removeprefix(".") or "mp3"
        async with AsyncExitStack() as held:
            async with while_connected(request):
                file = await held.enter_async_context(self._files.opened(job, name, suffix))
            return await send_stored(
                request,
                file.path,
                etag=file.etag,
                media_type=file.form.media_type,
                name=safe_name(f"{await self._title(job)} ({name})", file.form.suffix),
                cache_control=_ASK_AGAIN,
                idle_seconds=self._download_idle_seconds,
            )

    async def archive(self, request: web.Request) -> web.StreamResponse:
        """All tracks that are there, in a zip."""
        query = read_query(request, ("model", "format"))
        suffix = query.get("format", "mp3").lower()
        if suffix not in SUFFIXES:
            raise BadParameter(f"format must be one of {', '.join(SUFFIXES)}.")
        job = await self._songs.completed(request.match_info["song"], query.get("model"))
        removed = await self._songs.removed(job)
        names = [name for name in job.result["tracks"] if name not in removed]
        if not names:
            raise NotFound("All tracks were removed.")
        async with AsyncExitStack() as held:
            async with while_connected(request):
                path = await held.enter_async_context(self._files.archive(job, names, suffix))
            return await send_file(
                request,
                path,
                name=safe_name(await self._title(job), ".zip"),
                media_type="application/zip",
                idle_seconds=self._download_idle_seconds,
            )

    async def remove_track(self, request: web.Request) -> web.Response:
        """Remove one track of a song."""
        query = read_query(request, ("model",))
        job = await self._songs.completed(request.match_info["song"], query.get("model"))
        await self._songs.remove_track(job, request.match_info["track"])
        return json_reply(
            {"hash": job.options["song"], "track": request.match_info["track"], "reason": "Track removed"}
        )

    async def remove_track_by_get(self, request: web.Request) -> web.Response:
        """The same, but not for a link or a picture on somebody's page."""
        refuse_foreign_change(request)
        return await self.remove_track(request)

    async def master_playlist(self, request: web.Request) -> web.Response:
        """All tracks as renditions of one presentation."""
        job = await self._with_segments(request)
        removed = await self._songs.removed(job)
        names = [name for name in job.result["tracks"] if name not in removed]
        if not names:
            raise NotFound("All tracks were removed.")
        return _playlist_reply(request, job, await self._playlists.master(job, names))

    async def track_playlist(self, request: web.Request) -> web.Response:
        """The playlist of one track, which grows while the song is being separated."""
        job = await self._with_segments(request)
        name = await self._songs.track(job, request.match_info["track"])
        return _playlist_reply(request, job, await self._playlists.track(job, name))

    async def segment(self, request: web.Request) -> web.Response:
        job_id = request.match_info["job"]
        name = segment_name(request.match_info["track"], request.match_info["segment"])
        row = await self._store.segment(job_id, name)
        if row is None or await self._hash_of(job_id) != request.match_info["song"].lower():
            raise NotFound("There is no such segment.")
        body = await self._hot.get(f"stems/{job_id}/{row.key} {row.etag}", lambda: self._storage.read(row.key))
        if body is None:
            raise NotFound("There is no such segment.")
        media_type = MEDIA_TYPES["." + name.rpartition(".")[2]]
        return bytes_reply(request, body, etag=row.etag, media_type=media_type, cache_control=_FOREVER)

    async def _hash_of(self, job_id: str) -> str | None:
        """The hash of the song that a job is of; None where it is of none, or gone."""
        if job_id not in self._hashes:
            job = await self._store.get(job_id)
            if job is None or job.kind is not JobKind.SEPARATE:
                return None
            if len(self._hashes) >= _KNOWN_JOBS:
                self._hashes.clear()
            self._hashes[job_id] = job.options["song"]
        return self._hashes[job_id]

    async def _with_segments(self, request: web.Request) -> Job:
        """The song's job once it has a segment: waits a few seconds for it, then 503, since players retry that."""
        model = read_query(request, ("model",)).get("model")
        deadline = time.monotonic() + _FIRST_SEGMENT_SECONDS
        job = await self._songs.playable(request.match_info["song"], model)
        while not has_segments(job):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable("The first segment isn't ready yet.", headers={"Retry-After": "2"})
            await self._store.wait_for_change(job.id, job.revision, left)
            job = await self._songs.playable(request.match_info["song"], model)
        return job

    async def _title(self, job: Job) -> str:
        """What the song is called, without the suffix of its file; "Mr. Brightside" has none."""
        return _FILE_SUFFIX.sub("", await self._songs.title(job))


def _playlist_reply(request: web.Request, job: Job, body: bytes) -> web.Response:
    return bytes_reply(
        request,
        body,
        etag=hashlib.sha256(body).hexdigest()[:32],
        media_type=_PLAYLIST_TYPE,
        cache_control="no-cache",
    )
