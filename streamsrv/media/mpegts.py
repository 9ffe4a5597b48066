"""Count the audio frames in an MPEG-2 transport stream segment, to know that all of it was written. Pure.

ffmpeg's HLS muxer exits with 0 on a full disk and leaves segments that are empty or cut, so each one is read once
before it is published (ISO/IEC 13818-1, section 2.4.3).
"""

from collections.abc import Callable

from streamsrv.media.formats import LAYER3_RATES

_PACKET_BYTES = 188
_MPEG1_LAYER3_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_LAYER3_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class BrokenSegment(Exception):
    """The segment's bytes are not whole."""


def count_frames(data: bytes, codec: str) -> int:
    """Frames of `codec` ("aac" in ADTS, or "mp3") in a segment. Raises BrokenSegment when any part is missing."""
    frame_bytes = {"aac": _adts_frame_bytes, "mp3": _mpeg_frame_bytes}[codec]
    return _walk(_elementary_stream(data), frame_bytes)


def _elementary_stream(data: bytes) -> bytes:
    """Join the payloads of the one audio stream, checking that packets follow one another."""
    if not data or len(data) % _PACKET_BYTES:
        raise BrokenSegment("not a whole number of packets")
    payload = bytearray()
    audio_pid: int | None = None
    counter = -1
    for offset in range(0, len(data), _PACKET_BYTES):
        packet = data[offset : offset + _PACKET_BYTES]
        if packet[0] != 0x47:
            raise BrokenSegment("a packet without its sync byte")
        pid, control = (packet[1] & 0x1F) << 8 | packet[2], packet[3] >> 4
        if not control & 1:
            continue
        body = packet[5 + packet[4] :] if control & 2 else packet[4:]
        if packet[1] & 0x40 and body[:3] == b"\x00\x00\x01":
            audio_pid = pid
            body = body[9 + body[8] :]  # a PES packet begins: its header goes
        if pid != audio_pid:
            continue
        if counter >= 0 and packet[3] & 15 != (counter + 1) & 15:
            raise BrokenSegment("a packet is missing")
        counter = packet[3] & 15
        payload += body
    return bytes(payload)


def _walk(stream: bytes, frame_bytes: Callable[[bytes, int], int]) -> int:
    frames = offset = 0
    while offset < len(stream):
        size = frame_bytes(stream, offset)
        if size <= 0 or offset + size > len(stream):
            raise BrokenSegment("a frame is cut")
        offset += size
        frames += 1
    if frames == 0:
        raise BrokenSegment("no sound")
    return frames


def _adts_frame_bytes(stream: bytes, offset: int) -> int:
    header = stream[offset : offset + 7]
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    return (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5


def _mpeg_frame_bytes(stream: bytes, offset: int) -> int:
    header = stream[offset : offset + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version not in LAYER3_RATES or rate == 3 or bitrate in (0, 15):
        return 0
    table, coefficient = (_MPEG1_LAYER3_KBPS, 144000) if version == 3 else (_MPEG2_LAYER3_KBPS, 72000)
    return coefficient * table[bitrate] // LAYER3_RATES[version][rate] + (header[2] >> 1 & 1)
