"""Read how much sound a file itself promises, to notice one that ends in the middle. Pure.

ffmpeg takes the end of a truncated file for its end and exits with 0, and its probe reports a WAV's length by what is
there. What the header promised is read here.
"""

from dataclasses import dataclass

from streamsrv.media.chunks import read_chunks
from streamsrv.media.formats import LAYER3_RATES
from streamsrv.media.probe import Source
from streamsrv.media.sniff import id3_length

_EBML = b"\x1aE\xdf\xa3"
_SEGMENT = b"\x18S\x80g"
_PCM_TAGS = (1, 3, 0xFFFE)  # integer, float, extensible
# Containers whose header states the length of the track; a difference this large means that sound is missing.
_EXACT_SECONDS = 0.005
_LOOSE_SECONDS = 0.25
_TOLERANCE_SECONDS = {"flac": _EXACT_SECONDS, "aiff": _EXACT_SECONDS, "au": _EXACT_SECONDS}
_STATING = ("flac", "aiff", "au", "mov", "matroska", "ogg", "wv", "tta", "ape", "flv", "dsf")
# ASF specification, sections 3.1 and 3.2: the header's File Properties; offsets of the file's size and the flags in it.
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE, _ASF_FLAGS, _ASF_BROADCAST = 40, 88, 1


@dataclass(frozen=True, slots=True)
class Declared:
    """The promise of a header: at least `seconds - tolerance_seconds` of sound."""

    seconds: float
    tolerance_seconds: float


def declared_bytes(head: bytes) -> int | None:
    """How long the file itself must be, where its first bytes say so.

    A Matroska segment does (RFC 8794, RFC 9559). The length of a film's container is that of its picture, so a lack of
    sound doesn't tell that its end is missing. Wave64, CAF and compressed WAV do; of these no length can be trusted.
    """
    chunks = read_chunks(head)
    if chunks is not None and chunks.size is not None and wav_seconds(head) is None:
        return chunks.offset + chunks.size
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return 8 + int.from_bytes(head[4:8], "little")
    if head.startswith(_ASF):
        return _asf_bytes(head)
    if not head.startswith(_EBML):
        return None
    size, offset = _vint(head, len(_EBML))
    offset += size or 0
    if size is None or not head.startswith(_SEGMENT, offset):
        return None
    size, offset = _vint(head, offset + len(_SEGMENT))
    return None if size is None else offset + size


def _asf_bytes(head: bytes) -> int | None:
    """What the header of a WMA or WMV says of its size; nothing where it was sent live."""
    at = head.find(_ASF_PROPERTIES)
    is_live = at < 0 or (head[at + _ASF_FLAGS : at + _ASF_FLAGS + 1] != b"" and head[at + _ASF_FLAGS] & _ASF_BROADCAST)
    return None if is_live else int.from_bytes(head[at + _ASF_SIZE : at + _ASF_SIZE + 8], "little") or None


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
    padding: int = 0


def declared(head: bytes, source: Source) -> Declared | None:
    """What the file promises; None where it promises nothing. `head` is its start, without an ID3 tag."""
    return declared_length(head, source.format_name, None if source.duration_estimated else source.duration_seconds)


def declared_length(head: bytes, format_name: str, track_seconds: float | None) -> Declared | None:
    """The same for a track that lasts `track_seconds` by its container's header; None where that doesn't say."""
    name = format_name.split(",", maxsplit=1)[0]
    if name == "wav":
        seconds = wav_seconds(head)
        return Declared(seconds, _EXACT_SECONDS) if seconds is not None else None
    if name == "mp3":
        xing = xing_header(head)
        return Declared(xing.samples / xing.sample_rate, _LOOSE_SECONDS) if xing else None
    if name not in _STATING or track_seconds is None:
        return None
    return Declared(track_seconds, _TOLERANCE_SECONDS.get(name, _LOOSE_SECONDS))


def wav_seconds(head: bytes) -> float | None:
    """The length that a WAV's or RF64's `data` chunk states; None for compressed or unstated ones."""
    chunks = read_chunks(head)
    form = chunks.known.get(b"fmt ", b"") if chunks and not head.startswith((b"riff", b"caff")) else b""
    # The rate in bytes that stands there is often wrong; players go by this one.
    byte_rate = int.from_bytes(form[4:8], "little") * int.from_bytes(form[12:14], "little")
    if chunks is None or chunks.size is None or not byte_rate or int.from_bytes(form[:2], "little") not in _PCM_TAGS:
        return None
    return chunks.size / byte_rate


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
    padding = 0
    trimmed = lame[:4] in (b"LAME", b"Lavf", b"Lavc") and len(lame) >= 24
    if trimmed:
        packed = int.from_bytes(lame[21:24])
        padding = packed & 0xFFF
        samples -= (packed >> 12) + padding
    return XingHeader(samples, LAYER3_RATES[version][frame[2] >> 2 & 3], trimmed, padding) if samples > 0 else None
