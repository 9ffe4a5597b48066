"""Recordings that were joined by `cat`, of which ffmpeg plays the first one only."""

import re
from pathlib import Path

from streamsrv.media.integrity.forward import ForwardReader

# Of the blocks with the first samples the one with the first channels has this flag (WavPack 4 & 5 Binary File Format).
_WAVPACK_INITIAL = b"[" + re.escape(bytes(flags for flags in range(256) if flags & 8)) + b"]"
# How they begin, and of how many bytes that is at most. All else that is joined is played whole or noticed otherwise.
_BEGINNINGS: tuple[tuple[re.Pattern[bytes], int], ...] = (
    (re.compile(rb"FORM[\s\S]{4}AIF[FC][ -~]{4}"), 16),
    (re.compile(rb"caff\0\x01\0\0desc"), 12),
    (re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0[\s\S]{8}wave\xf3\xac\xd3\x11"), 32),
    (re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c[\s\S]{12}\x01\x02"), 30),
    (re.compile(rb"FLV\x01[\0-\x07]\0\0\0\x09\0\0\0\0"), 13),
    (re.compile(rb"TTA1[\x01-\x03]\0[\x01-\x10]\0[\x08\x10\x18\x20]\0"), 10),
    # The first block with samples, and of them the one with the first channels (WavPack 4 & 5 Binary File Format).
    (
        re.compile(rb"wvpk[\s\S]{4}[\s\S]\x04\0[\s\S]{5}\0{4}(?!\0{4})[\s\S]{5}[\x08-\x0f\x18-\x1f\x28-\x2f\x38-\x3f]"),
        26,
    ),
    (re.compile(rb"MAC [\x96-\x9f]\x0f[\s\S]{2}\x34\0\0\0\x18\0\0\0"), 16),
    (re.compile(rb"tBaK\x01[\s\S]\0\0"), 8),
    (re.compile(rb"DSD \x1c\0{7}[\s\S]{16}fmt \x34\0{7}"), 40),
    (re.compile(rb"FRM8[\s\S]{8}DSD FVER"), 20),
    (re.compile(rb"MPCKSH"), 6),
)
_HEAD_BYTES = 4096


def joined_share(path: Path, file_bytes: int) -> float:
    """Of a file's bytes the share that lies behind its first recording; 0 where there is only one. Blocks."""
    with path.open("rb") as file:
        data = ForwardReader(file)
        for beginning, longest in _BEGINNINGS:
            first = beginning.search(data.read(0, _HEAD_BYTES))
            if first:
                second = data.find(beginning, first.start() + longest, longest)
                return 1 - second / file_bytes if second > 0 else 0.0
    return 0.0
