"""How much memory a child may have: by what it reads, so that a small file can't ask for much. Pure."""

_MIB = 1 << 20
# ffmpeg alone, with its threads and buffers, needs a quarter of these.
_PROBE_BYTES, _DECODE_BYTES = 192 * _MIB, 256 * _MIB
# The entry of a packet in an index is several times as large as what a file takes for it.
_INDEX_SHARE = 8
_MOST_PROBE_BYTES = 1 << 30
MOST_BYTES = 2 << 30
# A file that still grows may come to have an index of that size; those who have it at their end don't.
_GROWING_INDEX_BYTES = 256 * _MIB
# What a resampler keeps of a hole that it fills, for each sample of a channel.
_HOLE_SAMPLE_BYTES = 8
# Its tables may stand for billions of samples in a few bytes; where its length is unknown, nothing makes up for that.
_TABLED = "mov"


def probe_memory(file_bytes: int) -> int:
    """For looking into a file of so many bytes."""
    return min(_PROBE_BYTES + _INDEX_SHARE * file_bytes, _MOST_PROBE_BYTES)


def decoding_memory(
    file_bytes: int | None, *, format_name: str, seconds: float | None, sample_rate: int, channels: int
) -> int:
    """For decoding a file, None while it still grows: there is room for a hole as long as it may have.

    No hole is longer than the `seconds` that the file says it lasts; None is what doesn't say so.
    """
    index_bytes = _GROWING_INDEX_BYTES if file_bytes is None else _INDEX_SHARE * file_bytes
    if seconds is None:
        hole_bytes = 0 if format_name.startswith(_TABLED) else MOST_BYTES
    else:
        hole_bytes = int(seconds * sample_rate) * channels * _HOLE_SAMPLE_BYTES
    return min(_DECODE_BYTES + index_bytes + hole_bytes, MOST_BYTES)
