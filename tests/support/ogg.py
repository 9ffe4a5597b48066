"""Ogg's pages by hand (RFC 3533): other positions, pages that are lost or damaged."""

import struct
from collections.abc import Iterator

_POLYNOMIAL = 0x04C11DB7


def pages(data: bytes) -> Iterator[bytes]:
    """A stream as its pages."""
    offset = 0
    while offset < len(data):
        count = data[offset + 26]
        end = offset + 27 + count + sum(data[offset + 27 : offset + 27 + count])
        yield data[offset:end]
        offset = end


def later(data: bytes, *, positions: int) -> bytes:
    """The stream with so much more at all positions but those of its headers."""
    return b"".join(_moved(page, positions) for page in pages(data))


def _moved(page: bytes, positions: int) -> bytes:
    position = struct.unpack_from("<q", page, 6)[0]
    if position <= 0:
        return page
    moved = bytearray(page)
    struct.pack_into("<q", moved, 6, position + positions)
    return sealed(moved)


def sealed(page: bytearray) -> bytes:
    """The page with its own checksum."""
    page[22:26] = bytes(4)
    struct.pack_into("<I", page, 22, _checksum(page))
    return bytes(page)


def _checksum(data: bytes | bytearray) -> int:
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = ((value << 1) ^ _POLYNOMIAL if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value
