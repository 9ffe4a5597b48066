"""A form with a file, taken in as fast as it is sent: text fields as values, the file's bytes into a sink.

One place knows all that can go wrong while a body arrives. Nothing of the file is kept in memory.
"""

import asyncio
import ctypes
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from aiohttp import HttpVersion11, hdrs, web

from streamsrv.errors import BadForm, TooLarge, UploadTimeout, WrongContentType
from streamsrv.web.multipart import MAX_HEAD_BYTES, FilePart, FormWalk

__all__ = [
    "FilePart",
    "FileSink",
    "Form",
    "OpenFile",
    "UploadLimits",
    "defer_continue",
    "invite",
    "keep_large_buffers",
    "receive_form",
]

# asyncio asks the socket for 256 KiB at a time and aiohttp buffers as much; a large upload is faster in larger bites.
READ_BYTES = 1 << 20
_CONTINUE = "100-continue"
# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


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
    body = _Body(request, limits, len(fields))
    await invite(request)
    with _large_reads(request):
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
    sink: FileSink | None = None
    file_bytes = 0
    while data := await body.read():
        for piece in walk.feed(data):
            file_bytes += len(piece)
            if file_bytes > limits.max_upload_bytes:
                raise _too_large(limits)
            if sink is None:
                assert walk.file is not None  # noqa: S101 - it is known before its first byte comes out
                sink = await open_file(walk.file, dict(walk.fields))
            await sink.append(piece)
    walk.end()
    return file_bytes


class _Body:
    """The request's body, and the patience we have with it."""

    def __init__(self, request: web.BaseRequest, limits: UploadLimits, field_count: int) -> None:
        """Raises TooLarge where Content-Length announces more than any form with a file of the allowed size has."""
        self._content = request.content
        self._limits = limits
        self._clock = asyncio.get_running_loop().time
        self._received = 0
        self._waited_seconds = 0.0  # for the client alone: while the sink is slow, its clock stands still
        head_bytes = MAX_HEAD_BYTES + 128  # and the delimiter
        self._max_bytes = (
            limits.max_upload_bytes + (field_count + 2) * head_bytes + field_count * limits.max_field_bytes
        )
        if (request.content_length or 0) > self._max_bytes:
            raise _too_large(limits)

    async def read(self) -> bytes:
        """Give what has come, as soon as there is something; b"" at the end of the body."""
        before = self._clock()
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                data = await self._content.readany()
        except TimeoutError as error:
            raise UploadTimeout(f"No byte came for {self._limits.idle_seconds:g} seconds.") from error
        except web.RequestPayloadError as error:
            raise BadForm("The body's framing is broken.") from error
        self._waited_seconds += self._clock() - before
        self._received += len(data)
        if self._received > self._max_bytes:
            raise _too_large(self._limits)
        slowest = self._limits.min_bytes_per_second
        if (
            data
            and self._waited_seconds > self._limits.grace_seconds
            and self._received < slowest * self._waited_seconds
        ):
            raise UploadTimeout(f"The upload was slower than {slowest:g} bytes per second.")
        return data


def keep_large_buffers() -> None:
    """Let this process keep the memory of freed buffers for the next ones. Call it once, at start.

    By default glibc gives each buffer of READ_BYTES back to the system and asks for it again, zeroed page by page:
    half of the time that an upload costs. Elsewhere than on glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 4 * READ_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 32 * READ_BYTES)


def _too_large(limits: UploadLimits) -> TooLarge:
    return TooLarge(f"The file is larger than {limits.max_upload_bytes} bytes.")


@contextmanager
def _large_reads(request: web.BaseRequest) -> Iterator[None]:
    """Take this connection's bytes in larger bites for the time of one upload."""
    request.content.set_read_chunk_size(READ_BYTES)
    transport = request.transport
    # `max_size` is internal to asyncio's socket transport. Where another one has no such attribute, all works, slower.
    usual = getattr(transport, "max_size", None)
    if not isinstance(usual, int):
        yield
        return
    transport.max_size = max(usual, READ_BYTES)  # type: ignore[union-attr]
    try:
        yield
    finally:
        transport.max_size = usual  # type: ignore[union-attr]
