"""Read how much sound a file itself promises, to notice one that ends in the middle. Pure.

ffmpeg takes the end of a truncated file for its end and exits with 0, and its probe reports a WAV's length by what is
there. What the header promised is read here.
"""

from dataclasses import dataclass

from streamsrv.media.formats import LAYER3_RATES
from streamsrv.media.probe import Source
from streamsrv.media.sniff import id3_length

# A WAV that was written to a pipe doesn't know its length: its writer left one of these.
_UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36, 0xFFFFFFFF - 44)
_EBML = b"\x1aE\xdf\xa3"
_SEGMENT = b"\x18S\x80g"
_PCM_TAGS = (1, 3, 0xFFFE)  # integer, float, extensible
# Containers whose header states the length of the track; a difference this large means that sound is missing.
_EXACT_SECONDS = 0.005
_LOOSE_SECONDS = 0.25
_TOLERANCE_SECONDS = {"flac": _EXACT_SECONDS, "aiff": _EXACT_SECONDS, "caf": _EXACT_SECONDS, "w64": _EXACT_SECONDS}
_STATING = ("flac", "aiff", "caf", "w64", "au", "mov", "matroska", "ogg", "wv", "tta", "ape", "asf", "avi", "dsf")


@dataclass(frozen=True, slots=True)
class Declared:
    """The promise of a header: at least `seconds - tolerance_seconds` of sound."""

    seconds: float
    tolerance_seconds: float


def declared_bytes(head: bytes) -> int | None:
    """How long the file itself must be, where its first bytes say so: a Matroska segment does (RFC 8794, RFC 9559).

    The length of a film's container is that of its picture, so a lack of sound doesn't tell that its end is missing.
    """
    if not head.startswith(_EBML):
        return None
    size, offset = _vint(head, len(_EBML))
    offset += size or 0
    if size is None or not head.startswith(_SEGMENT, offset):
        return None
    size, offset = _vint(head, offset + len(_SEGMENT))
    return None if size is None else offset + size


def _vint(data: bytes, offset: int) -> tuple[int | None, int]:
    """Read an element's size; None where it is unknown, as in a live recording. Gives the offset behind it, too."""
    first = data[offset] if offset < len(data) else 0
    width = 9 - first.bit_length()
    if width > 8:
        return None, offset
    value = int.from_bytes(data[offset : offset + width]) & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), offset + width


@dataclass(frozen=True, slots=True)
class XingHeader:
    """What the first MPEG frame says of the whole: samples to play, without the encoder's delay and padding."""

    samples: int
    sample_rate: int
    trimmed: bool


def declared(head: bytes, source: Source) -> Declared | None:
    """What the file promises; None where it promises nothing. `head` is its start, without an ID3 tag."""
    name = source.format_name.split(",")[0]
    if name == "wav":
        seconds = wav_seconds(head)
        return Declared(seconds, _EXACT_SECONDS) if seconds is not None else None
    if name == "mp3":
        xing = xing_header(head)
        return Declared(xing.samples / xing.sample_rate, _LOOSE_SECONDS) if xing else None
    if name not in _STATING or source.duration_seconds is None or source.duration_estimated:
        return None
    return Declared(source.duration_seconds, _TOLERANCE_SECONDS.get(name, _LOOSE_SECONDS))


def wav_seconds(head: bytes) -> float | None:
    """The length that a WAV's or RF64's `data` chunk states; None for compressed or unstated ones."""
    offset, byte_rate, data_size_64 = 12, 0, 0
    while offset + 8 <= len(head):
        kind, size = head[offset : offset + 4], int.from_bytes(head[offset + 4 : offset + 8], "little")
        body = head[offset + 8 : offset + 8 + min(size, 64)]
        if kind == b"ds64":
            data_size_64 = int.from_bytes(body[8:16], "little")
        elif kind == b"fmt " and int.from_bytes(body[:2], "little") in _PCM_TAGS:
            byte_rate = int.from_bytes(body[8:12], "little")
        elif kind == b"data":
            size = data_size_64 or (0 if size in _UNKNOWN_SIZES else size)
            return size / byte_rate if size and byte_rate else None
        offset += 8 + size + size % 2
    return None


def xing_header(head: bytes) -> XingHeader | None:
    """Read the Xing or Info header of an MP3, with LAME's delay and padding where they are there."""
    frame = head[id3_length(head) :]
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0 or frame[2] >> 2 & 3 == 3:
        return None
    version, mono = frame[1] >> 3 & 3, frame[3] >> 6 == 3
    if version not in LAYER3_RATES:
        return None
    side = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[version == 3, mono]
    tag = frame[4 + side :]
    if tag[:4] not in (b"Xing", b"Info") or not tag[7] & 1:
        return None
    frames = int.from_bytes(tag[8:12])
    samples = frames * (1152 if version == 3 else 576)
    # Behind the flags: frames, bytes (2), a table of 100 (4), a quality (8), then the encoder's name and LAME's fields.
    lame = tag[12 + 4 * (tag[7] >> 1 & 1) + 100 * (tag[7] >> 2 & 1) + 4 * (tag[7] >> 3 & 1) :]
    trimmed = lame[:4] in (b"LAME", b"Lavf", b"Lavc") and len(lame) >= 24
    if trimmed:
        packed = int.from_bytes(lame[21:24])
        samples -= (packed >> 12) + (packed & 0xFFF)
    return XingHeader(samples, LAYER3_RATES[version][frame[2] >> 2 & 3], trimmed) if samples > 0 else None
