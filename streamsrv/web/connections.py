"""Connections, and what comes on them that is no request: it is answered in words, and none of it is in the log.

Each is a member of a crowd, which is bounded (`crowd`), and answers to it: a head of a request that doesn't come in
time, and a reply that nobody takes, end it.

aiohttp's own connection forgets whole requests where malformed bytes stand behind them in one packet, lets handlers
wait for a body that has become malformed, hangs up on clients that still send, so that their reply is lost, and writes
what it can't read, which may be of somebody's file, into log and reply.
"""

import asyncio
import secrets
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from streamsrv.errors import BadRequest, HeadTimeout, HeadTooLarge, InternalError, Problem, Unavailable
from streamsrv.web.crowd import Bounds, Crowd
from streamsrv.web.foreign_pages import ISOLATED
from streamsrv.web.problems import problem_response
from streamsrv.web.requests import REQUEST_ID, X_REQUEST_ID
from streamsrv.web.taking import Taking

# A client that still sends after the last reply is listened to for so long, so that it gets to read it.
_LINGER_SECONDS = 10.0
# The same where the server stops, and others wait for that.
_FAREWELL_SECONDS = 1.0
# Of a request's head; a line of it may have 8190.
_MAX_HEAD_BYTES = 64 << 10
# So many heads are held behind the request that is being answered. No browser sends any before its reply has come.
_WAITING_REQUESTS = 4

log = structlog.stdlib.get_logger(__name__)


class Connection(web.RequestHandler):
    """One client's connection: every request that came whole is answered, whatever comes behind it."""

    __slots__ = (
        "_arriving",
        "_ended",
        "_head_bytes",
        "_head_since",
        "_ignores_rest",
        "_line",
        "_sent_before",
        "_taking",
        "_writer",
        "client",
        "crowd",
        "reply_is_watched",
    )

    def __init__(
        self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, crowd: Crowd | None = None, **settings: Any
    ) -> None:
        super().__init__(manager, loop=loop, **settings)
        self.crowd = Crowd(Bounds()) if crowd is None else crowd
        self.client = ""
        self._line: asyncio.Transport | None = None  # as long as the system has it
        self._head_since: float | None = None  # the head of a request arrives
        self._head_bytes = 0
        self._writer: AbstractStreamWriter | None = None  # of the latest request
        self._sent_before = 0  # to requests before it
        self._taking = Taking(loop.time())
        self.reply_is_watched = False  # by whoever sends it, and who says more of it
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
        self._max_msg_queue_size, self._msg_queue_resume_size = _WAITING_REQUESTS, _WAITING_REQUESTS // 2
        self._arriving: StreamReader = EMPTY_PAYLOAD  # the body of the latest request
        self._ignores_rest = False  # nothing that still comes is looked at
        self._ended = asyncio.Event()  # nobody need wait for the client any more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to it, unless there are too many."""
        super().connection_made(transport)
        self._line = self.transport
        self._head_since = self._loop.time()
        peer = transport.get_extra_info("peername")
        self.client = self.crowd.client(peer[0] if isinstance(peer, tuple) else None)
        if not self.crowd.enter(self):
            self._end(Unavailable("There are too many connections. Try again in a moment."))

    def begin_request(self, writer: AbstractStreamWriter) -> None:
        """A request is about to be answered."""
        self.crowd.note_busy(self)
        self._sent_before = self._sent_bytes
        self._writer = writer

    @property
    def _sent_bytes(self) -> int:
        return self._sent_before + (0 if self._writer is None else self._writer.output_size)

    def is_overdue(self, now: float) -> bool:
        """Close it where a request's head, or whoever should take a reply, doesn't come in time."""
        bounds, line = self.crowd.bounds, self._line
        if line is None:
            return False
        idle_seconds = self._taking.seconds_without(line, self._sent_bytes, now)
        if idle_seconds > bounds.reply_idle_seconds and not self.reply_is_watched:
            line.abort()
            return True
        waits = self._waiter is not None and not self._waiter.done()
        if waits and self._head_since is not None and now - self._head_since > bounds.header_seconds:
            self._end(HeadTimeout(f"It didn't come within {bounds.header_seconds:g} seconds."))
            return True
        return False

    def leave(self) -> None:
        """Another connection needs its place, and its descriptor at once: nobody waits until it takes what is left."""
        line = self._line
        self.force_close()
        if line is not None and line.get_write_buffer_size():
            line.abort()

    def _end(self, problem: Problem) -> None:
        """Answer what is no request yet, if anything of one came, and close."""
        if self.transport is not None and not self.transport.is_closing():
            if self._head_bytes or isinstance(problem, Unavailable):
                self.transport.write(_as_bytes(problem_response(problem, secrets.token_hex(8))))
            self._ignores_rest = True
            self.force_close()

    def data_received(self, data: bytes) -> None:
        """Take in all requests that are whole, up to the first malformed byte."""
        # By how it stands now: behind the last bytes of a body, which may be these, nothing of a head has come yet.
        is_between = self._arriving.is_eof() and not self._request_in_progress and not self._messages
        before = self._request_count
        self._take_in(data)
        if self._request_count > before:
            self._head_since, self._head_bytes = None, 0
            self.crowd.note_busy(self)
        elif is_between and data.strip(b"\r\n"):  # empty lines before a request are none of it (RFC 9112 section 2.2)
            self._head_since = self._head_since or self._loop.time()
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._end(HeadTooLarge(f"It is longer than {_MAX_HEAD_BYTES} bytes."))

    def _take_in(self, data: bytes) -> None:
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
            if _head_bytes(request) > _MAX_HEAD_BYTES:
                too_long = LineTooLong(b"", _MAX_HEAD_BYTES)
                self._messages[-1] = _ErrInfo(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, too_long, ""), EMPTY_PAYLOAD
                self._ignores_rest = True
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
        if self._close and not request.content.is_eof():
            request.content.feed_eof()  # the server stops, and reads on only so long that its reply gets there
            self._ended.clear()
            await self._linger(_FAREWELL_SECONDS)
        elif not resp.keep_alive and request.content.is_eof():
            await self._linger(_LINGER_SECONDS)
        elif not self._messages:
            self.crowd.note_idle(self)
        return answered

    async def _linger(self, seconds: float) -> None:
        """Close in two steps: unread bytes would reset the connection, and the reply with it (RFC 9112 section 9.6)."""
        self._ignores_rest = True
        transport = self.transport
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            return
        with suppress(OSError, TimeoutError):  # it has gone already, or doesn't go
            transport.write_eof()
            transport.resume_reading()
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ended.set()
        self._line = None
        self.crowd.exit(self)
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


def _head_bytes(request: RawRequestMessage) -> int:
    return len(request.path) + sum(len(name) + len(value) for name, value in request.raw_headers)


def _as_bytes(reply: web.Response) -> bytes:
    """The last reply on a connection on which nobody asked for anything."""
    assert isinstance(reply.body, bytes)  # noqa: S101 - it is a document
    reply.headers.update(ISOLATED)
    reply.headers[hdrs.CONTENT_LENGTH] = str(len(reply.body))
    reply.headers[hdrs.CONNECTION] = "close"
    lines = [f"HTTP/1.1 {reply.status} {reply.reason}", *(f"{name}: {value}" for name, value in reply.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + reply.body
