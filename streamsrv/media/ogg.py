"""Pages of an Ogg file that aren't there. ffmpeg goes on at the next one without a word, and without their sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# RFC 3533 section 6: the page's head, up to the table of its segments.
_MARK = b"OggS"
_HEAD_BYTES = 27
_FLAGS, _SERIAL, _NUMBER, _SEGMENTS = 5, slice(14, 18), slice(18, 22), 26
_FIRST_OF_STREAM = 2
_SOUGHT_BYTES = 1 << 16
# Hours of sound have no more; whoever sends so small ones has something else in mind.
_MOST_PAGES = 2_000_000
# A number further on is of another recording that was joined.
_MOST_MISSING = 10_000


@dataclass(frozen=True, slots=True)
class Pages:
    """How many of a file's pages are there, and how many are missing between them."""

    there: int
    missing: int


def count_pages(path: Path) -> Pages:
    """Walk through a file by the heads of its pages, as far as there are so many. Blocks."""
    there = missing = 0
    expected: dict[bytes, int] = {}
    with path.open("rb") as file:
        for head in _heads(file):
            serial, number = head[_SERIAL], int.from_bytes(head[_NUMBER], "little")
            if not head[_FLAGS] & _FIRST_OF_STREAM and serial in expected:
                skipped = number - expected[serial]
                missing += skipped if 0 < skipped <= _MOST_MISSING else 0
            expected[serial] = number + 1
            there += 1
    return Pages(there, missing)


def _heads(file: IO[bytes]) -> Iterator[bytes]:
    for _ in range(_MOST_PAGES):
        head = file.read(_HEAD_BYTES)
        if not head.startswith(_MARK) and not (head := _next_head(file, head)):
            return
        if len(head) < _HEAD_BYTES:
            return
        yield head
        file.seek(sum(file.read(head[_SEGMENTS])), 1)


def _next_head(file: IO[bytes], rest: bytes) -> bytes:
    """What comes next behind bytes that belong to no page; nothing where that is the end."""
    while more := file.read(_SOUGHT_BYTES):
        block = rest + more
        if (at := block.find(_MARK)) >= 0:
            head = block[at : at + _HEAD_BYTES]
            file.seek(at + len(head) - len(block), 1)
            return head + file.read(_HEAD_BYTES - len(head))
        rest = block[1 - len(_MARK) :]
    return b""
