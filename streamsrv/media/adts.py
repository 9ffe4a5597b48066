"""AAC in ADTS: bytes between its frames that are none. ffmpeg steps over them, some without a word."""

import mmap
from pathlib import Path

_HEAD_BYTES = 7
_MOST_FRAMES = 10_000_000
# Fewer frames in a row may be found by chance.
_RUN_FRAMES = 6


def gaps_of(path: Path) -> tuple[list[tuple[int, int]], int, int]:
    """The gaps between runs of frames, (place, bytes), the bytes of all frames, and their number. Blocks.

    What lies before the first run and behind the last one is no gap.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _walk(data)


def _walk(data: mmap.mmap) -> tuple[list[tuple[int, int]], int, int]:
    gaps: list[tuple[int, int]] = []
    unsure: list[tuple[int, int]] = []
    at, run, frame_bytes, frames = 0, 0, 0, 0
    has_begun = False
    while at >= 0 and frames < _MOST_FRAMES:
        size = _frame_bytes(data, at)
        if size:
            at, run, frames, frame_bytes = at + size, run + 1, frames + 1, frame_bytes + size
            if run == _RUN_FRAMES:
                gaps += unsure if has_begun else []
                unsure, has_begun = [], True
            continue
        following = _next_frame(data, at + 1)
        if following >= 0:
            unsure.append((at, following - at))
        at, run = following, 0
    return gaps, frame_bytes, frames


def _frame_bytes(data: mmap.mmap, at: int) -> int:
    """How long the frame is that begins there; 0 where none does (ISO/IEC 13818-7, section 6.2)."""
    if at + _HEAD_BYTES > len(data) or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return 0
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return size if size >= _HEAD_BYTES and data[at + 2] >> 2 & 15 < 13 else 0


def _next_frame(data: mmap.mmap, at: int) -> int:
    """Where the next frame begins that another one follows; -1 where there is none."""
    while (at := data.find(b"\xff", at)) >= 0:
        size = _frame_bytes(data, at)
        if size and (at + size >= len(data) or _frame_bytes(data, at + size)):
            return at
        at += 1
    return -1
