"""Count the samples in a fragmented MP4 segment, to know that all of it was written. Pure (ISO/IEC 14496-12)."""

from collections.abc import Iterator

from streamsrv.media.mpegts import BrokenSegment


def count_samples(data: bytes) -> tuple[int, int]:
    """Packets and their total duration, in units of the track's time scale, in a segment of one audio track.

    Raises BrokenSegment when a box is cut or the media data is shorter than its index says.
    """
    top = list(boxes(data))
    media_bytes = sum(len(body) for kind, body in top if kind == b"mdat")
    fragments = [inner for kind, body in top if kind == b"moof" for name, inner in boxes(body) if name == b"traf"]
    counted = [read_fragment(fragment) for fragment in fragments]
    packets, duration, indexed_bytes = (sum(row[column] for row in counted) for column in range(3))
    if packets == 0 or media_bytes < indexed_bytes:
        raise BrokenSegment("no sound, or less than its index says")
    return packets, duration


def is_empty(data: bytes) -> bool:
    """Is this nothing but a segment's type? Raises BrokenSegment where even that is cut.

    FLAC's encoder ends with an empty packet. Where the sound fills its last segment that packet opens another one.
    """
    return [kind for kind, _ in boxes(data)] == [b"styp"]


def check_init(data: bytes) -> None:
    """An initialisation section has a whole `moov`. Raises BrokenSegment."""
    if b"moov" not in {kind for kind, _ in boxes(data)}:
        raise BrokenSegment("no index")


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of a level, each with its content. Raises BrokenSegment where one reaches beyond the data."""
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4])
        header = 8
        if size == 1:
            size, header = int.from_bytes(data[offset + 8 : offset + 16]), 16
        if size < header or offset + size > len(data):
            raise BrokenSegment("a box is cut")
        yield data[offset + 4 : offset + 8], data[offset + header : offset + size]
        offset += size


def read_fragment(traf: bytes, track_duration: int = 0) -> tuple[int, int, int]:
    """Packets, duration and bytes of one track fragment: `tfhd` holds the defaults that `trun` may override.

    `track_duration`: what the track's `trex` says of a sample where `tfhd` says nothing. Raises BrokenSegment.
    """
    default_size = packets = duration = size = 0
    default_duration = track_duration
    for kind, body in boxes(traf):
        if kind == b"tfhd":
            default_duration, default_size = _fragment_defaults(body)
            default_duration = default_duration or track_duration
        elif kind == b"trun":
            counted = _read_run(body, default_duration, default_size)
            packets, duration, size = packets + counted[0], duration + counted[1], size + counted[2]
    return packets, duration, size


def _fragment_defaults(tfhd: bytes) -> tuple[int, int]:
    flags, offset = int.from_bytes(tfhd[1:4]), 8
    offset += 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)  # base data offset, sample description index
    values = []
    for flag in (0x8, 0x10):
        values.append(int.from_bytes(tfhd[offset : offset + 4]) if flags & flag else 0)
        offset += 4 * bool(flags & flag)
    return values[0], values[1]


def _read_run(trun: bytes, default_duration: int, default_size: int) -> tuple[int, int, int]:
    flags, packets = int.from_bytes(trun[1:4]), int.from_bytes(trun[4:8])
    offset = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)  # data offset, first sample's flags
    fields = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
    words = memoryview(trun)[offset : offset + 4 * packets * len(fields)]
    if len(words) != 4 * packets * len(fields):
        raise BrokenSegment("an index is cut")

    def total(flag: int, default: int) -> int:
        if flag not in fields:
            return default * packets
        first, step = 4 * fields.index(flag), 4 * len(fields)
        return sum(int.from_bytes(words[at : at + 4]) for at in range(first, len(words), step))

    return packets, total(0x100, default_duration), total(0x200, default_size)
