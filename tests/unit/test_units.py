"""Files made of units: where one follows another all is there, and what lies between belongs to none."""

import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sound import FFMPEG

from streamsrv.media.integrity.joined import joined_share
from streamsrv.media.integrity.units import UNITS, chain_end, read_sbc_frame, walk_units

SBC = bytes((0x9C, 0xFD, 0x35, 0x00))  # 48 kHz, 16 blocks, joint stereo, 8 subbands, 53 bits


def chunk(name: bytes, body: bytes, *, filled_up: bool = True) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2 if filled_up else 0)


def avi(*chunks: bytes) -> bytes:
    body = b"AVI " + b"LIST" + struct.pack("<I", 4 + sum(map(len, chunks))) + b"movi" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flv_tag(kind: int, size: int) -> bytes:
    return bytes([kind]) + size.to_bytes(3) + bytes(7) + b"\x55" * size + (size + 11).to_bytes(4)


def rm_packet(size: int) -> bytes:
    return struct.pack(">HHHIBB", 0, size, 0, 77, 0, 2) + b"\x55" * (size - 12)


def sbc_frame() -> bytes:
    frame = read_sbc_frame(SBC)
    assert frame is not None
    return SBC + b"\x55" * (frame.size - 4)


FLV = b"FLV\x01\x04\0\0\0\x09\0\0\0\0"
RM = b".RMF\0\0\0\x12" + bytes(10) + b"DATA" + bytes(14)
WHOLE = {
    "avi": avi(*(chunk(b"01wb", b"\x55" * (400 + number)) for number in range(40))),
    "flv": FLV + b"".join(flv_tag(8 + number % 2, 300 + number) for number in range(40)),
    "rm": RM + b"".join(rm_packet(300 + number) for number in range(40)),
    "sbc": sbc_frame() * 120,
}


def gaps(tmp_path: Path, kind: str, data: bytes) -> list[int]:
    path = tmp_path / kind
    path.write_bytes(data)
    return [count for _, count in walk_units(path, UNITS[kind]).gaps]


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_whole_has_no_gaps(kind: str, tmp_path: Path) -> None:
    """Nor do junk before it and behind it, an end in the middle of a unit, and several that were joined."""
    data = WHOLE[kind]
    for spoilt in (data, data[:-50], data + b"\0" * 999):
        assert gaps(tmp_path, kind, spoilt) == []
    assert sum(gaps(tmp_path, kind, data * 2)) < 20


@pytest.mark.parametrize("kind", WHOLE)
def test_bytes_of_no_unit_are_a_gap(kind: str, tmp_path: Path) -> None:
    """Of zeros or of anything, up to the next unit that another one follows; and what is left where a piece is gone."""
    data, middle = WHOLE[kind], len(WHOLE[kind]) // 2
    for over in (bytes(3000), random.Random(3).randbytes(3000)):
        (count,) = gaps(tmp_path, kind, data[:middle] + over + data[middle + 3000 :])
        assert 2500 <= count < 4000
    (count,) = gaps(tmp_path, kind, data[:middle] + data[middle + 3000 :])
    assert 0 < count < 1000


def test_chunks_that_arent_filled_up(tmp_path: Path) -> None:
    """Some writers of AVI leave out the byte that makes a chunk's length even."""
    assert gaps(tmp_path, "avi", avi(*(chunk(b"00dc", b"\x55" * 333, filled_up=False) for _ in range(30)))) == []


@pytest.mark.parametrize("options", ["-b:a 328k", "-b:a 128k -ac 1", "-b:a 200k -ar 16000", "-msbc 1 -ar 16000 -ac 1"])
def test_frames_of_sbc_are_as_long_as_they_say(options: str, tmp_path: Path) -> None:
    """In each mode that an encoder has; mSBC, which has another mark, has no gaps that are known of."""
    path = tmp_path / "sound.sbc"
    source = ["-f", "lavfi", "-i", "sine=d=1:sample_rate=44100", "-ac", "2"]
    subprocess.run([*FFMPEG, *source, *options.split(), "-f", "sbc", str(path)], check=True, timeout=60)
    walked = walk_units(path, UNITS["sbc"])
    assert walked.gaps == []
    frame = read_sbc_frame(path.read_bytes()[:4])
    assert (frame is None) == ("msbc" in options)
    if frame is not None:
        assert walked.unit_bytes == path.stat().st_size
        assert walked.units * frame.seconds == pytest.approx(1.0, abs=0.02)


def voc(blocks: int) -> bytes:
    data = b"Creative Voice File\x1a\x1a\x00\x0a\x01\x29\x11"
    return data + b"".join(b"\x01" + (1000).to_bytes(3, "little") + b"\x55" * 1000 for _ in range(blocks)) + b"\0"


def swf(tags: int) -> bytes:
    """A rectangle of 13 bits a number, 12 frames a second; tags of sound, then the end."""
    body = bytes([13 << 3]) + bytes(7) + struct.pack("<HH", 12 << 8, tags)
    body += b"".join(struct.pack("<HI", 19 << 6 | 0x3F, 1000) + b"\x55" * 1000 for _ in range(tags)) + b"\0\0"
    return b"FWS\x06" + struct.pack("<I", 8 + len(body)) + body


@pytest.mark.parametrize(("make", "ends"), [(voc, 1), (swf, 2)])
def test_a_chain_ends_where_it_breaks(make: Callable[[int], bytes], ends: int, tmp_path: Path) -> None:
    """Nothing in these files says where the next block begins but the one before."""
    path, data = tmp_path / "file", make(40)
    path.write_bytes(data)
    assert chain_end(path) == len(data) - ends
    path.write_bytes(data[:20_000] + bytes(3000) + data[23_000:])
    assert len(data) / 3 < (chain_end(path) or 0) < 2 * len(data) / 3
    path.write_bytes(b"RIFF" + data)
    assert chain_end(path) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.aiff", ""),
        ("a.aifc", "-f aiff -c:a pcm_s16le"),
        ("a.caf", "-c:a alac"),
        ("a.w64", ""),
        ("a.wma", "-c:a wmav2"),
        ("a.flv", "-c:a aac"),
        ("a.tta", ""),
        ("a.wv", ""),
        ("six.wv", "-ac 6"),
    ],
)
def test_the_second_recording_is_found(name: str, options: str, tmp_path: Path) -> None:
    """By how such files begin; one alone has no second, and none is looked for in other kinds."""
    path = tmp_path / name
    source = ["-f", "lavfi", "-i", "sine=d=3:sample_rate=44100"]
    subprocess.run([*FFMPEG, *source, *options.split(), str(path)], check=True, timeout=60)
    data = path.read_bytes()
    assert joined_share(path, len(data)) == 0
    path.write_bytes(data * 3)
    assert joined_share(path, 3 * len(data)) == pytest.approx(2 / 3)
    path.write_bytes(b"\xff\xfb" + data * 2)
    assert joined_share(path, 2 + 2 * len(data)) == pytest.approx(1 / 2, abs=0.01)
