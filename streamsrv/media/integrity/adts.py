"""AAC in ADTS: bytes between its frames that are none. ffmpeg steps over them, some without a word."""

import re
from pathlib import Path

from streamsrv.media.integrity.forward import ForwardReader

_HEAD_BYTES = 7
_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
_SYNC_BYTES = 2
# A day of sound has no more. Whoever sends more of anything below has something else in mind.
_MOST_FRAMES = 4_000_000
_MOST_TRIES = 1_000_000
_MOST_GAPS = 10_000
# Fewer frames in a row may be found by chance.
_RUN_FRAMES = 6


def gaps_of(path: Path) -> tuple[list[tuple[int, int]], int, int]:
    """The gaps between runs of frames, (place, bytes), the bytes of all frames, and their number. Blocks.

    What lies before the first run and behind the last one is no gap.
    """
    with path.open("rb") as file:
        return _Walk(ForwardReader(file)).gaps()


class _Walk:
    def __init__(self, data: ForwardReader) -> None:
        self._data = data
        self._tries = 0

    def gaps(self) -> tuple[list[tuple[int, int]], int, int]:
        gaps: list[tuple[int, int]] = []
        unsure: list[tuple[int, int]] = []
        at, run, frame_bytes, frames = 0, 0, 0, 0
        has_begun = False
        while at >= 0 and frames < _MOST_FRAMES and len(gaps) + len(unsure) < _MOST_GAPS:
            size = self._frame_bytes(at)
            if size:
                at, run, frames, frame_bytes = at + size, run + 1, frames + 1, frame_bytes + size
                if run == _RUN_FRAMES:
                    gaps += unsure if has_begun else []
                    unsure, has_begun = [], True
                continue
            following = self._next_frame(at + 1)
            if following >= 0:
                unsure.append((at, following - at))
            at, run = following, 0
        return gaps, frame_bytes, frames

    def _frame_bytes(self, at: int) -> int:
        """How long the frame is that begins there; 0 where none does (ISO/IEC 13818-7, section 6.2)."""
        head = self._data.read(at, _HEAD_BYTES)
        if len(head) < _HEAD_BYTES or not _SYNC.match(head):
            return 0
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return size if size >= _HEAD_BYTES and head[2] >> 2 & 15 < 13 else 0

    def _next_frame(self, at: int) -> int:
        """Where the next frame begins that another one follows, or the end; -1 where there is none."""
        while self._tries < _MOST_TRIES and (at := self._data.find(_SYNC, at, _SYNC_BYTES)) >= 0:
            self._tries += 1
            size = self._frame_bytes(at)
            if size and (self._frame_bytes(at + size) or not self._data.read(at + size, 1)):
                return at
            at += 1
        return -1
