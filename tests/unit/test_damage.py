"""The second look at a file: where packets gave no frames, and bytes between frames that are no sound."""

import struct
from pathlib import Path

import pytest

from streamsrv.media.integrity.damage import FrameWalk
from streamsrv.media.integrity.ogg import Pages, count_pages
from streamsrv.media.integrity.tags import tag_bytes
from streamsrv.media.integrity.units import UNITS, walk_units

FRAME_SECONDS = 0.024
ID3 = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 96 + 32, 1, 0xA0000000) + bytes(96 + 32)
OLD = b"TAG" + bytes(125)


def report(*, lost: range = range(0), stamped: bool = True, packets_of_lost: bool = True, frames: int = 100) -> bytes:
    """What ffprobe prints of frames of 400 bytes; those that are `lost` gave none, or have no packet either."""
    lines = []
    for number in range(frames):
        if number not in lost:
            stamp = f"{number * FRAME_SECONDS:f}" if stamped else "N/A"
            lines += ["packet,400", f"frame,{stamp},{1000 + 400 * number},400,1152"]
        elif packets_of_lost:
            lines += ["packet,400"]
    return "\n".join(lines).encode() + b"\n"


def walked(data: bytes, path: Path, form: str = "matroska,webm", *, step: int = 10_000, **settings: bool) -> float:
    walk = FrameWalk(form, 48000, max_seconds=43200.0, **settings)
    for start in range(0, len(data), step):
        walk.read(data[start : start + step])
    return walk.damage(path).seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "frames"
    path.write_bytes(bytes(1000 + 100 * 400))
    return path


@pytest.mark.parametrize("form", ["matroska,webm", "mp3"])
@pytest.mark.parametrize("step", [7, 10_000])
def test_what_gave_no_frames_is_counted(form: str, step: int, file: Path) -> None:
    """By times in a container and by places in a stream of frames, wherever the output is cut."""
    assert walked(report(), file, form, step=step) == 0
    assert walked(report(lost=range(40, 47)), file, form, step=step) == pytest.approx(7 * FRAME_SECONDS, abs=1e-3)


@pytest.mark.parametrize("form", ["matroska,webm", "mp3"])
@pytest.mark.parametrize("lost", [range(5), range(95, 100)])
def test_either_end_may_be_broken(form: str, lost: range, file: Path) -> None:
    """Recordings begin and end within a packet, and files carry tags there."""
    assert walked(report(lost=lost), file, form) == 0


def test_a_frame_by_chance_is_no_beginning(file: Path) -> None:
    """What looks like frames before the first run of them is junk as the rest there."""
    lines = report(lost=range(3, 9)).replace(b"packet,400", b"packet,400", 1)
    assert walked(lines, file, "mp3") == 0
    assert walked(report(lost=range(60, 66)) + report(lost=range(100)), file, "mp3") > 0


def test_a_pause_is_no_damage(file: Path) -> None:
    """Where the stamps leap and no packet is between, only a torn container means that some were there."""
    paused = report(lost=range(40, 47), packets_of_lost=False)
    assert walked(paused, file) == 0
    assert walked(paused, file, holes_count=True) == pytest.approx(7 * FRAME_SECONDS, abs=1e-3)
    stamps = enumerate((0.0, 0.024, 3.0))
    joined = "".join(f"packet,400\nframe,{stamp:f},{1000 + 400 * number},400,1152\n" for number, stamp in stamps)
    assert walked(joined.encode(), file, holes_count=True) == 0  # no bytes are between


def test_a_long_hole_is_damage_where_no_clock_begins_anew(file: Path) -> None:
    """Only MPEG's streams set their clocks anew: there a long leap is no hole, as it is none for who decodes it."""
    torn = report(lost=range(40, 700), frames=800)
    file.write_bytes(bytes(1000 + 800 * 400))
    assert walked(torn, file, "matroska,webm") == pytest.approx(660 * FRAME_SECONDS, abs=1e-3)
    assert walked(torn, file, "mpegts") == 0


