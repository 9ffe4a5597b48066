"""Connections, and what comes on them that is no request: it is answered in words, and none of it is in the log.

aiohttp's own connection forgets whole requests where malformed bytes stand behind them in one packet, lets handlers
wait for a body that has become malformed, hangs up on clients that still send, so that their reply is lost, and writes
what it can't read, which may be of somebody's file, into log and reply.
"""

import asyncio
import secrets
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from streamsrv.errors import BadRequest, HeadTooLarge, InternalError
from streamsrv.web.foreign_pages import ISOLATED
from streamsrv.web.problems import problem_response
from streamsrv.web.requests import REQUEST_ID, X_REQUEST_ID

# A client that still sends after the last reply is listened to for so long, so that it gets to read it.
_LINGER_SECONDS = 10.0

log = structlog.stdlib.get_logger(__name__)


class Connection(web.RequestHandler):
    """One client's connection: every request that came whole is answered, whatever comes behind it."""

    __slots__ = ("_arriving", "_ended", "_ignores_rest")

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(manager, loop=loop, **settings)
        # It gives one request at a time: a parser that comes to malformed bytes keeps those before them for itself.
        self._parser = HttpRequestParser(
            self,
            loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=settings.get("auto_decompress", True),
            max_msg_queue_size=1,
        )
        self._arriving: StreamReader = EMPTY_PAYLOAD  # the body of the latest request
        self._ignores_rest = False  # nothing that still comes is looked at
        self._ended = asyncio.Event()  # nobody need wait for the client any more

    def data_received(self, data: bytes) -> None:
        """Take in all requests that are whole, up to the first malformed byte."""
        while not self._ignores_rest:
            before = self._request_count, self._arriving.is_eof()
            try:
                super().data_received(data)
            except Exception as error:  # asyncio would log all of it
                log.warning("request_malformed", kind=type(error).__name__)
                self.force_close()
                return
            if self._request_count > before[0]:
                self._look_at_latest()
            is_full = self._reading_paused or len(self._messages) >= self._max_msg_queue_size
            if is_full or self._parser is None or before == (self._request_count, self._arriving.is_eof()):
                return
            self._parser.message_consumed()
            data = b""  # what it holds back comes now

    def _look_at_latest(self) -> None:
        request, body = self._messages[-1]
        if isinstance(request, RawRequestMessage):
            self._arriving = body
            return
        self._ignores_rest = True
        if not self._arriving.is_eof():
            # Its own request is answered, by whoever reads the body, and not a second one.
            self._messages.pop()
            self._arriving.set_exception(web.RequestPayloadError("The body is malformed."))
            self._arriving.feed_eof()
            if not self._messages and not self._request_in_progress:
                super().close()  # it is answered already

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the reply. If it is the last one, listen until the client has gone, but not to what it says."""
        if self._upgraded:  # to what isn't spoken here
            self._message_tail = b""
            self._arriving.feed_eof()
            self._ignores_rest = True
        if self._ignores_rest and not self._messages:
            resp.force_close()
        answered = await super().finish_response(request, resp, start_time)
        if self._ignores_rest and not self._messages:
            resp.force_close()  # it came while the reply went out
        if not resp.keep_alive and request.content.is_eof():
            await self._linger()
        return answered

    async def _linger(self) -> None:
        """Close in two steps: unread bytes would reset the connection, and the reply with it (RFC 9112 section 9.6)."""
        self._ignores_rest = True
        transport = self.transport
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            return
        with suppress(OSError, TimeoutError):  # it has gone already, or doesn't go
            transport.write_eof()
            transport.resume_reading()
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._ended.wait()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ended.set()
        super().connection_lost(exc)

    def close(self) -> None:
        """The server stops: take no more requests, and don't wait for clients to go."""
        self._ended.set()
        super().close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what no handler has: malformed requests, and errors around handlers. What it says isn't repeated."""
        name = request.get(REQUEST_ID) or secrets.token_hex(8)
        problem: BadRequest | HeadTooLarge | InternalError
        if isinstance(exc, HttpProcessingError):
            too_large = isinstance(exc, LineTooLong)
            problem = HeadTooLarge() if too_large else BadRequest("What was sent isn't a request by the rules of HTTP.")
            log.info("request_malformed", kind=type(exc).__name__, request_id=name)
        else:
            problem = InternalError()
            log.error("request_failed", exc_info=exc, request_id=name)
        if request.writer.output_size > 0:
            raise ConnectionError("The reply has begun already.")
        reply = problem_response(problem, name)
        reply.headers.update(ISOLATED)
        reply.headers[X_REQUEST_ID] = name
        reply.force_close()
        return reply

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong around a request, unless that is a body that was malformed after its reply."""
        error = kw.get("exc_info")
        if not isinstance(error, web.RequestPayloadError | HttpProcessingError):
            log.error("connection_failed", exc_info=error)


class _Connections(web.Server):
    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    async def _make_server(self) -> web.Server:
        usual = await super()._make_server()
        return _Connections(usual.request_handler, request_factory=usual.request_factory, **self._kwargs)
