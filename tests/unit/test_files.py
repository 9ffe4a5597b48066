"""One Range header for a file of a given size (RFC 9110 sections 14.1 and 14.2), files in their places, full disks."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import DiskFull, InternalError, RangeNotSatisfiable, UnusableFile
from streamsrv.files import ByteRange, full_disk_told_apart, parse_range, put_in_place, write_in_place, written_aside

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-499", 0, 500),
        ("bytes=500-999", 500, 1000),
        ("bytes=-500", 500, 1000),
        ("bytes=500-", 500, 1000),
        ("bytes=0-0", 0, 1),
        ("bytes=-1", 999, 1000),
        ("bytes=0-", 0, 1000),
        ("bytes=999-", 999, 1000),
        ("bytes=900-5000", 900, 1000),
        ("bytes=-5000", 0, 1000),
        ("bytes=007-0009", 7, 10),
        ("Bytes=0-1", 0, 2),
        ("bytes= 0-1 ", 0, 2),
        (f"bytes=0-{'9' * 100}", 0, 1000),
    ],
)
def test_range_that_can_be_met(header: str, start: int, stop: int) -> None:
    """14.1.2: first and last byte are inclusive, a suffix counts from the end, both are cut at the file's size."""
    assert parse_range(header, SIZE) == ByteRange(start, stop)


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", f"bytes={'9' * 100}-"])
def test_range_beyond_the_file(header: str) -> None:
    """14.1.2, 15.5.17: a first byte at or after the end, or an empty suffix, can't be met; the reply names the size."""
    with pytest.raises(RangeNotSatisfiable) as raised:
        parse_range(header, SIZE)
    assert raised.value.headers == {"Content-Range": "bytes */1000"}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-3",
        "bytes=5000-3",
        "bytes=a-b",
        "bytes=0x1-5",
        "bytes=+1-5",
        "bytes=1.0-5",
        "bytes=--5",
        "bytes=1 - 5",
        "bytes=٣-٥",
        "items=0-5",
        "bytes =0-5",
        "bytes=0-1,5-6",
        "bytes=0-1, bytes=5-6",
        f"bytes=0-{'9' * 8000}",
        f"bytes={'9' * 8000}-",
    ],
)
def test_range_that_is_ignored(header: str) -> None:
    """14.2: another unit, a malformed range and a set of ranges are as if no Range had been sent."""
    assert parse_range(header, SIZE) is None


def test_empty_file() -> None:
    """14.1.2: of nothing, no first byte can be had; a suffix can, but only the whole (empty) file says so."""
    assert parse_range("bytes=-5", 0) is None
    for header in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, 0)


@given(st.integers(0, 50), st.integers(0, 60), st.none() | st.integers(0, 60))
def test_range_equals_the_set_of_its_bytes(size: int, first: int, last: int | None) -> None:
    """A range is those bytes of the file whose number lies between the two that were named."""
    header = f"bytes={first}-{'' if last is None else last}"
    asked = [number for number in range(size) if number >= first and (last is None or number <= last)]
    if last is not None and last < first:
        assert parse_range(header, size) is None
    elif not asked:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
    else:
        part = parse_range(header, size)
        assert part is not None
        assert list(range(part.start, part.stop)) == asked
        assert part.content_range(size) == f"bytes {asked[0]}-{asked[-1]}/{size}"


@given(st.text(max_size=40) | st.from_regex(r"bytes=[-0-9 ,]{0,20}", fullmatch=True), st.integers(0, 100))
def test_any_header_has_an_answer(header: str, size: int) -> None:
    """Whatever is sent: a part of the file, the whole file, or 416; never another error."""
    try:
        part = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert part is None or 0 <= part.start < part.stop <= size


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the disk, in order: "sync NAME" and "rename NAME"."""
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def note_rename(source: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    return done


def test_files_are_put_in_place_for_good(tmp_path: Path, steps: list[str]) -> None:
    """A file has its name only once its bytes last; then the names last, each folder that has new ones synced once."""
    sources = [tmp_path / name for name in ("one", "two")]
    for source in sources:
        source.write_text(source.name)
    targets = [tmp_path / "new" / "folder" / source.name for source in sources]
    put_in_place(list(zip(sources, targets, strict=True)))
    assert steps[:4] == ["sync one", "rename one", "sync two", "rename two"]
    assert sorted(steps[4:]) == sorted(f"sync {name}" for name in ("folder", "new", tmp_path.name))
    assert [target.read_text() for target in targets] == ["one", "two"]


def test_small_files_are_written_whole(tmp_path: Path, steps: list[str]) -> None:
    """What is written takes the old file's place at once and for good, and nobody else may read it."""
    path = tmp_path / "note"
    write_in_place(path, b"old")
    write_in_place(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o077 == 0
    assert [step.split()[0] for step in steps] == ["sync", "rename", "sync"] * 2
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails while a file is written costs neither the old file nor a name."""
    path = tmp_path / "note"
    write_in_place(path, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        write_in_place(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_can_be_made_again_is_only_renamed(tmp_path: Path, steps: list[str]) -> None:
    """Without a sync it is whole or not there, too; what breaks off leaves nothing."""
    path = tmp_path / "chunk"
    with written_aside(path) as part:
        part.write_bytes(b"whole")
        assert not path.exists()
    with suppress(InternalError), written_aside(path) as part:
        part.write_bytes(b"half")
        raise InternalError
    assert path.read_bytes() == b"whole"
    assert (steps, list(tmp_path.iterdir())) == (["rename chunk"], [path])


@pytest.mark.parametrize("fault", [InternalError("half a file"), FileNotFoundError("no file")])
def test_a_full_disk_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """A file that is broken or missing is a full disk's fault where there is no space, and only there."""
    with pytest.raises(type(fault)), full_disk_told_apart(tmp_path):
        raise fault
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_bavail=3, f_frsize=4096))
    with pytest.raises(DiskFull), full_disk_told_apart(tmp_path):
        raise fault
    with pytest.raises(UnusableFile), full_disk_told_apart(tmp_path):
        raise UnusableFile("what the input is to blame for stays so")
