"""Walking through a file: every place in it, little read twice, and no harm where it is cut short meanwhile."""

import os
import re
from pathlib import Path

import pytest

from streamsrv.media.integrity import forward, units
from streamsrv.media.integrity.forward import ForwardReader
from streamsrv.media.integrity.ogg import Pages, count_pages
from streamsrv.media.integrity.units import UNITS, Walked, walk_units

MARK = re.compile(b"mark")
SYNC = b"\xff\xf1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_PIECE_BYTES", 16)


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were read out of files at each time."""
    read: list[int] = []

    class Counting(ForwardReader):
        def _hold(self, place: int, count: int) -> None:
            before = self._piece
            super()._hold(place, count)
            read.extend([len(self._piece)] if self._piece is not before else [])

    monkeypatch.setattr("streamsrv.media.integrity.ogg.ForwardReader", Counting)
    monkeypatch.setattr("streamsrv.media.integrity.units.ForwardReader", Counting)
    return read


@pytest.mark.usefixtures("_small_pieces")
def test_places_in_any_order(file: Path) -> None:
    """Behind the end there is nothing, and at the end what is left."""
    data = bytes(range(100))
    file.write_bytes(data)
    with file.open("rb") as opened:
        reader = ForwardReader(opened)
        for place in (0, 10, 15, 3, 90, 98, 99, 100, 5000, 0):
            assert reader.read(place, 7) == data[place : place + 7], place


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("before", range(40))
def test_a_mark_lies_anywhere(before: int, file: Path) -> None:
    """Across the pieces in which the file is read, too."""
    file.write_bytes(b"m" * before + b"mark" + b"rk" * 30)
    with file.open("rb") as opened:
        reader = ForwardReader(opened)
        assert reader.find(MARK, 0, 4) == before
        assert reader.find(MARK, before, 4) == before
        assert reader.find(MARK, before + 1, 4) == -1


@pytest.mark.usefixtures("_small_pieces")
def test_a_file_that_is_cut_short_just_ends(file: Path) -> None:
    """Uploads are given up, and who has files below media roots writes them anew, while somebody looks into them."""
    file.write_bytes(bytes(1_000_000) + b"mark")
    with file.open("rb") as opened:
        reader = ForwardReader(opened)
        assert reader.read(0, 7)
        os.truncate(file, 10)
        assert reader.read(500_000, 7) == b""
        assert reader.find(MARK, 20, 4) == -1


def test_an_empty_file_has_no_gaps(file: Path) -> None:
    """It may have been emptied since somebody saw sound in it."""
    file.touch()
    assert walk_units(file, UNITS["aac"]) == Walked()


def test_junk_between_pages_is_read_once(file: Path, read_bytes: list[int]) -> None:
    """A byte between each page and the next one costs a byte."""
    page = b"OggS" + bytes(23)
    file.write_bytes((page + b"-") * 100_000)
    assert count_pages(file) == Pages(100_000, 0)
    assert sum(read_bytes) < 1.1 * file.stat().st_size


def test_what_only_looks_like_frames_is_given_up(
    file: Path, read_bytes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte of beginnings without frames doesn't hold a thread for minutes."""
    monkeypatch.setattr(units, "_MOST_TRIES", 1000)
    file.write_bytes(SYNC * 2_000_000)
    walk_units(file, UNITS["aac"])
    assert sum(read_bytes) < file.stat().st_size / 2


def test_so_many_gaps_are_enough(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's memory is filled with the places of them."""
    monkeypatch.setattr(units, "_MOST_GAPS", 20)
    frame = bytes((0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x1F, 0xFC, 0))
    file.write_bytes((frame * 6 + bytes(3)) * 100 + frame * 6)
    assert 0 < len(walk_units(file, UNITS["aac"]).gaps) <= 20
