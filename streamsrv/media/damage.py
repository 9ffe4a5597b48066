"""Sound that is missing in the middle of a file: found by a second look, once a decoder has complained.

ffmpeg goes on behind what it can't decode, and ends well. Where a complaint has cost sound is told by the frames that
came out: between two of them there are packets that gave none, or bytes that belong to none. What lies before the first
and behind the last one is no damage of the middle: recordings begin and end within a packet, and files carry tags.
"""

import asyncio
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from streamsrv.media.child import ChildLimits
from streamsrv.media.declared import Declared, xing_header
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.ffprobe import frames_arguments
from streamsrv.media.memory import probe_memory
from streamsrv.media.ogg import count_pages
from streamsrv.media.raw import RawKind
from streamsrv.media.sniff import id3_length
from streamsrv.media.tools import FfmpegTools

# Streams of frames without a container, whose times only count the frames: what is missing shows in their places.
_FRAMED = ("mp3", "aac", "ac3", "eac3", "dts", "loas", "flac")
# In MPEG's streams a further leap means that the clock began anew.
_LEAP_SECONDS = 10.0
# Tags that stand between the frames of recordings which were joined.
_OLD_TAG, _OLD_TAG_BYTES, _APE_TAG, _APE_HEAD_BYTES = b"TAG", 128, b"APETAGEX", 32
_SEARCHED_BYTES = 1 << 16
# Of MPEG's layer 3, at 320 kb/s and 32 kHz.
_LONGEST_FRAME_BYTES = 1441
_MOST_TAGS = 8
_MOST_GAPS = 10_000
_LONGER_SECONDS = 0.5
# In less than that frames may be found by chance, in what is none.
_RUN_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Examined:
    """What is looked into again: a track, counted from 0, of a file; `format_name` is its container's.

    `raw`: its kind, where only its name tells.
    """

    path: Path
    format_name: str
    track: int = 0
    raw: RawKind | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """`seconds` of sound are missing in the middle; frames there last `frame_seconds`."""

    seconds: float = 0.0
    frame_seconds: float = 0.0

    @property
    def is_heard(self) -> bool:
        """Is it a frame at least? Times in containers are rounded."""
        return self.seconds > 0 and self.seconds >= 0.75 * self.frame_seconds


NO_DAMAGE = Damage()


async def find_damage(
    tools: FfmpegTools,
    examined: Examined | None,
    outcome: Outcome,
    *,
    declared: Declared | None,
    max_seconds: float,
    end_seconds: float | None = None,
) -> Damage:
    """How much is missing in the middle of what was decoded with that outcome, up to `end_seconds` if it was cut.

    Nothing where nobody complained, and there isn't more than was `declared`: so it is where files were joined.
    """
    if examined is None:
        return NO_DAMAGE
    if examined.format_name == "ogg" and (lost := await _lost_pages(examined.path, outcome)).seconds:
        return lost
    is_longer = declared is not None and outcome.heard_seconds > declared.seconds + _LONGER_SECONDS
    # Without a container there are no pauses: a leap of the stamps is what the demuxer has stepped over.
    is_holed = examined.format_name in _FRAMED and outcome.filled_samples > 0
    if not (outcome.complainers or is_longer or is_holed):
        return NO_DAMAGE
    walk = FrameWalk(
        examined.format_name,
        outcome.sample_rate,
        holes_count=outcome.is_torn(examined.format_name),
        end_seconds=end_seconds,
    )
    argv = frames_arguments(
        tools.ffprobe, examined.path, track=examined.track, raw=examined.raw, decoders=tools.decoders
    )
    file_bytes = await asyncio.to_thread(lambda: examined.path.stat().st_size)
    limits = ChildLimits.for_sound(max_seconds, memory_bytes=probe_memory(file_bytes))
    await tools.read_through(argv, walk.read, readable=(examined.path,), limits=limits)
    damage = await asyncio.to_thread(walk.damage, examined.path)
    filled_seconds = outcome.filled_samples / (outcome.sample_rate or 1) if is_holed else 0.0
    return Damage(max(damage.seconds, filled_seconds), damage.frame_seconds)


def find_damage_here(
    tools: FfmpegTools,
    examined: Examined | None,
    outcome: Outcome,
    *,
    declared: Declared | None,
    max_seconds: float,
) -> Damage:
    """The same for those who may block, and have no event loop."""
    return asyncio.run(find_damage(tools, examined, outcome, declared=declared, max_seconds=max_seconds))


async def _lost_pages(path: Path, outcome: Outcome) -> Damage:
    pages = await asyncio.to_thread(count_pages, path)
    page_seconds = outcome.heard_seconds / max(1, pages.there)
    return Damage(pages.missing * page_seconds, page_seconds)


