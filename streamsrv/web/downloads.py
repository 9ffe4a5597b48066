"""A file goes to a client, with its length and a safe name. No part passes for the whole.

`send_file` sends one that is made for one request and sent once; `stored` sends those that stay, with what is here.
"""

import asyncio
import os
import re
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote

from aiohttp import hdrs, web

from streamsrv.errors import DownloadTimeout, InternalError
from streamsrv.web.connections import Connection
from streamsrv.web.requests import X_REQUEST_ID, request_id
from streamsrv.web.taking import Receiver, Taking, receiving

# Each read goes through a thread, which costs as much as reading some 100 KiB. In bites of this size a file goes out as
# fast as by sendfile, and neither a slow disk nor a slow client holds up the others.
_CHUNK_BYTES = 1 << 20
_LOOK_SECONDS = 0.25
# What file systems take, in bytes.
_NAME_BYTES = 255
# Categories that no file name needs: control and format characters, the reversal of text among them, half characters,
# separators of lines and paragraphs. The two joiners are part of some scripts and of emoji.
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
# RFC 8187 section 3.2.1: attr-char, besides letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"


async def send_file(
    request: web.BaseRequest,
    path: Path,
    *,
    name: str,
    media_type: str,
    idle_seconds: float,
    further: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send the whole file under that name, with `further` headers. It isn't kept: no part can be asked for later.

    Raises OSError where it can't be read, and what `send_bytes` raises.
    """
    async with opened_file(path) as (file, size):
        headers = {
            hdrs.CONTENT_TYPE: media_type,
            hdrs.CONTENT_DISPOSITION: content_disposition(name),
            hdrs.ACCEPT_RANGES: "none",
            hdrs.CACHE_CONTROL: "no-store",
            X_REQUEST_ID: request_id(request),
            **(further or {}),
        }
        reply = web.StreamResponse(headers=headers)
        await send_bytes(request, reply, file, start=0, stop=size, idle_seconds=idle_seconds)
    return reply


async def send_bytes(
    request: web.BaseRequest,
    reply: web.StreamResponse,
    file: BinaryIO,
    *,
    start: int,
    stop: int,
    idle_seconds: float,
) -> None:
    """Send the reply, with the file's bytes from `start` up to, not including, `stop` as its body.

    Raises InternalError where the file ends too early and DownloadTimeout where the client takes nothing for
    `idle_seconds`. Once the reply has begun the connection is cut then, so that nobody takes the part for the whole.
    """
    chunks = _chunks(file, start, stop)
    first = await anext(chunks, b"")  # a file that can't be read at all is still a status
    reply.content_length = stop - start
    await reply.prepare(request)
    async with _while_taken(request, idle_seconds):
        await reply.write(first)
        async for data in chunks:
            await reply.write(data)
        await reply.write_eof()


@asynccontextmanager
async def _while_taken(request: web.BaseRequest, idle_seconds: float) -> AsyncIterator[None]:
    """Raise DownloadTimeout in the block where the client takes nothing, which its connection needn't see besides."""
    connection = request.protocol if isinstance(request.protocol, Connection) else None
    if connection is not None:
        connection.reply_is_watched = True
    try:
        async with asyncio.TaskGroup() as tasks:
            with receiving(request) as receiver:
                watch = tasks.create_task(_watch_taking(request, receiver, idle_seconds))
                yield
                watch.cancel()
    finally:
        if connection is not None:
            connection.reply_is_watched = False


async def _chunks(file: BinaryIO, start: int, stop: int) -> AsyncIterator[bytes]:
    file.seek(start)
    left = stop - start
    while left:
        data = await asyncio.to_thread(file.read, min(_CHUNK_BYTES, left))
        if not data:
            raise InternalError("The file ended while it was sent.")
        left -= len(data)
        yield data


async def _watch_taking(request: web.BaseRequest, receiver: Receiver, idle_seconds: float) -> None:
    """Raise DownloadTimeout once the client takes nothing of what waits for it, or others need its place."""
    loop = asyncio.get_running_loop()
    taking = Taking(loop.time())
    while True:
        transport = request.transport
        if (
            isinstance(transport, asyncio.WriteTransport)
            and not transport.is_closing()
            and taking.seconds_without(transport, request.writer.output_size, loop.time()) >= idle_seconds
        ):
            raise DownloadTimeout
        with suppress(TimeoutError):
            async with asyncio.timeout(idle_seconds / 2):
                await receiver.dismissed.wait()
                raise DownloadTimeout


@asynccontextmanager
async def while_connected(request: web.BaseRequest) -> AsyncIterator[None]:
    """Cancel the block when the client leaves, and raise ConnectionResetError.

    Whoever reads the body or writes the reply hears of that by itself; whoever works in between doesn't.
    """
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_watch(request))
        yield
        watch.cancel()


async def _watch(request: web.BaseRequest) -> None:
    # aiohttp tells nobody when a client leaves.
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    raise ConnectionResetError("The client left.")


def content_disposition(name: str, kind: Literal["attachment", "inline"] = "attachment") -> str:
    """The kind with a name in both spellings (RFC 6266 appendix D): plain ASCII, and all of it (RFC 8187).

    `name` is as `safe_name` makes it, with its suffix. A browser saves an attachment, and shows or plays the other.
    """
    stem, _, suffix = name.rpartition(".")
    letters = (letter for letter in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(letter))
    plain = re.sub(r"[^A-Za-z0-9 ._()+,=@-]", "_", "".join(letters)).strip(" .") or "audio"
    return f"{kind}; filename=\"{plain}.{suffix}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS, encoding='utf-8')}"


def safe_name(stem: str, suffix: str) -> str:
    """A file name that is safe wherever it is saved: of `stem` what can be shown, so much that it isn't too long."""
    shown = "".join(" " if character.isspace() else character for character in stem)
    shown = "".join(filter(_can_be_shown, shown))
    shown = re.sub(r'[/\\:*?"<>|]', "_", shown).strip(" .")
    kept = shown.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore").rstrip(" .")
    return (kept or "audio") + suffix


def _can_be_shown(character: str) -> bool:
    return unicodedata.category(character) not in _UNSAFE or character in _JOINERS


@asynccontextmanager
async def opened_file(path: Path) -> AsyncIterator[tuple[BinaryIO, int]]:
    """Open a file to be sent, and say how long it is. Raises OSError."""
    file, size = await asyncio.to_thread(_open, path)
    try:
        yield file, size
    finally:
        await asyncio.shield(asyncio.to_thread(file.close))


def _open(path: Path) -> tuple[BinaryIO, int]:
    file = path.open("rb")
    return file, os.fstat(file.fileno()).st_size