def test_frames_without_stamps_count_on(file: Path) -> None:
    """A container that doesn't stamp its frames has no holes that could be seen."""
    assert walked(report(stamped=False), file) == 0


@pytest.mark.parametrize(
    ("gap", "tags"),
    [
        (bytes(300), 0),
        (ID3 + bytes(300), len(ID3)),
        (bytes(100) + ID3 + bytes(200), len(ID3)),
        (OLD + ID3, len(OLD) + len(ID3)),
        (APE + OLD + bytes(44), len(APE) + len(OLD)),
        (b"LYRICSBEGIN" + bytes(20) + b"LYRICS200" + OLD, 40 + len(OLD)),
        (b"ID3\xff\xff\xff\xff\xff\xff\xff" + bytes(90), 0),
    ],
)
def test_tags_between_frames_are_no_sound(gap: bytes, tags: int) -> None:
    """Of recordings that were joined each brought its own."""
    assert tag_bytes(gap) == tags
    assert tag_bytes(bytes(50) + gap, 50) == tags


def page(number: int, *, serial: int = 7, flags: int = 0, body: bytes = b"sound", position: int | None = None) -> bytes:
    at = number * 960 if position is None else position
    return struct.pack("<4sBBqIIIB", b"OggS", 0, flags, at, serial, number, 0, 1) + bytes([len(body)]) + body


OPUS = page(0, flags=2, body=b"OpusHead")
VIDEO = page(0, serial=8, flags=2, body=b"\x80theora")


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([OPUS, page(1), page(2)], Pages(2, 0)),
        ([OPUS, page(1), page(4), page(5)], Pages(3, 2)),
        ([OPUS, page(1), OPUS, page(1)], Pages(2, 0)),
        ([OPUS, VIDEO, page(1), page(1, serial=8), page(5, serial=8), page(2)], Pages(2, 0)),
        ([OPUS, page(1, position=0), page(3602), page(3603)], Pages(3, 0)),
        ([page(70), page(71), page(73)], Pages(3, 1)),
        ([OPUS, b"junk" * 40_000, page(1), page(3)], Pages(2, 1)),
        ([OPUS, page(1)[:-3]], Pages(1, 0)),
        ([], Pages(0, 0)),
        ([b"Og"], Pages(0, 0)),
    ],
)
def test_pages_that_are_missing_are_counted(pages: list[bytes], found: Pages, tmp_path: Path) -> None:
    """By their numbers within the track's own stream, behind junk too; who joins a radio gets its headers first."""
    path = tmp_path / "file.ogg"
    path.write_bytes(b"".join(pages))
    assert count_pages(path) == found


def test_pages_behind_a_cut_dont_count(tmp_path: Path) -> None:
    """What lies behind the end of what is wanted may be missing."""
    path = tmp_path / "file.ogg"
    path.write_bytes(OPUS + page(1) + page(2) + page(3) + page(9))
    assert count_pages(path, most_samples=960).missing == 0
    assert count_pages(path, most_samples=4800).missing == 5


def frame(count: int = 100) -> bytes:
    size = 7 + count
    return bytes((0xFF, 0xF1, 0x4C, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)) + bytes(count)


@pytest.mark.parametrize(
    ("data", "lost"),
    [
        (frame() * 30, 0),
        (frame() * 10 + bytes(5 * 107) + frame() * 10, 5 * 107),
        (bytes(999) + frame() * 20 + bytes(999), 0),
        (frame()[50:] + frame() * 20, 0),
        (frame() * 10 + bytes(50) + frame() * 2 + bytes(60) + frame() * 10, 110),
    ],
)
def test_bytes_between_frames_of_aac_are_counted(data: bytes, lost: int, tmp_path: Path) -> None:
    """Whole frames that were overwritten, too, but not what lies before the first ones and behind the last ones."""
    path = tmp_path / "file.aac"
    path.write_bytes(data)
    walked = walk_units(path, UNITS["aac"])
    assert sum(count for _, count in walked.gaps) == lost
    assert walked.unit_bytes == walked.units * 107
