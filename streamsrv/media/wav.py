"""WAVs that ffmpeg reads otherwise than they are meant: headers that are wrong, sound in several places. Pure.

A file may state less than it holds, have several `data` chunks, or be several files, joined. All of its sound is played
where it is of one kind. And some headers are mended: a wrong block size, bits of a sample that don't count, a mask of
two loudspeakers that aren't left and right.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import UnusableFile
from streamsrv.media.chunks import Chunks, read_chunks
from streamsrv.media.feed import FilePart, Piece
from streamsrv.media.sizes import is_promise

# Gives so many bytes of the file from an offset on, fewer at its end.
Read = Callable[[int, int], bytes]

_PLAIN = (b"RIFF", b"RF64", b"BW64")
# With the large byte first, in its samples, too: those ffmpeg takes as they are elsewhere.
_RIFX = b"RIFX"
# What AU, whose samples are so, calls them, by tag and bits.
_AU_ENCODINGS = {(1, 16): 3, (1, 24): 4, (1, 32): 5, (3, 32): 6, (3, 64): 7, (6, 8): 27, (7, 8): 1}
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_STEREO_MASK = 3
# What stands behind the sound and is none: tags, and what fills a file up.
_TAGS = (b"ID3", b"TAG", b"APETAGEX")
_LEAST_BYTES = 64
_LEAST_SECONDS = 0.05
_MOST_STRETCHES = 256
# Behind the sound; each is looked up on the disk.
_MOST_CHUNKS = 1024
_TOO_MANY = "This WAV is made of more pieces than anybody plays."
_UNKNOWN = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Kind:
    """What samples a WAV is made of: `tag` by the registry of formats, `bits` as many as one takes up."""

    tag: int
    channels: int
    sample_rate: int
    bits: int
    is_big_endian: bool = False

    @property
    def codec(self) -> str:
        """ffmpeg's name."""
        order = "be" if self.is_big_endian else "le"
        if self.tag in (_ALAW, _MULAW):
            return "pcm_alaw" if self.tag == _ALAW else "pcm_mulaw"
        if self.tag == _FLOAT:
            return f"pcm_f{self.bits}{order}"
        return "pcm_u8" if self.bits == 8 else f"pcm_s{self.bits}{order}"

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8

    @property
    def depth_bits(self) -> int:
        """Of floats 24 count, and no less than 16 of others."""
        return 24 if self.tag == _FLOAT else max(16, self.bits)

    @property
    def is_float(self) -> bool:
        return self.tag == _FLOAT


@dataclass(frozen=True, slots=True)
class Wav:
    """A WAV as it is meant: `head` goes before its sound, which lies in `stretches` of the file, (offset, bytes).

    With that head it is what ffmpeg's `demuxer` reads. `missing_bytes` of its last piece aren't there.
    """

    kind: Kind
    head: bytes
    stretches: tuple[tuple[int, int], ...]
    demuxer: str = "wav"
    missing_bytes: int = 0

    @property
    def seconds(self) -> float:
        return sum(count for _, count in self.stretches) / self.kind.frame_bytes / self.kind.sample_rate

    def parts(self, path: Path) -> tuple[Piece, ...]:
        """What ffmpeg is fed with, of the file at `path`."""
        return (self.head, *(FilePart(path, offset, count) for offset, count in self.stretches))


def mended(head: bytes, size: int, read: Read) -> Wav | None:
    """The WAV as it is meant, where ffmpeg would read another one. Raises UnusableFile for sound of two kinds."""
    chunks, kind = _read(head)
    if chunks is None or kind is None:
        return None
    plain = min(size - chunks.offset, size if chunks.size is None else chunks.size)
    if kind.is_big_endian:
        encoding = _AU_ENCODINGS.get((kind.tag, kind.bits))
        if encoding is None:
            return None
        au = b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, encoding, kind.sample_rate, kind.channels)
        return Wav(kind, au, ((chunks.offset, plain),), "au")
    stretches, missing = _stretches(chunks, kind, size, read)
    fixed = mended_head(head)
    if fixed is None and (stretches == [(chunks.offset, plain)] or not is_promise(chunks.size or 0, size)):
        return None
    start = fixed or head[: chunks.offset]
    return Wav(kind, b"RIFF" + _UNKNOWN + start[8:-4] + _UNKNOWN, tuple(stretches), missing_bytes=missing)


