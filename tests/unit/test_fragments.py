"""What the index of a fragmented MP4 says: which fragments are missing, and how long those are that are there."""

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamsrv.media.integrity.fragments import Fragments, read_fragments

SCALE, SAMPLES = 1000, 100  # each fragment has so many samples of 10 units: a second


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def track(number: int, handler: bytes, scale: int = SCALE, duration: int = 0) -> bytes:
    media = box(b"mdia", box(b"mdhd", struct.pack(">IIIII", 0, 0, 0, scale, duration)), box(b"hdlr", bytes(8), handler))
    return box(b"trak", box(b"tkhd", struct.pack(">IIII", 7, 0, 0, number)), media)


def head(scale: int = SCALE) -> bytes:
    defaults = [box(b"trex", struct.pack(">IIIIII", 0, number, 1, 10, 4, 0)) for number in (1, 2, 3)]
    tracks = [track(1, b"vide"), track(2, b"soun", scale), track(3, b"soun", scale)]
    return box(b"ftyp", b"isom") + box(b"moov", *tracks, box(b"mvex", *defaults))


def fragment(number: int, begin: int, *, of: int = 2, samples: int = SAMPLES) -> bytes:
    run = box(b"trun", struct.pack(">II", 0, samples))
    inner = box(b"traf", box(b"tfhd", struct.pack(">II", 0, of)), box(b"tfdt", struct.pack(">IQ", 1 << 24, begin)), run)
    return box(b"moof", box(b"mfhd", struct.pack(">II", 0, number)), inner) + box(b"mdat", bytes(50))


def fragments(*places: tuple[int, int], of: int = 2) -> bytes:
    """Each by its number and the second at which it begins."""
    return b"".join(fragment(number, second * SCALE, of=of) for number, second in places)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (fragments((1, 0), (2, 1), (3, 2)), Fragments(3, 0)),
        (fragments((1, 0), (2, 1), (4, 3), (5, 4)), Fragments(4, 1)),
        # A pause, of which nobody took anything out.
        (fragments((1, 0), (2, 1), (3, 7)), Fragments(3, 0)),
        # Numbers that leap while the time goes on; every second one; two recordings, joined; one from its middle on.
        (fragments((1, 0), (2, 1), (9, 2), (10, 3)), Fragments(4, 0)),
        (fragments((1, 0), (3, 1), (5, 2), (9, 4)), Fragments(4, 1)),
        (fragments((1, 0), (2, 1), (1, 0), (2, 1)), Fragments(4, 0)),
        (fragments((70, 69), (71, 70), (72, 71)), Fragments(3, 0)),
        # Another track's fragments have numbers, too.
        (fragments((1, 0)) + fragments((2, 0), of=1) + fragments((3, 1)) + fragments((4, 1), of=1), Fragments(2, 0)),
        (fragments((1, 0)) + fragments((2, 0), of=1) + fragments((5, 2)) + fragments((6, 2), of=1), Fragments(2, 1)),
        # Behind damage it goes on, and what is damaged is missing.
        (fragments((1, 0)) + bytes(300) + fragments((2, 1), (3, 2)), Fragments(3, 0)),
        (fragments((1, 0), (2, 1)) + bytes(20) + fragments((3, 2))[20:] + fragments((4, 3)), Fragments(3, 1)),
        (fragments((1, 0), (2, 1))[:-20], Fragments(2, 0)),
        (fragments((1, 0), (2, 1))[:-90], Fragments(1, 0)),
        (fragments((1, 0)) + box(b"moof", box(b"mfhd"), box(b"traf", b"abc")) + fragments((2, 1)), Fragments(2, 0)),
        (box(b"mdat", bytes(99)), None),
        (b"", None),
    ],
)
def test_the_index_says_what_is_missing(data: bytes, found: Fragments | None, tmp_path: Path) -> None:
    """A leap of the numbers, and a hole in the time beside it: one alone is a pause, or another way of counting."""
    path = tmp_path / "file.mp4"
    path.write_bytes(head() + data)
    assert read_fragments(path) == found


@pytest.mark.parametrize(
    "data", [head(0) + fragments((1, 0), (2, 1)), fragments((1, 0)), b"moov" * 99, box(b"moov", b"")]
)
def test_an_index_that_makes_no_sense_says_nothing(data: bytes, tmp_path: Path) -> None:
    """Nobody is told of damage by it."""
    path = tmp_path / "file.mp4"
    path.write_bytes(data)
    assert read_fragments(path) is None


def test_a_recording_behind_the_first_one_is_missing(tmp_path: Path) -> None:
    """Of two files in one only the first is played; where only a part of that is wanted nothing is missing."""
    path = tmp_path / "file.m4a"
    whole = box(b"ftyp", b"M4A ") + box(b"moov", track(1, b"soun", duration=4 * SCALE)) + box(b"mdat", bytes(50))
    path.write_bytes(whole)
    assert read_fragments(path) is None
    path.write_bytes(whole * 3)
    assert read_fragments(path) == Fragments(0, 8)
    assert read_fragments(path, end_seconds=2.0) is None


def test_any_number_of_them_may_be_missing(tmp_path: Path) -> None:
    """Each leap is met once, however many there are."""
    path = tmp_path / "file.mp4"
    path.write_bytes(
        head() + fragments(*((3 * pair + each, 3 * pair + each) for pair in range(4000) for each in (0, 1)))
    )
    assert read_fragments(path) == Fragments(8000, 3999)


def test_what_lies_behind_so_many_isnt_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither fragments without end nor indices without end hold anybody up, and nobody is told of damage by that."""
    path = tmp_path / "file.mp4"
    path.write_bytes(head() + fragments(*((number, number) for number in range(50)), (60, 60)))
    monkeypatch.setattr("streamsrv.media.integrity.fragments._MOST_FRAGMENTS", 20)
    assert read_fragments(path) == Fragments(20, 0)
    monkeypatch.setattr("streamsrv.media.integrity.fragments._MOST_BYTES", 700)
    found = read_fragments(path)
    assert found is None or (found.there < 20 and found.missing == 0)


def test_each_track_has_its_own(tmp_path: Path) -> None:
    """What is missing of one isn't missing of another, nor behind the end of what is wanted."""
    path = tmp_path / "file.mp4"
    whole: Sequence[bytes] = [
        fragment(2 * second + track - 1, second * SCALE, of=track)
        for second in range(6)
        for track in (2, 3)
        if (second, track) != (3, 3)
    ]
    path.write_bytes(head() + b"".join(whole))
    assert read_fragments(path, 0) == Fragments(6, 0)
    assert read_fragments(path, 1) == Fragments(5, 1)
    assert read_fragments(path, 1, end_seconds=2.5) == Fragments(5, 0)
    assert read_fragments(path, 2) is None
