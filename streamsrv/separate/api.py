"""The routes of `/apiv1` that take songs in and tell of them; `serving` has those that give their tracks."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from aiohttp import web

from streamsrv.errors import BadParameter, MissingFile, NotFound
from streamsrv.jobs.follow import follow
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.queue_limit import QueueLimit
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.words import read_limit, read_statuses
from streamsrv.outbound.guard import Guard
from streamsrv.separate.catalog import Catalog, check_installed
from streamsrv.separate.choice import Choice
from streamsrv.separate.default_model import DefaultModel
from streamsrv.separate.intake import Intake, Order, song_pieces
from streamsrv.separate.schema import (
    FORM_FIELDS,
    Recipe,
    SongOptions,
    SongRequest,
    read_form,
)
from streamsrv.separate.songs import HASH, Songs
from streamsrv.storage.spool import Spool
from streamsrv.web.admission import Admission
from streamsrv.web.events import last_event_id, send_events
from streamsrv.web.json_body import JsonLimits, read_json
from streamsrv.web.requests import public_origin, read_query, told_origin
from streamsrv.web.responses import json_reply
from streamsrv.web.uploads import FilePart, UploadLimits, defer_continue, receive_form

_FORM = "multipart/form-data"
_MESSAGE = "{message:msg_[0-9a-fA-F-]{1,64}}"
_SMALL_BYTES = 4 << 20
_ENQUEUED = "Song enqueued for separation"
_KNOWN = "Song was separated already"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparateLimits:
    """What one request may cost."""

    form: UploadLimits
    json: JsonLimits


class SeparateApi:
    """Handlers of songs. Each is looked up in the store; nothing else is remembered."""

    def __init__(
        self,
        *,
        store: SqliteJobStore,
        songs: Songs,
        intake: Intake,
        catalog: Catalog,
        default_model: DefaultModel,
        guard: Guard,
        admission: Admission,
        json_admission: Admission,
        queue: QueueLimit,
        limits: SeparateLimits,
        defaults: Recipe,
        max_passes: float,
        public_url: str,
    ) -> None:
        self._store = store
        self._songs = songs
        self._intake = intake
        self._catalog = catalog
        self._default_model = default_model
        self._guard = guard
        self._admission = admission
        self._json_admission = json_admission
        self._queue = queue
        self._limits = limits
        self._defaults = defaults
        self._max_passes = max_passes
        self._public_url = public_url

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/apiv1/separate", self.separate, expect_handler=defer_continue),
            web.get("/apiv1/queue", self.show_queue),
            web.get("/apiv1/models", self.list_models),
            web.get("/apiv1/songs", self.list_songs),
            web.get(f"/apiv1/song/{HASH}", self.show_song),
            web.delete(f"/apiv1/song/{HASH}", self.delete_song),
            web.get(f"/apiv1/song/{HASH}/events", self.song_events, allow_head=False),
            web.post(f"/apiv1/song/{HASH}/callbacks/{_MESSAGE}", self.send_callback_again),
        ]

    async def separate(self, request: web.Request) -> web.Response:
        """Take a song in, as a form or as JSON; the reply comes once its last byte is safe on disk."""
        origin = self._origin(request)  # a bad Host is refused now
        check_installed()  # before a body is sent for nothing
        await self._queue.check(JobKind.SEPARATE)
        with self._admission.place(request):
            async with self._intake.spool() as spool:
                told = told_origin(request, self._public_url)
                if request.content_type == _FORM:
                    order = await self._receive_form(request, spool, told)
                else:
                    order = await self._receive_json(request, spool, told)
                _, song, is_working = await self._intake.submit(spool, order)
        return json_reply(
            {"hash": song, "reason": _ENQUEUED if is_working else _KNOWN},
            headers={"Location": f"{origin}/apiv1/song/{song}"},
        )

    async def _receive_form(self, request: web.Request, spool: Spool, origin: str) -> Order:
        query = read_query(request, FORM_FIELDS)
        read_form(query)

        async def open_file(_part: FilePart, fields: Mapping[str, str]) -> Spool:
            read_form({**query, **fields})  # what is wrong already isn't waited for
            return spool

        form = await receive_form(request, fields=FORM_FIELDS, limits=self._limits.form, open_file=open_file)
        options = read_form({**query, **form.fields})
        if not form.file_bytes:
            raise MissingFile("Send the audio file in the field 'file'." if form.file is None else "The file is empty.")
        filename = form.file.filename if form.file is not None else ""
        return await self._order(options, filename, options.callback_url, origin)

    async def _receive_json(self, request: web.Request, spool: Spool, origin: str) -> Order:
        read_query(request, ())
        with self._json_place(request):
            asked = await read_json(request, SongRequest, limits=self._limits.json)
            callback_url = asked.callback.url if asked.callback is not None else None
            order = await self._order(asked, "", callback_url, origin)
            pieces = song_pieces(asked.mp3)
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                await spool.append(piece)
        return order

    def _json_place(self, request: web.Request) -> AbstractContextManager[None]:
        """A body of JSON is in memory, several times over; of small ones there may be many."""
        is_small = request.content_length is not None and request.content_length <= _SMALL_BYTES
        return nullcontext() if is_small else self._json_admission.place(request)

    async def _order(self, options: SongOptions, filename: str, callback_url: str | None, origin: str) -> Order:
        if callback_url is not None:
            self._guard.check(callback_url)
        choice = await self._choose(options.model)
        recipe = replace(self._defaults, model=choice.model).settled(options)
        if recipe.passes > self._max_passes:
            raise BadParameter(
                f"shifts and overlap make {recipe.passes:.0f} passes over the song; this server makes"
                f" {self._max_passes:g} at most."
            )
        return Order(
            recipe=recipe,
            model_reason=choice.reason,
            options=options,
            song_name=(options.song_name or filename).strip() or "untitled",
            file_name=filename or options.song_name or "",
            callback_url=callback_url,
            origin=origin,
        )

    async def _choose(self, name: str | None) -> Choice:
        """A name that nobody knows is refused; weights that aren't here may come yet."""
        if name is None:
            return await self._default_model.choose()
        known = [entry.name for entry in await asyncio.to_thread(self._catalog.models)]
        if name not in known:
            raise BadParameter(f"There is no model {name[:40]!r}. There are: {', '.join(known)}.")
        return Choice(name)

    async def show_queue(self, request: web.Request) -> web.Response:
        """The hashes of all songs that aren't finished, those that are being separated first."""
        read_query(request, ())
        return json_reply({"queue": await self._songs.queue()})

    async def list_models(self, request: web.Request) -> web.Response:
        """Which models there are, which of them are here, and which one a song gets that names none."""
        read_query(request, ())
        entries = await asyncio.to_thread(self._catalog.models)
        default = self._default_model.among(entries)
        models = [
            {
                "name": entry.name,
                "sources": None if entry.sources is None else list(entry.sources),
                "state": entry.state,
                "detail": entry.detail,
            }
            for entry in entries
        ]
        return json_reply({"default": default.model, "default_reason": default.why, "models": models})

    async def list_songs(self, request: web.Request) -> web.Response:
        """Newest first; `status` filters (several with commas), `next` is the cursor of the next page."""
        query = read_query(request, ("status", "limit", "before"))
        jobs, cursor = await self._store.page(
            kind=JobKind.SEPARATE,
            statuses=read_statuses(query.get("status", "")),
            before=query.get("before"),
            limit=read_limit(query.get("limit", "")),
        )
        songs = [await self._songs.describe_briefly(job, self._origin(request)) for job in jobs]
        return json_reply({"songs": songs, "next": cursor})

    async def show_song(self, request: web.Request) -> web.Response:
        job = await self._songs.current(request.match_info["song"], read_query(request, ("model",)).get("model"))
        return json_reply(await self._songs.describe(job, self._origin(request)))

    async def song_events(self, request: web.Request) -> web.StreamResponse:
        origin = self._origin(request)
        job = await self._songs.current(request.match_info["song"], read_query(request, ("model",)).get("model"))
        changes = follow(self._store, job, last_event_id(request))
        return await send_events(
            request, ((job.revision, await self._songs.describe(job, origin)) async for job in changes)
        )

    async def delete_song(self, request: web.Request) -> web.Response:
        """Cancel what is being done for a song; where nothing is, remove all that there is of it.

        With a model only what is being done, or was made, with it: nobody who names one means the others.
        """
        song, model = request.match_info["song"], read_query(request, ("model",)).get("model")
        cancelled = await self._songs.cancel(song, model)
        if cancelled is not None:
            return json_reply(await self._songs.describe(cancelled, self._origin(request)), status=202)
        await self._songs.remove(song, model)
        return web.Response(status=204)

    async def send_callback_again(self, request: web.Request) -> web.Response:
        """Send a callback once more, whatever became of it."""
        message = request.match_info["message"]
        job = await self._songs.current(request.match_info["song"], None)
        known = {each.id for each in await self._songs.callbacks(job)}
        if message not in known or not await self._store.outbox.replay(message, time.time()):
            raise NotFound("There is no such callback.")
        return json_reply({"id": message, "status": "waiting"}, status=202)

    def _origin(self, request: web.Request) -> str:
        return public_origin(request, self._public_url)