class FrameWalk:
    """Walks through what ffprobe prints of packets and the frames that came of them. Pure, but for `damage`.

    `holes_count`: a hole in the stamps is damage also where no packet is in it; elsewhere it may be a pause.
    """

    def __init__(
        self, format_name: str, sample_rate: int, *, holes_count: bool = False, end_seconds: float | None = None
    ) -> None:
        self._sample_rate = sample_rate or 1
        self._is_framed = format_name in _FRAMED
        self._steps_over = format_name == "aac"
        self._holes_count = holes_count
        self._most_seconds = math.inf if end_seconds is None else end_seconds
        self._rest = b""
        self._packets = 0
        self._end_seconds: float | None = None
        self._end_byte = 0
        self._frame_seconds = 0.0
        self._lost_seconds = 0.0
        self._good_seconds, self._good_bytes, self._seen_bytes = 0.0, 0, 0
        self._run_seconds = 0.0
        self._gaps: list[tuple[int, int]] = []
        self._unsure: list[tuple[int, int]] = []

    def read(self, data: bytes) -> None:
        """Take the next piece of the output, which may end anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            kind, *fields = line.split(b",")
            if kind == b"packet":
                self._packets += 1
                self._seen_bytes += int(fields[0])
            elif kind == b"frame" and len(fields) >= 4 and self._good_seconds < self._most_seconds:
                self._add(*fields[:4])
                self._packets = 0

    def _add(self, stamp: bytes, place: bytes, size: bytes, samples: bytes) -> None:
        seconds = int(samples) / self._sample_rate
        begin = None if stamp == b"N/A" else float(stamp)
        if self._end_seconds is not None and begin is not None and not self._is_framed:
            self._look_between(begin - self._end_seconds, seconds)
        self._end_seconds = (begin if begin is not None else self._end_seconds or 0.0) + seconds
        self._frame_seconds = max(self._frame_seconds, seconds)
        self._good_seconds += seconds
        if self._is_framed and place != b"N/A":
            self._place(int(place), int(size), seconds)

    def _look_between(self, gap_seconds: float, frame_seconds: float) -> None:
        if 0.5 * frame_seconds < gap_seconds <= _LEAP_SECONDS and (self._packets > 1 or self._holes_count):
            self._lost_seconds += gap_seconds

    def _place(self, place: int, size: int, seconds: float) -> None:
        if self._good_bytes and place > self._end_byte:
            self._begin_run((self._end_byte, place - self._end_byte))
        if place >= self._end_byte:
            self._good_bytes += size
            self._run_seconds += seconds
        self._end_byte = max(self._end_byte, place + size)

    def _begin_run(self, gap: tuple[int, int]) -> None:
        """What lies before the first run of frames, and behind the last one, is no damage of the middle."""
        if self._run_seconds >= _RUN_SECONDS:
            self._gaps += self._unsure if len(self._gaps) < _MOST_GAPS else []
            self._unsure = []
        elif not self._gaps and not self._unsure:
            self._run_seconds = 0.0
            return
        if len(self._unsure) < _MOST_GAPS:
            self._unsure.append(gap)
        self._run_seconds = 0.0

    def damage(self, path: Path) -> Damage:
        """All that was found. Looks into the file at `path` for tags, which are no sound. Blocks."""
        if self._run_seconds >= _RUN_SECONDS:
            self._gaps += self._unsure
        if self._gaps and self._good_bytes:
            with path.open("rb") as file:
                lost_bytes = sum(count - _tag_bytes_at(file, place, count) for place, count in self._gaps)
                # ADTS's demuxer steps over what is no frame, and counts places without it.
                skipped = os.fstat(file.fileno()).st_size - self._seen_bytes if self._steps_over else 0
            self._lost_seconds += (lost_bytes + max(0, skipped)) * self._good_seconds / self._good_bytes
        return Damage(self._lost_seconds, self._frame_seconds)


def _tag_bytes_at(file: IO[bytes], place: int, count: int) -> int:
    """So many of the `count` bytes from `place` on are tags; one may begin within the frame before."""
    before = min(place, _LONGEST_FRAME_BYTES)
    file.seek(place - before)
    return min(count, tag_bytes(file.read(before + min(count, _SEARCHED_BYTES)), before))


def tag_bytes(data: bytes, begin: int = 0) -> int:
    """So many bytes from `begin` on are tags, of which there may be only the beginning, or an MP3's Info. Pure."""
    total, at = 0, 0
    for _ in range(_MOST_TAGS):
        found = [place for mark in (b"ID3", _APE_TAG) if (place := data.find(mark, at)) >= 0]
        at = max(at, begin) if data.startswith(_OLD_TAG, max(at, begin)) else min(found, default=len(data))
        length = _length_of_tag(data[at : at + _APE_HEAD_BYTES])
        total += max(0, at + length - max(at, begin))
        at += max(length, 1)
        if length and xing_header(data[at : at + _LONGEST_FRAME_BYTES]) is not None:
            return total + len(data[at : at + _LONGEST_FRAME_BYTES])
    return total


def _length_of_tag(head: bytes) -> int:
    if head.startswith(b"ID3"):
        return id3_length(head) if all(number < 0x80 for number in head[6:10]) else 0
    if head.startswith(_APE_TAG):
        is_head = bool(head[23:24] and head[23] & 0x20)  # else it is the foot, behind what it counts
        return _APE_HEAD_BYTES + (int.from_bytes(head[12:16], "little") if is_head else 0)
    return _OLD_TAG_BYTES if head.startswith(_OLD_TAG) else 0
