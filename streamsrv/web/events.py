"""Server-sent events: a page is told what happens to a job, and after a lost connection only what it missed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from streamsrv.text import whole_number
from streamsrv.web.admission import Admission
from streamsrv.web.requests import X_REQUEST_ID, request_id
from streamsrv.web.responses import to_json
from streamsrv.web.taking import receiving

_PING_SECONDS = 15.0
# aiohttp doesn't say when a client that only listens has gone, so we look.
_LOOK_SECONDS = 0.5

_STOPPING = web.AppKey("stopping", asyncio.Event)
_LISTENERS = web.AppKey("listeners", Admission)
_RETRY_SECONDS = 15

Events = AsyncIterator[tuple[int, Mapping[str, Any]]]


def bound_events(app: web.Application, most: int) -> None:
    """Let so many listen at a time; more get 503, or the place of one whose client has more than a quarter of them.

    End all event streams when the server is told to stop, which would otherwise wait for their clients.
    """
    app[_LISTENERS] = Admission(most, what="streams of events", retry_seconds=_RETRY_SECONDS)
    app[_STOPPING] = asyncio.Event()

    async def stop(app: web.Application) -> None:
        app[_STOPPING].set()

    app.on_shutdown.append(stop)


def last_event_id(request: web.BaseRequest) -> int:
    """Return the revision that the client saw last; 0 where it saw none or says something that we never sent."""
    sent = request.headers.get("Last-Event-ID", "")
    return whole_number(sent, digits=18) or 0


async def send_events(request: web.Request, events: Events) -> web.StreamResponse:
    """Send each (revision, data) as event "job" with the revision as its id, until `events` ends or the client goes.

    A generator is closed on every way out. What it raises passes through; the reply has begun by then.
    Raises Unavailable where too many listen already.
    """
    headers: dict[str, str] = {X_REQUEST_ID: request_id(request)}
    listeners = request.app.get(_LISTENERS)
    try:
        with nullcontext() if listeners is None else listeners.place(request):
            async with sse_response(request, headers=headers, ping_interval=_PING_SECONDS) as stream:
                await _send_while_listened_to(request, stream, events)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    return stream


async def _send_while_listened_to(request: web.Request, stream: EventSourceResponse, events: Events) -> None:
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(_send_all(stream, events))
        listening = tasks.create_task(_until_nobody_listens(request))
        with receiving(request) as receiver:
            staying = tasks.create_task(receiver.dismissed.wait())
            await asyncio.wait({sending, listening, staying}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, listening, staying):
            task.cancel()


async def _send_all(stream: EventSourceResponse, events: Events) -> None:
    async for revision, data in events:
        try:
            await stream.send(to_json(data).decode(), id=str(revision), event="job")
        except ConnectionError:
            return  # the client has gone


async def _until_nobody_listens(request: web.Request) -> None:
    stopping = request.app.get(_STOPPING) or asyncio.Event()
    while request.transport is not None and not request.transport.is_closing():
        with suppress(TimeoutError):  # nothing happened meanwhile; look again
            await asyncio.wait_for(stopping.wait(), _LOOK_SECONDS)
            return
