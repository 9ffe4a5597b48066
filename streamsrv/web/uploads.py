"""A form with a file, taken in as fast as it is sent: text fields as values, the file's bytes into a sink.

One place knows all that can go wrong while a body arrives. Nothing of the file is kept in memory.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from aiohttp import HttpVersion11, hdrs, web

from streamsrv.errors import BadForm, TooLarge, WrongContentType
from streamsrv.web.connections import Connection
from streamsrv.web.memory import LARGE_READ_BYTES, SMALL_READ_BYTES
from streamsrv.web.multipart import MAX_HEAD_BYTES, FilePart, FormWalk
from streamsrv.web.senders import Sender, sending

__all__ = [
    "FilePart",
    "FileSink",
    "Form",
    "OpenFile",
    "UploadLimits",
    "defer_continue",
    "invite",
    "receive_form",
]

_CONTINUE = "100-continue"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`max_upload_bytes` bounds the file. An upload may be slow for `grace_seconds`, but never idle."""

    max_upload_bytes: int
    max_parts: int
    max_field_bytes: int
    idle_seconds: float
    min_bytes_per_second: float
    grace_seconds: float = 60.0


class FileSink(Protocol):
    """Where the file goes. While `append` waits, the sender waits."""

    async def append(self, data: bytes) -> None: ...


# Called once, at the file's first byte, with the fields that came before it.
OpenFile = Callable[[FilePart, Mapping[str, str]], Awaitable[FileSink]]


@dataclass(frozen=True, slots=True)
class Form:
    """A form that arrived whole. Empty text fields are left out; of an empty file nothing was opened."""

    fields: Mapping[str, str]
    file: FilePart | None
    file_bytes: int


async def receive_form(
    request: web.BaseRequest, *, fields: Collection[str], limits: UploadLimits, open_file: OpenFile
) -> Form:
    """Read a multipart/form-data body with the text fields `fields` and the file field "file", in any order.

    Returns once the closing delimiter and the end of the body were seen. Raises WrongContentType, BadForm,
    TooLarge (before a byte too many reaches the sink) and UploadTimeout; what the sink and `open_file` raise,
    and ConnectionResetError or CancelledError when the client left, pass through.
    """
    if request.headers.getall(hdrs.CONTENT_ENCODING, []):
        raise WrongContentType("A Content-Encoding isn't taken: send the form as it is.")
    if request.content_type != "multipart/form-data":
        raise WrongContentType("Send the file as multipart/form-data.")
    walk = FormWalk(
        request.headers[hdrs.CONTENT_TYPE],
        fields,
        max_parts=limits.max_parts,
        max_field_bytes=limits.max_field_bytes,
    )
    with sending(request, limits.idle_seconds) as sender:
        body = _Body(request, sender, limits, len(fields))
        await invite(request)
        with _reads(request):
            file_bytes = await _receive(body, walk, limits, open_file)
    return Form(walk.fields, walk.file, file_bytes)


async def defer_continue(request: web.Request) -> None:
    """For routes that read a body here or as JSON: a client that sends `Expect: 100-continue` waits until it's invited.

    So a request that is refused for its headers or its query is refused before its body is sent (RFC 9110 10.1.1).
    """
    if request.headers[hdrs.EXPECT].lower() != _CONTINUE:
        raise web.HTTPExpectationFailed(text="Expect takes nothing but 100-continue.")


async def invite(request: web.BaseRequest) -> None:
    """Ask for the body, once nothing else speaks against it. Only after `defer_continue`; to others it says nothing."""
    if request.headers.get(hdrs.EXPECT, "").lower() == _CONTINUE and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the reply itself hasn't begun


async def _receive(body: "_Body", walk: FormWalk, limits: UploadLimits, open_file: OpenFile) -> int:
    """Walk through the whole body; returns the size of the file."""
    intake = _Intake(walk, limits, open_file)
    # Nothing is held while more is waited for: of hundreds of senders that stall, that would be gigabytes.
    while await intake.take(await body.read()):
        pass
    walk.end()
    return intake.file_bytes


class _Intake:
    """The file of a form on its way into its sink."""

    def __init__(self, walk: FormWalk, limits: UploadLimits, open_file: OpenFile) -> None:
        self.file_bytes = 0
        self._walk = walk
        self._limits = limits
        self._open_file = open_file
        self._sink: FileSink | None = None

    async def take(self, data: bytes) -> bool:
        """Take the next bytes of the body; False where that was its end."""
        for piece in self._walk.feed(data):
            self.file_bytes += len(piece)
            if self.file_bytes > self._limits.max_upload_bytes:
                raise _too_large(self._limits)
            if self._sink is None:
                assert self._walk.file is not None  # noqa: S101 - it is known before its first byte comes out
                self._sink = await self._open_file(self._walk.file, dict(self._walk.fields))
            await self._sink.append(piece)
        return bool(data)


class _Body:
    """The request's body, and the patience we have with it."""

    def __init__(self, request: web.BaseRequest, sender: Sender, limits: UploadLimits, field_count: int) -> None:
        """Raises TooLarge where Content-Length announces more than any form with a file of the allowed size has."""
        self._sender = sender
        self._limits = limits
        head_bytes = MAX_HEAD_BYTES + 128  # and the delimiter
        self._max_bytes = (
            limits.max_upload_bytes + (field_count + 2) * head_bytes + field_count * limits.max_field_bytes
        )
        if (request.content_length or 0) > self._max_bytes:
            raise _too_large(limits)

    async def read(self) -> bytes:
        """Give what has come, as soon as there is something; b"" at the end of the body."""
        try:
            data = await self._sender.read()
        except web.RequestPayloadError as error:
            raise BadForm("The body's framing is broken.") from error
        if self._sender.received_bytes > self._max_bytes:
            raise _too_large(self._limits)
        if data:
            self._sender.check_rate(self._limits.min_bytes_per_second, self._limits.grace_seconds)
        return data


def _too_large(limits: UploadLimits) -> TooLarge:
    return TooLarge(f"The file is larger than {limits.max_upload_bytes} bytes.")


@contextmanager
def _reads(request: web.BaseRequest) -> Iterator[None]:
    """Take this connection's bytes in large bites for the time of one upload, or in small ones where many are here."""
    with _large_read(request) as is_large:
        bite = LARGE_READ_BYTES if is_large else SMALL_READ_BYTES
        request.content.set_read_chunk_size(bite)
        transport = request.transport
        # `max_size` is internal to asyncio's socket transport. Where another one has no such attribute, all works.
        usual = getattr(transport, "max_size", None)
        if not isinstance(usual, int):
            yield
            return
        transport.max_size = bite  # type: ignore[union-attr]
        try:
            yield
        finally:
            transport.max_size = usual  # type: ignore[union-attr]


def _large_read(request: web.BaseRequest) -> AbstractContextManager[bool]:
    protocol = request.protocol
    return protocol.crowd.large_read() if isinstance(protocol, Connection) else nullcontext(True)
