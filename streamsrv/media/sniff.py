"""Tell a container from its first bytes, before the rest of an upload is there. Pure."""

from streamsrv.media.chunks import WAVES
from streamsrv.media.inputs import Container

# As much as is needed to tell: an MP4's first boxes, an ID3 tag's header, an Ogg page.
HEAD_BYTES = 64 * 1024

_MAGIC: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"fLaC", Container("flac", "flac", True)),
    (0, b"OggS", Container("ogg", "ogg", True)),
    (0, b"\x1aE\xdf\xa3", Container("matroska", "matroska", True)),
    (0, b"FLV\x01", Container("flv", "flv", True)),
    (0, b".snd", Container("au", "au", True)),
)
_MP3 = Container("mp3", "mp3", True)
_ADTS = Container("adts", "aac", True)
_WAV = Container("wav", "wav", True)
_MP4_IN_ORDER = Container("mp4", "mov", True)
# The index is at the end, so it can't be decoded from a pipe.
_MP4_INDEX_LAST = Container("mp4", "mov", False)


def sniff(head: bytes) -> Container | None:
    """Name the container that `head`, a file's first 64 KiB or all of it, begins; None where it isn't sure."""
    for offset, magic, container in _MAGIC:
        if head.startswith(magic, offset):
            return container
    if head[:4] in WAVES and head[8:12] == b"WAVE":
        return _WAV
    if head[4:8] == b"ftyp":
        return _MP4_IN_ORDER if _index_comes_first(head) else _MP4_INDEX_LAST
    if head.startswith(b"ID3"):
        # The tag may be longer than the head; what is behind it is an MP3 in all but a handful of files.
        audio = head[id3_length(head) :]
        return _frame_kind(audio) if len(audio) >= 4 else _MP3
    return _frame_kind(head)


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag at the start with its header; 0 where there is none (ID3v2.4 section 3.1)."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    size = (head[6] & 0x7F) << 21 | (head[7] & 0x7F) << 14 | (head[8] & 0x7F) << 7 | (head[9] & 0x7F)
    return size + (20 if head[5] & 0x10 else 10)


def _frame_kind(data: bytes) -> Container | None:
    """MPEG audio frames begin with eleven set bits; ADTS is the one whose layer field is 0."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    if data[1] & 0xF6 == 0xF0:
        return _ADTS
    layer, bitrate, rate = data[1] >> 1 & 3, data[2] >> 4, data[2] >> 2 & 3
    return _MP3 if layer == 1 and bitrate != 15 and rate != 3 else None


def _index_comes_first(head: bytes) -> bool:
    """Walk the top-level boxes: is `moov` before `mdat`? (ISO/IEC 14496-12, section 4.2)"""
    offset = 0
    while offset + 8 <= len(head):
        size, kind = int.from_bytes(head[offset : offset + 4]), head[offset + 4 : offset + 8]
        if kind in (b"moov", b"moof"):
            return True
        if kind == b"mdat" or size == 0:
            return False
        if size == 1:
            size = int.from_bytes(head[offset + 8 : offset + 16])
        if size < 8:
            return False
        offset += size
    return False
