"""Files made of chunks, WAV in all its kinds, Wave64 and CAF: where the sound lies and how much they state. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_KEPT_BYTES = 64
# All that is asked for of chunks before the sound. Others may be there, each with a name of its own.
_KEPT = (b"fmt ", b"ds64", b"desc")
# Programs write some dozens. Beyond that nobody looks for a promise, and ffmpeg plays what there is.
_MOST_CHUNKS = 1000
# How WAVs begin: as they always did, with large sizes, with large numbers' bytes first.
WAVES = (b"RIFF", b"RF64", b"BW64", b"RIFX")


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a container writes its chunks: where the first one is, and how its name, size and padding look."""

    first: int
    name_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    padding: int
    counts_itself: bool = False

    @property
    def head_bytes(self) -> int:
        return self.name_bytes + self.size_bytes


_RIFF = _Shape(12, 4, 4, "little", 2)
_RIFX = _Shape(12, 4, 4, "big", 2)
_WAVE64 = _Shape(40, 16, 8, "little", 8, counts_itself=True)  # names are GUIDs that begin with the four letters
_CAF = _Shape(8, 4, 8, "big", 1)


@dataclass(frozen=True, slots=True)
class Chunks:
    """`known`: the first bytes of the chunks before the sound that describe it, numbers in `order`.

    The sound lies at `offset`. Its `size` is as it stands there, which may be no promise; None where it says unknown.
    """

    known: Mapping[bytes, bytes]
    offset: int
    size: int | None
    order: Literal["little", "big"] = "little"

    def number(self, chunk: bytes, start: int, end: int) -> int:
        """What these bytes of a chunk are as a number; 0 where there are none."""
        return int.from_bytes(self.known.get(chunk, b"")[start:end], self.order)


def is_chunked(head: bytes) -> bool:
    return _shape(head) is not None


def read_chunks(head: bytes) -> Chunks | None:
    """Walk to the sound; None in a file of another kind, where `head` ends before it, and behind 1000 chunks."""
    shape = _shape(head)
    if shape is None:
        return None
    known: dict[bytes, bytes] = {}
    offset = shape.first
    for _ in range(_MOST_CHUNKS):
        if offset + shape.head_bytes > len(head):
            break
        name = head[offset : offset + 4]
        size = int.from_bytes(head[offset + shape.name_bytes : offset + shape.head_bytes], shape.order)
        body = offset + shape.head_bytes
        if name == b"data":
            return Chunks(known, body, _stated(size, shape, known), shape.order)
        if name in _KEPT:
            known[name] = head[body : body + min(size, _KEPT_BYTES)]
        length = max(size, shape.head_bytes) if shape.counts_itself else size + shape.head_bytes
        offset += length + -length % shape.padding
    return None


def _shape(head: bytes) -> _Shape | None:
    if head[8:12] == b"WAVE" and head[:4] in WAVES:
        return _RIFX if head[:4] == b"RIFX" else _RIFF
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _WAVE64
    return _CAF if head[:4] == b"caff" else None


def _stated(size: int, shape: _Shape, known: Mapping[bytes, bytes]) -> int | None:
    """RF64 and BW64 have the true size in a chunk of its own (EBU Tech 3306, ITU-R BS.2088)."""
    long_size = int.from_bytes(known.get(b"ds64", b"")[8:16], "little")
    if long_size:
        return long_size
    if size == (1 << 8 * shape.size_bytes) - 1:
        return None
    return max(0, size - shape.head_bytes) or None if shape.counts_itself else size
