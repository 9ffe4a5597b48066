"""Read how much sound a file itself promises, to notice one that ends in the middle. Pure.

ffmpeg takes the end of a truncated file for its end and exits with 0, and its probe reports a WAV's length by what is
there. What the header promised is read here.
"""

from dataclasses import dataclass

from streamsrv.media.chunks import WAVES, Chunks, read_chunks
from streamsrv.media.formats import LAYER3_RATES
from streamsrv.media.probe import Source
from streamsrv.media.sizes import LARGE_BYTES, is_promise
from streamsrv.media.sniff import id3_length
from streamsrv.media.wav import Wav

_EBML = b"\x1aE\xdf\xa3"
_SEGMENT = b"\x18S\x80g"
_PCM_TAGS = (1, 3, 0xFFFE)  # integer, float, extensible
# Containers whose header states the length of the track; a difference this large means that sound is missing.
_EXACT_SECONDS = 0.005
_LOOSE_SECONDS = 0.25
_TOLERANCE_SECONDS = {"flac": _EXACT_SECONDS, "aiff": _EXACT_SECONDS, "au": _EXACT_SECONDS}
_STATING = ("flac", "aiff", "au", "mov", "matroska", "ogg", "wv", "tta", "ape", "tak", "flv", "dsf")
# What a FLAC says of its samples takes 36 bits.
_MOST_FLAC_SAMPLES = (1 << 36) - 1
_MOST_COUNTED_BYTES = 64
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
    """How long the file itself must be, where its first bytes say so. Whether that can be true is for its size to say.

    A Matroska segment does (RFC 8794, RFC 9559). The length of a video's container is that of its picture, so a lack of
    sound doesn't tell that its end is missing. Wave64, CAF, DSF, DSDIFF and compressed WAV do; of these no length can
    be trusted. So do other WAVs that are so large that nobody knows before their end whether it is true.
    """
    chunks = read_chunks(head)
    if chunks is not None and chunks.size is not None:
        is_held_to_its_length = _pcm_byte_rate(head, chunks) is not None and chunks.size < LARGE_BYTES
        # Some writers count the header, too.
        counted = chunks.offset if head[:4] in WAVES else 0
        return None if is_held_to_its_length else max(chunks.size, chunks.offset + chunks.size - counted)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return 8 + int.from_bytes(head[4:8], "little")
    if head.startswith(b"DSD \x1c"):
        return int.from_bytes(head[12:20], "little")
    if head.startswith(b"FRM8") and head[12:16] == b"DSD ":
        return 12 + int.from_bytes(head[4:12])
    if head.startswith(_ASF):
        return _asf_bytes(head)
    return _matroska_bytes(head) if head.startswith(_EBML) else None


def _matroska_bytes(head: bytes) -> int | None:
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


def declared(head: bytes, source: Source, file_bytes: int | None = None) -> Declared | None:
    """What the file promises; None where it promises nothing. `head` is its start, without an ID3 tag."""
    if source.wav is not None and len(source.wav.stretches) > 1:
        return declared_wav(source.wav)
    seconds = None if source.duration_estimated else source.duration_seconds
    return declared_length(head, source.format_name, seconds, file_bytes)


def declared_wav(wav: Wav) -> Declared:
    """What all pieces of a WAV that has several promise together."""
    return Declared(wav.seconds + wav.missing_bytes / wav.kind.frame_bytes / wav.kind.sample_rate, 0.0)


def declared_length(
    head: bytes, format_name: str, track_seconds: float | None, file_bytes: int | None = None
) -> Declared | None:
    """The same for a track that lasts `track_seconds` by its container's header; None where that doesn't say.

    `file_bytes` is how large the file is, None while it still grows.
    """
    name = format_name.split(",", maxsplit=1)[0]
    if name == "wav":
        return _declared_wav(head, file_bytes)
    if name == "mp3":
        xing = xing_header(head)
        return Declared(xing.samples / xing.sample_rate, _LOOSE_SECONDS) if xing else None
    if name not in _STATING or track_seconds is None or _is_unknown(head, file_bytes):
        return None
    return Declared(track_seconds, _TOLERANCE_SECONDS.get(name, _LOOSE_SECONDS))


def _is_unknown(head: bytes, file_bytes: int | None) -> bool:
    """Does the length stand there only because the writer didn't know it?"""
    if head.startswith(b"fLaC"):
        return int.from_bytes(head[21:26]) & _MOST_FLAC_SAMPLES > _MOST_FLAC_SAMPLES - LARGE_BYTES  # RFC 9639 8.2
    return head.startswith(b".snd") and not is_promise(int.from_bytes(head[8:12]), file_bytes)


def _declared_wav(head: bytes, file_bytes: int | None) -> Declared | None:
    chunks = read_chunks(head)
    seconds = wav_seconds(head, file_bytes)
    if chunks is None or seconds is None:
        return None
    # Some writers count the header, too.
    counted_seconds = seconds * min(chunks.offset, _MOST_COUNTED_BYTES) / (chunks.size or 1)
    return Declared(seconds, max(_EXACT_SECONDS, counted_seconds))


def wav_seconds(head: bytes, file_bytes: int | None = None) -> float | None:
    """The length that a WAV's `data` chunk states; None for compressed ones, and for sizes that are no promise."""
    chunks = read_chunks(head)
    byte_rate = _pcm_byte_rate(head, chunks) if chunks is not None else None
    if chunks is None or chunks.size is None or byte_rate is None or not is_promise(chunks.size, file_bytes):
        return None
    return chunks.size / byte_rate


def _pcm_byte_rate(head: bytes, chunks: Chunks) -> int | None:
    """Bytes of a second of a WAV of plain samples. The number that stands there for it is often wrong."""
    if head[:4] not in WAVES or chunks.number(b"fmt ", 0, 2) not in _PCM_TAGS:
        return None
    channels, rate, bits = (chunks.number(b"fmt ", *place) for place in ((2, 4), (4, 8), (14, 16)))
    return rate * channels * -(-bits // 8) or None


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
    if not is_promise(frames, None):
        return None
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
