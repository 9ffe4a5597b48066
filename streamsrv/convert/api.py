"""The routes of conversions: send a file, ask how far it is, list the formats."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

from aiohttp import web

from streamsrv.convert.schema import OPTION_FIELDS, format_reply, read_conversion_id, read_options
from streamsrv.convert.upload import Conversion, Workshop
from streamsrv.convert.work import Converted
from streamsrv.errors import Conflict, NotFound
from streamsrv.web.admission import Admission
from streamsrv.web.downloads import safe_name, send_file, while_connected
from streamsrv.web.requests import read_query
from streamsrv.web.responses import json_reply
from streamsrv.web.uploads import Form, UploadLimits, defer_continue, receive_form

_ID = "{conversion_id:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}}"
# An encoder that was killed is gone at once; a disk may take a moment to remove what it wrote.
_END_SECONDS = 5.0


class ConvertApi:
    """Handlers of conversions. What is going on is known for as long as its request lasts, and not after."""

    def __init__(
        self,
        *,
        workshop: Workshop,
        limits: UploadLimits,
        admission: Admission,
        download_idle_seconds: float,
    ) -> None:
        self._workshop = workshop
        self._formats = workshop.tools.formats()
        self._limits = limits
        self._admission = admission
        self._download_idle_seconds = download_idle_seconds
        self._running: dict[str, Conversion] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def lifetime(self) -> AsyncIterator[None]:
        """Leave only once no conversion goes on: a server that stops cancels them, and doesn't wait for that."""
        yield
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._idle.wait()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/convert", self.convert, expect_handler=defer_continue),
            web.get(f"/convert/{_ID}", self.show_conversion),
            web.get("/v1/formats", self.list_formats),
        ]

    async def convert(self, request: web.Request) -> web.StreamResponse:
        """Take a file in and answer with the converted one."""
        query = read_query(request, (*OPTION_FIELDS, "conversion_id"))
        conversion_id = read_conversion_id(query.pop("conversion_id", "") or str(uuid.uuid4()))
        read_options(query, self._formats)
        with self._admission.place(request), self._named(conversion_id, query, request.content_length) as running:
            async with running as conversion:
                form = await receive_form(
                    request, fields=OPTION_FIELDS, limits=self._limits, open_file=conversion.open_file
                )
                async with while_connected(request):
                    converted = await conversion.finish(form)
                return await self._send(request, converted, form)

    async def show_conversion(self, request: web.Request) -> web.Response:
        """How far a conversion is that is being sent, made or answered now."""
        conversion = self._running.get(request.match_info["conversion_id"].lower())
        if conversion is None:
            raise NotFound("There is no such conversion, or it is over: nothing is kept of it.")
        return json_reply(conversion.progress())

    async def list_formats(self, _request: web.Request) -> web.Response:
        """What a file can be converted to."""
        return json_reply({"formats": [format_reply(form) for form in self._formats.values()]})

    @contextmanager
    def _named(self, conversion_id: str, given: Mapping[str, str], expected_bytes: int | None) -> Iterator[Conversion]:
        """A conversion that can be asked for by its name for the time of the block. Conflict where that is taken."""
        if conversion_id in self._running:
            raise Conflict("A conversion of that name is going on.")
        conversion = self._running[conversion_id] = Conversion(
            conversion_id, given, expected_bytes=expected_bytes or 0, workshop=self._workshop
        )
        self._idle.clear()
        try:
            yield conversion
        finally:
            del self._running[conversion_id]
            if not self._running:
                self._idle.set()

    async def _send(self, request: web.Request, converted: Converted, form: Form) -> web.StreamResponse:
        name, lost_seconds = form.file.filename if form.file else "", converted.lost_seconds
        return await send_file(
            request,
            converted.path,
            name=safe_name(name.rpartition(".")[0] or name, converted.form.suffix),
            media_type=converted.form.media_type,
            idle_seconds=self._download_idle_seconds,
            further={} if lost_seconds is None else {"X-Lost-Seconds": f"{lost_seconds:.3f}"},
        )
