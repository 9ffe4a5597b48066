"""Tags between the frames of recordings that were joined: no sound, and none is lost with them."""

from typing import IO

from streamsrv.media.integrity.declared import xing_header
from streamsrv.media.sniff import id3_length

_OLD_TAG, _OLD_TAG_BYTES, _APE_TAG, _APE_HEAD_BYTES = b"TAG", 128, b"APETAGEX", 32
# Lyrics3 2.00: a beginning, fields, their size in six digits, an end.
_LYRICS, _LYRICS_END, _MOST_LYRICS_BYTES = b"LYRICSBEGIN", (b"LYRICS200", b"LYRICSEND"), 1 << 20
_SEARCHED_BYTES = 1 << 16
# Of MPEG's layer 3, at 320 kb/s and 32 kHz.
_LONGEST_FRAME_BYTES = 1441
_MOST_TAGS = 8


def tag_bytes_at(file: IO[bytes], place: int, count: int) -> int:
    """So many of the `count` bytes from `place` on are tags; one may begin within the frame before."""
    before = min(place, _LONGEST_FRAME_BYTES)
    file.seek(place - before)
    return min(count, tag_bytes(file.read(before + min(count, _SEARCHED_BYTES)), before))


def tag_bytes(data: bytes, begin: int = 0) -> int:
    """So many bytes from `begin` on are tags, of which there may be only the beginning, or an MP3's Info. Pure."""
    total, at = 0, 0
    for _ in range(_MOST_TAGS):
        found = [place for mark in (b"ID3", _APE_TAG, _LYRICS) if (place := data.find(mark, at)) >= 0]
        at = max(at, begin) if data.startswith(_OLD_TAG, max(at, begin)) else min(found, default=len(data))
        length = _length_of_tag(data[at : at + _MOST_LYRICS_BYTES])
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
    if head.startswith(_LYRICS):
        return next((place + len(mark) for mark in _LYRICS_END if (place := head.find(mark)) >= 0), 0)
    return _OLD_TAG_BYTES if head.startswith(_OLD_TAG) else 0
