"""What is missing by a file's own structure, by its pages, units and fragments, of which ffmpeg says nothing."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.fragments import read_fragments
from streamsrv.media.integrity.joined import joined_share
from streamsrv.media.integrity.ogg import count_pages
from streamsrv.media.integrity.tags import tag_bytes_at
from streamsrv.media.integrity.units import UNITS, Walked, chain_end, read_sbc_frame, walk_units
from streamsrv.media.raw import RawKind

_AAC_SAMPLES = 1024
_LONGER_SECONDS = 0.5
# A frame of most codecs is longer.
_FRAME_SECONDS = 0.02
# Behind the last block there may be what writers leave; elsewhere that is less than anybody hears.
_LEFT_BYTES = 1024
# AVI's header of a stream of sound: its scale, rate and length (multimedia reference, AVISTREAMHEADER).
_AVI_SOUND = re.compile(rb"strh[\s\S]{4}auds[\s\S]{16}([\s\S]{4})([\s\S]{4})[\s\S]{4}([\s\S]{4})")
_AVI_HEADERS_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Examined:
    """What is looked into again: a track, counted from 0, of a file; `format_name` is its container's.

    `raw`: its kind, where only its name tells; `codec` is ffmpeg's name of the track's.
    """

    path: Path
    format_name: str
    track: int = 0
    raw: RawKind | None = None
    codec: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """`seconds` of sound are missing in the middle; frames there last `frame_seconds`.

    `is_joined`: it is that of other recordings, which were joined to this one.
    """

    seconds: float = 0.0
    frame_seconds: float = 0.0
    is_joined: bool = False

    @property
    def is_heard(self) -> bool:
        """Is it a frame at least? Times in containers are rounded."""
        return self.seconds > 0 and self.seconds >= 0.75 * self.frame_seconds


NO_DAMAGE = Damage()


def look_at_structure(
    examined: Examined, outcome: Outcome, declared: Declared | None, end_seconds: float | None
) -> Damage:
    """What is missing of what was decoded with that outcome, up to `end_seconds` if it was cut. Blocks."""
    name = examined.format_name
    if name == "ogg":
        return _lost_pages(examined, outcome, declared, end_seconds)
    if name.startswith("mov"):
        return _lost_fragments(examined, outcome, end_seconds)
    if name in UNITS:
        lost = _lost_units(examined, outcome, walk_units(examined.path, UNITS[name]), end_seconds)
        if lost.is_heard:
            return lost
    is_cut = end_seconds is not None and outcome.heard_seconds >= end_seconds
    return NO_DAMAGE if is_cut else _unheard(examined.path, outcome)


def _lost_pages(examined: Examined, outcome: Outcome, declared: Declared | None, end_seconds: float | None) -> Damage:
    most_samples = None if end_seconds is None else end_seconds * outcome.sample_rate
    pages = count_pages(examined.path, examined.track, most_samples)
    # While it is being decoded nobody knows yet how much it is.
    seconds = outcome.heard_seconds or (declared.seconds if declared is not None else 0.0) or 1.0
    page_seconds = seconds / max(1, pages.there)
    return Damage(pages.missing * page_seconds, page_seconds)


def _lost_fragments(examined: Examined, outcome: Outcome, end_seconds: float | None) -> Damage:
    found = read_fragments(examined.path, examined.track, end_seconds)
    if found is None:
        return NO_DAMAGE
    wanted = min(found.there + found.missing, math.inf if end_seconds is None else end_seconds)
    # ffmpeg ends at a damaged one, as if that were the end.
    behind = wanted - outcome.heard_seconds if found.there and outcome.heard_seconds else 0.0
    is_joined = not found.there
    return Damage(max(found.missing, behind if behind > _LONGER_SECONDS else 0.0), is_joined=is_joined)


def _lost_units(examined: Examined, outcome: Outcome, walked: Walked, end_seconds: float | None) -> Damage:
    if not walked.gaps or not outcome.sample_rate:
        return NO_DAMAGE
    frame_seconds = {"aac": _AAC_SAMPLES / outcome.sample_rate, "sbc": _sbc_seconds(examined.path)}.get(
        examined.format_name
    )
    whole_seconds = outcome.heard_seconds if frame_seconds is None else walked.units * frame_seconds
    byte_seconds = whole_seconds / walked.unit_bytes
    with examined.path.open("rb") as file:
        lost = byte_seconds * sum(
            count - tag_bytes_at(file, place, count)
            for place, count in walked.gaps
            if end_seconds is None or place * byte_seconds < end_seconds
        )
    if examined.format_name == "avi" and end_seconds is None:
        lost = min(lost, _avi_lack(examined, outcome, lost))
    elif examined.format_name == "sbc" and end_seconds is None:
        lost += max(0.0, whole_seconds - outcome.heard_seconds)  # its parser ends at a gap
    elif frame_seconds is None:
        # There the stamps show what is missing: a gap may be of pictures.
        lost = outcome.filled_samples / outcome.sample_rate
    return Damage(lost, frame_seconds or _FRAME_SECONDS)


def _sbc_seconds(path: Path) -> float:
    with path.open("rb") as file:
        frame = read_sbc_frame(file.read(4))
    return frame.seconds if frame is not None else 0.0


def _avi_lack(examined: Examined, outcome: Outcome, otherwise: float) -> float:
    """So much less was heard than the header of the track says: the gap may be of pictures."""
    with examined.path.open("rb") as file:
        found = _AVI_SOUND.findall(file.read(_AVI_HEADERS_BYTES))
    if examined.track >= len(found):
        return otherwise
    scale, rate, length = (int.from_bytes(number, "little") for number in found[examined.track])
    return max(0.0, length * scale / rate - outcome.heard_seconds) if length and rate else otherwise


def _unheard(path: Path, outcome: Outcome) -> Damage:
    """What lies behind the place where ffmpeg ends: another recording that was joined, or the rest of a broken one."""
    file_bytes = path.stat().st_size
    joined = joined_share(path, file_bytes)
    end = chain_end(path)
    is_broken = end is not None and abs(file_bytes - end) > _LEFT_BYTES
    share = abs(file_bytes - end) / max(end, file_bytes) if end is not None and is_broken else joined
    return Damage(outcome.heard_seconds * share / (1 - share), is_joined=not is_broken) if 0 < share < 1 else NO_DAMAGE
