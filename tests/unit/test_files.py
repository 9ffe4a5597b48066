"""One Range header, read for a file of a given size (RFC 9110 sections 14.1 and 14.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import RangeNotSatisfiable
from streamsrv.files import ByteRange, parse_range

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
