"""Pages of an Ogg file that aren't there. ffmpeg goes on at the next one without a word, and without their sound."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamsrv.media.integrity.forward import ForwardReader

# RFC 3533 section 6: the page's head, up to the table of its segments.
_MARK, _MARK_BYTES = re.compile(b"OggS"), 4
_HEAD_BYTES = 27
_FLAGS, _POSITION, _SERIAL, _NUMBER, _SEGMENTS = 5, slice(6, 14), slice(14, 18), slice(18, 22), 26
_FIRST_OF_STREAM = 2
# How streams of sound begin: Opus, Vorbis, Speex, FLAC.
_SOUND = (b"OpusHead", b"\x01vorbis", b"Speex   ", b"\x7fFLAC")
_BEGINNING_BYTES = 8
# Hours of sound have no more; whoever sends so small ones has something else in mind.
_MOST_PAGES = 2_000_000
# A number further on is of another recording that was joined.
_MOST_MISSING = 10_000


@dataclass(frozen=True, slots=True)
class Pages:
    """How many pages of a track are there, and how many are missing between them."""

    there: int
    missing: int


@dataclass(slots=True)
class _Stream:
    number: int
    position: int
    first_position: int | None = None


def count_pages(path: Path, track: int = 0, most_samples: float | None = None) -> Pages:
    """Walk through a file by the heads of its pages, as far as there are so many. Blocks.

    Only the audio track of that number counts, in each of the recordings that are joined there; all streams do where
    their beginnings aren't there. What is missing behind `most_samples`, by the pages' positions, doesn't count.
    """
    there = missing = sounds = 0
    is_beginning = True
    chosen: set[bytes] = set()
    streams: dict[bytes, _Stream] = {}
    with path.open("rb") as file:
        for head, beginning in _pages(ForwardReader(file)):
            serial, number = head[_SERIAL], int.from_bytes(head[_NUMBER], "little")
            position = int.from_bytes(head[_POSITION], "little", signed=True)
            if head[_FLAGS] & _FIRST_OF_STREAM:
                # All streams of a recording begin before any of them goes on.
                sounds, is_beginning = (sounds if is_beginning else 0), True
                is_sound = beginning.startswith(_SOUND)
                chosen |= {serial} if is_sound and sounds == track else set()
                sounds += is_sound
                streams[serial] = _Stream(number, 0)
                continue
            is_beginning = False
            if chosen and serial not in chosen:
                continue
            there += 1
            missing += _skipped(streams, serial, number, position, most_samples)
    return Pages(there, missing)


def _skipped(
    streams: dict[bytes, _Stream], serial: bytes, number: int, position: int, most_samples: float | None
) -> int:
    """How many pages are missing before this one; notes it."""
    stream = streams.setdefault(serial, _Stream(number - 1, position))
    skipped, before = number - stream.number - 1, stream.position
    first = stream.first_position
    stream.number = number
    if position > 0:
        stream.position = position
        stream.first_position = position if first is None else first
    # Headers have no position: who listens into a radio gets them, and then the page that is being sent.
    is_behind = most_samples is not None and first is not None and before - first >= most_samples
    return skipped if first is not None and 0 < skipped <= _MOST_MISSING and not is_behind else 0


def _pages(data: ForwardReader) -> Iterator[tuple[bytes, bytes]]:
    """Each page's head and the first bytes of its body."""
    place = 0
    for _ in range(_MOST_PAGES):
        # Between pages there may be bytes that belong to none.
        place = data.find(_MARK, place, _MARK_BYTES)
        if place < 0 or len(head := data.read(place, _HEAD_BYTES)) < _HEAD_BYTES:
            return
        place += _HEAD_BYTES + head[_SEGMENTS]
        body_bytes = sum(data.read(place - head[_SEGMENTS], head[_SEGMENTS]))
        yield head, data.read(place, min(body_bytes, _BEGINNING_BYTES)) if head[_FLAGS] & _FIRST_OF_STREAM else b""
        place += body_bytes
