"""Senders that are told to stop while they send."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from support.deadline import eventually
from support.wire.link import linked
from support.wire.messages import closed, file_part

from streamsrv.errors import Unavailable
from streamsrv.web.admission import Admission
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.runner import Runner
from streamsrv.web.senders import dismiss_senders_at_shutdown, sender_of
from streamsrv.web.uploads import FilePart, UploadLimits, receive_form

LIMITS = UploadLimits(
    max_upload_bytes=1 << 30, max_parts=5, max_field_bytes=100, idle_seconds=30, min_bytes_per_second=0
)
FORM = closed(file_part("song.wav", bytes(4 << 20)))
BUSY_BYTES_PER_SECOND = 1 << 20


class Uploads:
    """An application that takes files, so many at a time, and keeps nothing of them."""

    def __init__(self, places: int) -> None:
        self.here: list[web.Request] = []
        self.waits: asyncio.Event | None = None
        self._admission = Admission(places, what="files", retry_seconds=5, busy_bytes_per_second=BUSY_BYTES_PER_SECOND)
        self.app = web.Application()
        name_requests(self.app)
        answer_problems(self.app)
        dismiss_senders_at_shutdown(self.app)
        self.app.add_routes([web.post("/", self._take)])

    async def append(self, _data: bytes) -> None:
        """Nothing is kept."""

    async def _take(self, request: web.Request) -> web.Response:
        async def open_file(_part: FilePart, _fields: Mapping[str, str]) -> "Uploads":
            return self

        self.here.append(request)
        if self.waits is not None:
            await self.waits.wait()
        with self._admission.place(request):
            form = await receive_form(request, fields=(), limits=LIMITS, open_file=open_file)
        return web.Response(text=str(form.file_bytes))


@asynccontextmanager
async def served(uploads: Uploads) -> AsyncIterator[tuple[int, Runner]]:
    runner = Runner(uploads.app, access_log=None, auto_decompress=False, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], runner
    finally:
        await runner.cleanup()


async def test_the_slowest_sender_hears_why_it_goes() -> None:
    """With all places taken, a newcomer gets that of the slowest, who is told so at once, in the middle of its body."""
    uploads = Uploads(2)
    async with (
        served(uploads) as (port, _),
        linked(port) as slow,
        linked(port) as slower,
        linked(port) as quick,
        linked(port) as fourth,
    ):
        for link, count in ((slow, 300_000), (slower, 200_000)):
            await link.post("/", FORM)
            await link.send(count)
        await eventually(lambda: len(uploads.here) == 2 and all(map(_is_measured, uploads.here)))
        await quick.post("/", FORM)
        reply = await slower.reply()
        assert (reply.problem["status"], reply.headers["Retry-After"], reply.headers["Connection"]) == (
            503,
            "5",
            "close",
        )
        assert "slowest" in reply.detail
        assert (await quick.finish()).status == 200
        await fourth.post("/", FORM)
        assert (await slow.finish()).status == (await fourth.finish()).status == 200


def _is_measured(request: web.Request) -> bool:
    sender = sender_of(request)
    return sender is not None and sender.bytes_per_second is not None


async def test_a_server_that_stops_says_so_to_who_still_sends() -> None:
    """Each gets 503 with Retry-After and then the end of the connection, also one that sends on meanwhile."""
    uploads = Uploads(2)
    async with served(uploads) as (port, runner), linked(port) as stalls, linked(port) as sends:
        for link in (stalls, sends):
            await link.post("/", FORM)
            await link.send(300_000)
        await eventually(lambda: len(uploads.here) == 2 and all(map(sender_of, uploads.here)))
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(runner.cleanup())
            while not stopping.done():
                await sends.send(1000)
                await asyncio.sleep(0.01)  # so that it goes on while the server stops
        for link in (stalls, sends):
            reply = await link.reply()
            assert (reply.problem["status"], reply.headers["Retry-After"]) == (503, "5")
            assert await link.rest() == b""


async def test_who_begins_to_send_while_it_stops_hears_it_too() -> None:
    """A request whose body nobody read yet when the server was told to stop is answered like the others."""
    uploads = Uploads(2)
    uploads.waits = asyncio.Event()
    async with served(uploads) as (port, runner), linked(port) as late:
        await late.post("/", FORM)
        await late.send(1000)
        await eventually(lambda: uploads.here)
        stopping = asyncio.ensure_future(runner.shutdown())
        await asyncio.sleep(0)
        uploads.waits.set()
        assert (await late.reply()).problem["status"] == 503
        await stopping


async def test_who_was_dismissed_between_two_reads_hears_it_at_the_next() -> None:
    """A farewell that comes while nobody reads isn't lost."""
    uploads = Uploads(1)
    async with served(uploads) as (port, _), linked(port) as link:
        await link.post("/", FORM)
        await eventually(lambda: uploads.here and sender_of(uploads.here[0]))
        sender = sender_of(uploads.here[0])
        assert sender is not None
        sender.dismiss(Unavailable("Go."))
        sender.dismiss(Unavailable("Go."))
        assert (await link.reply()).detail == "Go."
