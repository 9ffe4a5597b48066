"""A file of strangers, walked through from its beginning to its end, that may be cut short while somebody reads it."""

import re
from typing import IO

_PIECE_BYTES = 1 << 20


class ForwardReader:
    """Keeps the piece in which the walk is: a place may be anywhere, but only those further on are cheap. Blocks.

    Files aren't mapped, since a process that touches a page which was cut off meanwhile is killed (mmap(2), SIGBUS).
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._begin = 0
        self._piece = b""

    def read(self, place: int, count: int) -> bytes:
        """So many bytes from there on, a few as a rule, or as many as there are."""
        self._hold(place, count)
        start = place - self._begin
        return self._piece[start : start + count]

    def find(self, pattern: re.Pattern[bytes], place: int, longest: int) -> int:
        """Where the next match begins, from there on, of a pattern of at most `longest` bytes; -1 for none."""
        while True:
            self._hold(place, longest)
            if found := pattern.search(self._piece, place - self._begin):
                return self._begin + found.start()
            end = self._begin + len(self._piece)
            if end - place < longest:
                return -1
            place = end - longest + 1

    def _hold(self, place: int, count: int) -> None:
        if not self._begin <= place <= self._begin + len(self._piece) - count:
            self._file.seek(place)
            self._piece = self._file.read(max(count, _PIECE_BYTES))
            self._begin = place
