"""Sound that is missing in the middle of a file: found by a second look, where anything gave reason for one.

Who reads the file complained, there is more than it promises, its stamps leap where no pause can be, or its own pages
or frames show it. Else nobody looks.

ffmpeg goes on behind what it can't decode, and ends well. Where a complaint has cost sound is told by the frames that
came out: between two of them there are packets that gave none, or bytes that belong to none. What lies before the first
and behind the last one is no damage of the middle: recordings begin and end within a packet, and files carry tags.
"""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

from streamsrv.errors import InternalError
from streamsrv.media.child import ChildLimits
from streamsrv.media.clock import longest_hole, restarts
from streamsrv.media.ffmpeg import CORRUPT, UNDECODED, Outcome
from streamsrv.media.ffprobe import frames_arguments
from streamsrv.media.inputs import AUDIO_DECODERS
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.structure import NO_DAMAGE, Damage, Examined, look_at_structure
from streamsrv.media.integrity.tags import tag_bytes_at
from streamsrv.media.memory import probe_memory
from streamsrv.media.tools import FfmpegTools

# Streams of frames without a container, whose times only count the frames: what is missing shows in their places.
_FRAMED = ("mp3", "aac", "ac3", "eac3", "dts", "loas", "flac", "truehd", "mlp")
_MOST_GAPS = 10_000
_LONGER_SECONDS = 0.5
# In less than that frames may be found by chance, in what is none.
_RUN_SECONDS = 0.25
# A gap with fewer bytes than this share of what its sound would take is a pause.
_PAUSE_SHARE = 0.25


async def find_damage(
    tools: FfmpegTools,
    examined: Examined | None,
    outcome: Outcome,
    *,
    declared: Declared | None,
    max_seconds: float,
    end_seconds: float | None = None,
    is_given_up: Callable[[], bool] = lambda: False,
) -> Damage:
    """How much is missing in the middle of what was decoded with that outcome, up to `end_seconds` if it was cut.

    Nothing where nobody complained, and there isn't more than was `declared`: so it is where files were joined.
    """
    if examined is None or outcome.has_failed:
        return NO_DAMAGE
    found = await asyncio.to_thread(look_at_structure, examined, outcome, declared, end_seconds)
    if found.seconds:
        return found
    if not _is_suspect(examined, outcome, declared):
        return NO_DAMAGE
    walk = FrameWalk(
        examined.format_name,
        outcome.sample_rate,
        max_seconds=max_seconds,
        holes_count=outcome.is_torn(examined.format_name),
        end_seconds=end_seconds,
    )
    await _decode_again(tools, examined, walk, max_seconds, is_given_up)
    damage = await asyncio.to_thread(walk.damage, examined.path)
    filled_seconds = outcome.filled_samples / (outcome.sample_rate or 1) if _is_holed(examined, outcome) else 0.0
    return Damage(max(damage.seconds, filled_seconds), damage.frame_seconds)


async def _decode_again(
    tools: FfmpegTools, examined: Examined, walk: "FrameWalk", max_seconds: float, is_given_up: Callable[[], bool]
) -> None:
    argv = frames_arguments(
        tools.ffprobe,
        examined.path,
        track=examined.track,
        raw=examined.raw,
        codec=examined.codec,
        decoders=tools.decoders,
    )
    file_bytes = await asyncio.to_thread(lambda: examined.path.stat().st_size)
    limits = ChildLimits.for_sound(max_seconds, memory_bytes=probe_memory(file_bytes))

    def take(data: bytes) -> None:
        if is_given_up():
            raise InternalError("Nobody wants this any more.")
        walk.read(data)

    await tools.read_through(argv, take, readable=(examined.path,), limits=limits)


def _is_suspect(examined: Examined, outcome: Outcome, declared: Declared | None) -> bool:
    """Has what reads the file complained, or is there more sound than was promised, or a pause where none can be?"""
    readers = {examined.format_name, CORRUPT, UNDECODED, *AUDIO_DECODERS}
    is_longer = declared is not None and outcome.heard_seconds > declared.seconds + _LONGER_SECONDS
    return is_longer or _is_holed(examined, outcome) or not readers.isdisjoint(outcome.complainers)


