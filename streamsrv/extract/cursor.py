"""Cursors: opaque, versioned, signed names of a point in a list of videos. Pure.

A cursor holds all that is needed to go on, so it works after a restart and with an empty database. It is bound to what
was asked for (the list, the track, the parameters, the subject) and to the content of the sources up to its position:
with another request it is invalid, with a source that has changed it is a conflict.
"""

import hashlib
import hmac
import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamsrv.errors import BadCursor
from streamsrv.extract.timeline import Position
from streamsrv.media.arguments import Pcm

_VERSION = 1
_DIGEST_BYTES = 16
_MAC_BYTES = 32
# Version, clip, sample in it, sample of the whole, the request's digest, the sources' digest. With the signature a
# multiple of three bytes, so that no bits of the base64 text are left over (RFC 4648 section 3.5).
_BODY = struct.Struct(f">B2xIQQ{_DIGEST_BYTES}s{_DIGEST_BYTES}s")
_PURPOSE = b"streamsrv.extract.cursor\0"
_INVALID = "The cursor is not one of this server, or it was changed."


@dataclass(frozen=True, slots=True)
class Content:
    """What a source holds: its size in bytes and its SHA-256."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Cursor:
    """The point where the next segment begins, what was asked for, and which content lies before and at it.

    `start_sample` is where that point is in all clips joined.
    """

    position: Position
    start_sample: int
    request_digest: bytes
    sources_digest: bytes


def request_digest(video_files: Sequence[str], *, track: int, subject: str, parameters: Mapping[str, Any]) -> bytes:
    """Tell one request from every other: the list in its order, the track, whose it is, all parameters."""
    asked = {"videos": list(video_files), "track": track, "subject": subject, "parameters": dict(parameters)}
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(b"request\0" + text.encode()).digest()[:_DIGEST_BYTES]


def sources_digest(contents: Sequence[Content], grid: Pcm) -> bytes:
    """Tell these sources, in this order and on this grid, from every other."""
    shape = (grid.sample_rate, grid.layout, grid.channels, grid.depth_bits)
    digest = hashlib.sha256(b"sources\0" + repr(shape).encode() + b"\0")
    for content in contents:
        digest.update(struct.pack(">Q", content.size) + content.sha256)
    return digest.digest()[:_DIGEST_BYTES]


def write_cursor(cursor: Cursor, secret: bytes) -> str:
    """The cursor as text of letters, digits, `-` and `_`: one text for each cursor."""
    body = _BODY.pack(
        _VERSION,
        cursor.position.clip,
        cursor.position.sample,
        cursor.start_sample,
        cursor.request_digest,
        cursor.sources_digest,
    )
    return urlsafe_b64encode(body + _sign(body, secret)).decode("ascii")


def read_cursor(text: str, secret: bytes) -> Cursor:
    """Read a cursor that was written with this secret. Raises BadCursor for every other text."""
    try:
        data = urlsafe_b64decode(text.encode("ascii"))
    except (NotBase64, ValueError) as error:
        raise BadCursor(_INVALID) from error
    body, mac = data[: _BODY.size], data[_BODY.size :]
    # Several texts decode to the same bytes; only the one that was written counts.
    canonical = urlsafe_b64encode(data).decode("ascii") == text
    if not canonical or len(mac) != _MAC_BYTES or not hmac.compare_digest(mac, _sign(body, secret)):
        raise BadCursor(_INVALID)
    version, clip, sample, start_sample, asked, sources = _BODY.unpack(body)
    if version != _VERSION:
        raise BadCursor("The cursor is of another version of this server. Begin anew, without a cursor.")
    return Cursor(Position(clip, sample), start_sample, asked, sources)


def _sign(body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + body, "sha256")
