"""Files that are made of units, each of which says how long it is: frames, chunks, tags, packets, blocks.

ffmpeg steps over the bytes between them that belong to none, or ends there, most often without a word.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamsrv.media.integrity.forward import ForwardReader

# A day of sound has no more. Whoever sends more of anything below has something else in mind.
_MOST_UNITS = 4_000_000
_MOST_TRIES = 1_000_000
_MOST_GAPS = 10_000

UnitBytes = Callable[[ForwardReader, int], int]


@dataclass(frozen=True, slots=True)
class UnitKind:
    """`unit_bytes` says how long the unit is that begins at a place, and 0 where none does.

    `sync` is what units begin with, of at most `sync_bytes`; `run`: fewer in a row may be found by chance.
    """

    unit_bytes: UnitBytes
    sync: re.Pattern[bytes]
    sync_bytes: int
    run: int = 3


@dataclass(slots=True)
class Walked:
    """The gaps between runs of units, (place, bytes); the bytes of all units, and their number.

    What lies before the first run and behind the last one is no gap.
    """

    gaps: list[tuple[int, int]] = field(default_factory=list)
    unit_bytes: int = 0
    units: int = 0


def walk_units(path: Path, kind: UnitKind) -> Walked:
    """Walk through a file by what its units say of their lengths. Blocks."""
    with path.open("rb") as file:
        return _Walk(ForwardReader(file), kind).walked()


class _Walk:
    def __init__(self, data: ForwardReader, kind: UnitKind) -> None:
        self._data = data
        self._kind = kind
        self._tries = 0

    def walked(self) -> Walked:
        found = Walked()
        unsure: list[tuple[int, int]] = []
        at, run = 0, 0
        has_begun = False
        while at >= 0 and found.units < _MOST_UNITS and len(found.gaps) + len(unsure) < _MOST_GAPS:
            size = self._kind.unit_bytes(self._data, at)
            if size:
                at, run, found.units, found.unit_bytes = at + size, run + 1, found.units + 1, found.unit_bytes + size
                if run == self._kind.run:
                    found.gaps += unsure if has_begun else []
                    unsure, has_begun = [], True
                continue
            following = self._next_unit(at + 1)
            if following >= 0:
                unsure.append((at, following - at))
            at, run = following, 0
        return found

    def _next_unit(self, at: int) -> int:
        """Where the next unit begins that another one follows, or the end; -1 where there is none."""
        kind = self._kind
        while self._tries < _MOST_TRIES and (at := self._data.find(kind.sync, at, kind.sync_bytes)) >= 0:
            self._tries += 1
            size = kind.unit_bytes(self._data, at)
            if size and (kind.unit_bytes(self._data, at + size) or len(self._data.read(at + size - 1, 2)) == 1):
                return at
            at += 1
        return -1


_ADTS_HEAD_BYTES = 7
_ADTS_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")


def _adts_bytes(data: ForwardReader, at: int) -> int:
    """Of a frame of AAC (ISO/IEC 13818-7, section 6.2)."""
    head = data.read(at, _ADTS_HEAD_BYTES)
    if len(head) < _ADTS_HEAD_BYTES or not _ADTS_SYNC.match(head):
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= _ADTS_HEAD_BYTES and head[2] >> 2 & 15 < 13 else 0


_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_LISTS = (b"RIFF", b"LIST")


def _avi_bytes(data: ForwardReader, at: int) -> int:
    """Of a chunk of an AVI, of a list only what stands before its first chunk."""
    head = data.read(at, 8)
    if len(head) < 8 or not _CHUNK_NAME.match(head):
        return 0
    if head[:4] in _LISTS:
        return 12
    size = int.from_bytes(head[4:], "little")
    if size and not data.read(at + 7 + size, 1):
        return 0
    # Not everybody fills up to an even number of bytes.
    is_filled_up = size & 1 and not _CHUNK_NAME.match(data.read(at + 8 + size, 4))
    return 8 + size + (1 if is_filled_up else 0)


_FLV_HEAD = re.compile(rb"FLV\x01[\0-\x07]\0\0\0\x09")
_FLV_TAG = re.compile(rb"[\x08\x09\x12\x28\x29\x32][\s\S]{7}\0\0\0")


def _flv_bytes(data: ForwardReader, at: int) -> int:
    """Of a tag of an FLV with the size behind it (Adobe Flash Video File Format, annex E.4)."""
    head = data.read(at, 11)
    if _FLV_HEAD.match(head):
        return 13
    return 15 + int.from_bytes(head[1:4]) if _FLV_TAG.match(head) else 0


_RM_PACKET = re.compile(rb"\0[\0\x01][\s\S]{2}\0[\0-\x3f]")
_RM_CHUNKS = (b".RMF", b"PROP", b"MDPR", b"CONT", b"INDX", b"RMMD", b"RJMD")
_RM_LEAST_BYTES = 12


def _rm_bytes(data: ForwardReader, at: int) -> int:
    """Of a chunk or a packet of RealMedia; of the chunk of packets only what stands before the first of them."""
    head = data.read(at, 8)
    if head[:4] == b"DATA":
        return 18
    if head[:4] in _RM_CHUNKS:
        return int.from_bytes(head[4:8])
    size = int.from_bytes(head[2:4])
    return size if _RM_PACKET.match(head) and size >= _RM_LEAST_BYTES else 0


_SBC_HEAD_BYTES = 4
_SBC_RATES = (16000, 32000, 44100, 48000)
_SBC_MONO, _SBC_DUAL, _SBC_JOINT = 0, 1, 3


@dataclass(frozen=True, slots=True)
class SbcFrame:
    """What the head of a frame of SBC says (A2DP specification, section 12.9)."""

    size: int
    seconds: float


def read_sbc_frame(head: bytes) -> SbcFrame | None:
    """None where these bytes begin none. Pure."""
    if len(head) < _SBC_HEAD_BYTES or head[0] != 0x9C or not head[2]:
        return None
    rate, blocks = _SBC_RATES[head[1] >> 6], 4 * (1 + (head[1] >> 4 & 3))
    mode, subbands, bitpool = head[1] >> 2 & 3, 8 if head[1] & 1 else 4, head[2]
    channels = 1 if mode == _SBC_MONO else 2
    bits = blocks * bitpool * (channels if mode <= _SBC_DUAL else 1) + (subbands if mode == _SBC_JOINT else 0)
    size = _SBC_HEAD_BYTES + subbands * channels // 2 + -(-bits // 8)
    return SbcFrame(size, blocks * subbands / rate)


def _sbc_bytes(data: ForwardReader, at: int) -> int:
    frame = read_sbc_frame(data.read(at, _SBC_HEAD_BYTES))
    return frame.size if frame is not None else 0


_VOC_HEAD, _VOC_BLOCKS = b"Creative Voice File\x1a", slice(20, 22)
_SWF_HEAD = re.compile(rb"FWS[\x01-\x3f]")
_MOST_SWF_HEAD_BYTES = 32
_SWF_LONG = 0x3F


def chain_end(path: Path) -> int | None:
    """Where the blocks of a VOC or the tags of an SWF end, or stop to make sense; None for anything else. Blocks."""
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        data = ForwardReader(file)
        head = data.read(0, _MOST_SWF_HEAD_BYTES)
        if head.startswith(_VOC_HEAD):
            at, unit_bytes = int.from_bytes(head[_VOC_BLOCKS], "little"), _voc_bytes
        elif _SWF_HEAD.match(head):
            # Behind the head of 8 bytes stands a rectangle of four numbers of so many bits, then two of two bytes.
            at, unit_bytes = 8 + -(-(5 + 4 * (head[8] >> 3)) // 8) + 4, _swf_bytes
        else:
            return None
        last = at
        for _ in range(_MOST_UNITS):
            size = unit_bytes(data, at)
            if not size:
                break
            last, at = at, at + size
        # One that seems to be longer than the file by far is none.
        return at if at <= 2 * file_bytes else last


def _voc_bytes(data: ForwardReader, at: int) -> int:
    """Of a block; the last one, of one byte, is none."""
    head = data.read(at, 4)
    return 4 + int.from_bytes(head[1:], "little") if len(head) == 4 and 0 < head[0] <= 9 else 0


def _swf_bytes(data: ForwardReader, at: int) -> int:
    """Of a tag (SWF File Format Specification, chapter 2); the last one, of two bytes, is none."""
    head = data.read(at, 6)
    code_and_size = int.from_bytes(head[:2], "little")
    if not code_and_size >> 6:
        return 0
    size = code_and_size & _SWF_LONG
    return 2 + size if size < _SWF_LONG else 6 + int.from_bytes(head[2:6], "little")


# By the names of ffmpeg's demuxers.
UNITS: Mapping[str, UnitKind] = {
    "aac": UnitKind(_adts_bytes, _ADTS_SYNC, 2, run=6),
    "avi": UnitKind(_avi_bytes, re.compile(rb"\d\d(?:wb|dc|db|tx)|ix\d\d|idx1|JUNK|LIST"), 4),
    "flv": UnitKind(_flv_bytes, _FLV_TAG, 11),
    "rm": UnitKind(_rm_bytes, _RM_PACKET, 6),
    "sbc": UnitKind(_sbc_bytes, re.compile(rb"\x9c"), 1, run=6),
}