def mended_head(head: bytes) -> bytes | None:
    """What stands before the sound, as it is meant where that isn't as ffmpeg reads it; None elsewhere."""
    chunks, kind = _read(head)
    if chunks is None or kind is None:
        return None
    if kind.is_big_endian:
        return head[: chunks.offset]
    form = chunks.known[b"fmt "]
    at = head.find(form, 12)  # by all its bytes: the name alone may stand in a text before it
    fixed = bytearray(form)
    fixed[8:12] = (kind.sample_rate * kind.frame_bytes).to_bytes(4, "little")
    fixed[12:14] = kind.frame_bytes.to_bytes(2, "little")
    if int.from_bytes(form[:2], "little") == _EXTENSIBLE and len(form) >= 40:
        fixed[18:20] = kind.bits.to_bytes(2, "little")
        mask = int.from_bytes(form[20:24], "little")
        if kind.channels == 2 and mask not in (0, _STEREO_MASK):
            fixed[20:24] = _STEREO_MASK.to_bytes(4, "little")
    # The rate in bytes is often wrong, and nobody goes by it.
    if fixed[:8] + fixed[12:] == form[:8] + form[12:]:
        return None
    return head[:at] + bytes(fixed) + head[at + len(form) : chunks.offset]


def _read(head: bytes) -> tuple[Chunks | None, Kind | None]:
    chunks = read_chunks(head) if head[:4] in (*_PLAIN, _RIFX) else None
    return chunks, None if chunks is None else _kind_of(chunks)


def _kind_of(chunks: Chunks) -> Kind | None:
    tag, channels, rate, bits = (chunks.number(b"fmt ", *place) for place in ((0, 2), (2, 4), (4, 8), (14, 16)))
    if tag == _EXTENSIBLE:
        tag = chunks.number(b"fmt ", 24, 26)
    bits = -(-bits // 8) * 8
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64), _ALAW: (8,), _MULAW: (8,)}
    if bits not in known.get(tag, ()) or not channels or not rate or rate * channels * bits >= 1 << 32:
        return None
    return Kind(tag, channels, rate, bits, is_big_endian=chunks.order == "big" and bits > 8)


def _stretches(chunks: Chunks, kind: Kind, size: int, read: Read) -> tuple[list[tuple[int, int]], int]:
    """Where the sound lies, and how much of the last one of several is missing.

    What states no length, or more than there is, reaches to the end.
    """
    found: list[tuple[int, int]] = []
    offset, stated = chunks.offset, chunks.size
    while True:
        room = size - offset
        if stated is None or stated >= room or not is_promise(stated, size):
            is_short = found and stated is not None and stated > room + _LEAST_BYTES and is_promise(stated, size)
            return [*found, (offset, room)], (stated or 0) - room if is_short else 0
        found.append((offset, stated))
        if len(found) > _MOST_STRETCHES:
            raise UnusableFile(_TOO_MANY)
        following = _following(offset + stated, kind, size, read)
        if following is None:
            return found, 0
        offset, stated = following
        if found[-1][0] + found[-1][1] == offset:
            offset, stated = found.pop()[0], None  # it states less than it holds


def _following(offset: int, kind: Kind, size: int, read: Read) -> tuple[int, int | None] | None:
    """The next stretch of sound behind `offset` and what it states; None where there is none."""
    begin = offset
    for _ in range(_MOST_CHUNKS):
        if size - offset <= _LEAST_BYTES:
            return None
        padded = offset + (offset & 1)
        head = read(padded, 12)
        name, stated = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"data":
            return padded + 8, stated
        if name in _PLAIN and head[8:12] == b"WAVE":
            return _joined(padded, kind, read)
        if head.startswith(_TAGS) or not any(read(padded, _LEAST_BYTES)):
            return None
        if not _is_chunk(name, stated, size - padded - 8):
            # Plainly sound only where it goes on at once behind what is stated, and for a while.
            goes_on = offset == begin and size - begin >= kind.frame_bytes * kind.sample_rate * _LEAST_SECONDS
            return (begin, None) if goes_on else None
        offset = padded + 8 + stated
    raise UnusableFile(_TOO_MANY)


def _is_chunk(name: bytes, stated: int, room: int) -> bool:
    return len(name) == 4 and all(0x20 <= letter < 0x7F for letter in name) and stated <= room + 1


def _joined(offset: int, kind: Kind, read: Read) -> tuple[int, int | None]:
    """Another file begins here. UnusableFile where its sound is of another kind."""
    head = read(offset, 64 << 10)
    chunks = read_chunks(head)
    other = _kind_of(chunks) if chunks is not None else None
    if chunks is None or other != kind:
        raise UnusableFile("Two WAVs of different kinds are joined in this file. Send each by itself.")
    return offset + chunks.offset, chunks.size