def _is_holed(examined: Examined, outcome: Outcome) -> bool:
    """Without a container there are no pauses: a leap of the stamps is what the demuxer has stepped over."""
    return examined.format_name in _FRAMED and outcome.filled_samples > 0


def find_damage_here(
    tools: FfmpegTools,
    examined: Examined | None,
    outcome: Outcome,
    *,
    declared: Declared | None,
    max_seconds: float,
    is_given_up: Callable[[], bool],
) -> Damage:
    """The same for those who may block, and have no event loop."""
    return asyncio.run(
        find_damage(tools, examined, outcome, declared=declared, max_seconds=max_seconds, is_given_up=is_given_up)
    )


class FrameWalk:
    """Walks through what ffprobe prints of packets and the frames that came of them. Pure, but for `damage`.

    `holes_count`: a hole in the stamps is damage also where no packet is in it; elsewhere it may be a pause.
    `max_seconds`: the longest sound that is allowed.
    """

    def __init__(
        self,
        format_name: str,
        sample_rate: int,
        *,
        max_seconds: float,
        holes_count: bool = False,
        end_seconds: float | None = None,
    ) -> None:
        self._sample_rate = sample_rate or 1
        self._is_framed = format_name in _FRAMED
        self._tells_places = format_name != "ogg"  # there all packets of a page have the page's
        self._holes_count = holes_count
        self._longest_seconds = longest_hole(max_seconds, restarts=restarts(format_name))
        self._most_seconds = math.inf if end_seconds is None else end_seconds
        self._rest = b""
        self._packets = 0
        self._end_seconds: float | None = None
        self._end_byte = 0
        self._frame_seconds = 0.0
        self._lost_seconds = 0.0
        self._good_seconds, self._good_bytes = 0.0, 0
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
            elif kind == b"frame" and len(fields) >= 4 and self._good_seconds < self._most_seconds:
                self._add(*fields[:4])
                self._packets = 0

    def _add(self, stamp: bytes, place: bytes, size: bytes, samples: bytes) -> None:
        seconds = int(samples) / self._sample_rate
        begin = None if stamp == b"N/A" else float(stamp)
        at = None if place == b"N/A" else int(place)
        if self._end_seconds is not None and begin is not None and not self._is_framed:
            self._look_between(begin - self._end_seconds, seconds, at)
        self._end_seconds = (begin if begin is not None else self._end_seconds or 0.0) + seconds
        self._frame_seconds = max(self._frame_seconds, seconds)
        self._good_seconds += seconds
        if at is not None:
            self._place(at, int(size), seconds)

    def _look_between(self, gap_seconds: float, frame_seconds: float, at: int | None) -> None:
        if not 0.5 * frame_seconds < gap_seconds <= self._longest_seconds:
            return
        if self._packets > 1 or (self._holes_count and self._has_bytes_for(gap_seconds, at)):
            self._lost_seconds += gap_seconds

    def _has_bytes_for(self, gap_seconds: float, at: int | None) -> bool:
        """Is there room in the file for the sound of a gap? A pause takes none."""
        if at is None or not self._good_seconds or not self._tells_places:
            return True
        return at - self._end_byte > _PAUSE_SHARE * gap_seconds * self._good_bytes / self._good_seconds

    def _place(self, place: int, size: int, seconds: float) -> None:
        if self._is_framed and self._good_bytes and place > self._end_byte:
            self._begin_run((self._end_byte, place - self._end_byte))
        if place >= self._end_byte:
            self._good_bytes += size
            self._run_seconds += seconds
        self._end_byte = place + size if not self._is_framed else max(self._end_byte, place + size)

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
                lost_bytes = sum(count - tag_bytes_at(file, place, count) for place, count in self._gaps)
            self._lost_seconds += lost_bytes * self._good_seconds / self._good_bytes
        return Damage(self._lost_seconds, self._frame_seconds)
