"""Sound of an MP4 that ffmpeg passes over without a word: fragments that aren't there, and recordings that were joined.

It goes on behind a fragment that is missing, ends at a damaged one, and of two files in one it plays the first.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from streamsrv.media.fmp4 import boxes, read_fragment
from streamsrv.media.integrity.forward import ForwardReader
from streamsrv.media.mpegts import BrokenSegment

_HEAD_BYTES, _LARGE_HEAD_BYTES = 8, 16
# A box with an index of fragments begins with one that has its number (ISO/IEC 14496-12, section 8.8.5).
_FRAGMENT, _FRAGMENT_BYTES, _SIZE_BYTES = re.compile(rb"moof\0\0\0\x10mfhd"), 12, 4
_NAME = re.compile(rb"[ -~\xa9]{4}")
# Recordings of a day have no more of them, nor larger indices, one by one and together. Whoever sends more has
# something else in mind: what lies behind isn't looked at.
_MOST_BOXES = 1_000_000
_MOST_FRAGMENTS = 200_000
_MOST_INDEX_BYTES = 4 << 20
_MOST_BYTES = 64 << 20
# Stamps are rounded, and what lies between is filled by the rule of time beyond that only.
_HOLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Fragments:
    """A track: seconds `there` in fragments, by the file's own index, and seconds that are missing or aren't played."""

    there: float
    missing: float


@dataclass(frozen=True, slots=True)
class _Track:
    number: int
    scale: int
    sample_duration: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Fragment:
    """`number` of all fragments of the file; when it begins, and how long it is, in seconds."""

    number: int
    begin: float | None
    seconds: float


def read_fragments(path: Path, track: int = 0, end_seconds: float | None = None) -> Fragments | None:
    """What a file says of the audio track of that number; None where that is plain. Blocks.

    What is missing behind `end_seconds` doesn't count.
    """
    index = _Index(track)
    with path.open("rb") as file:
        index.read(ForwardReader(file))
    found, numbers = index.found, index.numbers
    if not found:
        return Fragments(0.0, index.joined_seconds) if index.joined_seconds and end_seconds is None else None
    # Some count every other number, and some only those of this track.
    steps = Counter(later - earlier for earlier, later in pairwise(numbers) if later > earlier)
    usual = steps.most_common(1)[0][0] if steps else 1
    skipped = sorted({later for earlier, later in pairwise(numbers) if later - earlier > usual})
    there, missing = found[0].seconds, 0.0
    for before, fragment in pairwise(found):
        if fragment.begin is not None and before.begin is not None:
            hole = fragment.begin - before.begin - before.seconds
            is_wanted = end_seconds is None or there + missing < end_seconds
            # Between them may lie fragments of other tracks, one of which is the one behind the leap.
            following = bisect_right(skipped, before.number)
            has_leap = following < len(skipped) and skipped[following] <= fragment.number
            missing += hole if hole > _HOLE_SECONDS and has_leap and is_wanted else 0.0
        there += fragment.seconds
    return Fragments(there, missing)


class _Index:
    """What was read of a file for one of its tracks: its fragments, and the numbers of all fragments of the file."""

    def __init__(self, track: int) -> None:
        self.found: list[_Fragment] = []
        self.numbers: list[int] = []
        self.joined_seconds = 0.0
        self._wanted = track
        self._track: _Track | None = None

    def read(self, data: ForwardReader) -> None:
        index_bytes = 0
        for kind, place, size in _top_boxes(data):
            if kind not in (b"moov", b"moof") or size > _MOST_INDEX_BYTES:
                continue
            index_bytes += size
            if index_bytes > _MOST_BYTES or len(self.numbers) >= _MOST_FRAGMENTS:
                return
            with suppress(BrokenSegment, ZeroDivisionError):
                self._take(kind, data.read(place, size))

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"moov":
            track = _read_track(body, self._wanted)
            self.joined_seconds += track.seconds if track is not None and self._track is not None else 0.0
            self._track = self._track or track
        elif self._track is not None:
            number, fragments = _read_fragment(body, self._track)
            self.numbers.append(number)
            self.found += fragments


def _top_boxes(data: ForwardReader) -> Iterator[tuple[bytes, int, int]]:
    """The file's boxes: name, place and size of the content. Behind damage it goes on at the next fragment."""
    place = 0
    for _ in range(_MOST_BOXES):
        head = data.read(place, _LARGE_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            return
        size, header = int.from_bytes(head[:4]), _HEAD_BYTES
        if size == 1:
            size, header = int.from_bytes(head[8:16]), _LARGE_HEAD_BYTES
        if size < header or not _NAME.fullmatch(head[4:8]):
            found = data.find(_FRAGMENT, place + 1 + _SIZE_BYTES, _FRAGMENT_BYTES)
            if found < 0:
                return
            place = found - _SIZE_BYTES
            continue
        yield head[4:8], place + header, size - header
        place += size


def _read_track(moov: bytes, track: int) -> _Track | None:
    """The audio track of that number, counted from 0."""
    tracks = [dict(boxes(body)) for kind, body in boxes(moov) if kind == b"trak"]
    sounds = [each for each in tracks if _handler(each) == b"soun"]
    if track >= len(sounds):
        return None
    head, media = sounds[track].get(b"tkhd", b""), dict(boxes(sounds[track][b"mdia"])).get(b"mdhd", b"")
    # With version 1 two dates before them take eight bytes each, and the duration does.
    is_long = media[:1] == b"\1"
    number = int.from_bytes(head[20:24] if head[:1] == b"\1" else head[12:16])
    scale = int.from_bytes(media[20:24] if is_long else media[12:16])
    duration = int.from_bytes(media[24:32] if is_long else media[16:20])
    defaults = [body for kind, body in boxes(dict(boxes(moov)).get(b"mvex", b"")) if kind == b"trex"]
    durations = [int.from_bytes(trex[12:16]) for trex in defaults if int.from_bytes(trex[4:8]) == number]
    return _Track(number, scale, durations[0] if durations else 0, duration / scale)


def _handler(track: dict[bytes, bytes]) -> bytes:
    return dict(boxes(track.get(b"mdia", b""))).get(b"hdlr", b"")[8:12]


def _read_fragment(moof: bytes, track: _Track) -> tuple[int, list[_Fragment]]:
    """The number of a fragment of the file, and what it has of the track."""
    number, found = 0, []
    for kind, body in boxes(moof):
        if kind == b"mfhd":
            number = int.from_bytes(body[4:8])
        elif kind == b"traf":
            inner = dict(boxes(body))
            if int.from_bytes(inner.get(b"tfhd", b"")[4:8]) == track.number:
                _, duration, _ = read_fragment(body, track.sample_duration)
                found.append(_Fragment(number, _begin(inner.get(b"tfdt", b""), track.scale), duration / track.scale))
    return number, found


def _begin(tfdt: bytes, scale: int) -> float | None:
    return int.from_bytes(tfdt[4:12] if tfdt[:1] == b"\1" else tfdt[4:8]) / scale if tfdt else None
