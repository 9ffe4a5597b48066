"""The answer to conditional and range requests, by section of RFC 9110."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from streamsrv.errors import RangeNotSatisfiable
from streamsrv.files import ByteRange
from streamsrv.web.ranges import Answer, choose_answer

SIZE = 1000
WHOLE = Answer(200)
FIRST_TEN = Answer(206, ByteRange(0, 10))
NOT_MODIFIED = Answer(304)
FAILED = Answer(412)
OLD_DATE = "Sat, 29 Oct 1994 19:43:31 GMT"


def answer(*fields: tuple[str, str], method: str = "GET", size: int = SIZE) -> Answer:
    return choose_answer(method, CIMultiDict(fields), etag="now", size=size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"now"', WHOLE),
        ("*", WHOLE),
        ('"old", "now"', WHOLE),
        ('"a,b" , "now"', WHOLE),
        ('"old"', FAILED),
        ('W/"now"', FAILED),  # strong comparison
        ('"NOW"', FAILED),
        ("now", FAILED),
        ("", FAILED),
        ('"old, now"', FAILED),
    ],
)
def test_13_1_1_if_match(value: str, expected: Answer) -> None:
    """If-Match goes on only if one of its tags is the file's, by strong comparison."""
    assert answer(("If-Match", value)) == expected
    assert answer(("If-Match", value), method="HEAD") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"now"', NOT_MODIFIED),
        ('W/"now"', NOT_MODIFIED),  # weak comparison
        ("*", NOT_MODIFIED),
        ('"old", "now"', NOT_MODIFIED),
        ('"old","now"', NOT_MODIFIED),
        ('"old"', WHOLE),
        ("now", WHOLE),
        ("", WHOLE),
        ('""', WHOLE),
    ],
)
def test_13_1_2_if_none_match(value: str, expected: Answer) -> None:
    """If-None-Match answers 304 if one of its tags is the file's, by weak comparison."""
    assert answer(("If-None-Match", value)) == expected
    assert answer(("If-None-Match", value), method="HEAD") == expected


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since"])
def test_13_1_3_and_13_1_4_dates(name: str) -> None:
    """A file without a modification date ignores conditions on it."""
    assert answer((name, OLD_DATE)) == WHOLE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"now"', FIRST_TEN),
        (' "now" ', FIRST_TEN),
        ('"old"', WHOLE),
        ('W/"now"', WHOLE),  # strong comparison
        (OLD_DATE, WHOLE),
        ("now", WHOLE),
        ("*", WHOLE),
        ("", WHOLE),
    ],
)
def test_13_1_5_if_range(value: str, expected: Answer) -> None:
    """If-Range lets the range through only if its tag is the file's; else the whole file is sent, anew."""
    assert answer(("Range", "bytes=0-9"), ("If-Range", value)) == expected


def test_13_1_5_if_range_alone() -> None:
    """If-Range without Range is ignored."""
    assert answer(("If-Range", '"old"')) == WHOLE


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("If-Match", '"old"'), ("If-None-Match", '"now"')], FAILED),
        ([("If-Match", '"now"'), ("If-None-Match", '"now"')], NOT_MODIFIED),
        ([("If-Match", '"old"'), ("Range", "bytes=0-9")], FAILED),
        ([("If-None-Match", '"now"'), ("Range", "bytes=0-9"), ("If-Range", '"now"')], NOT_MODIFIED),
        ([("If-None-Match", '"now"'), ("Range", "bytes=5000-")], NOT_MODIFIED),
        ([("If-Match", '"now"'), ("If-None-Match", '"old"'), ("Range", "bytes=0-9")], FIRST_TEN),
        ([("Range", "bytes=5000-"), ("If-Range", '"old"')], WHOLE),
    ],
)
def test_13_2_2_order(fields: list[tuple[str, str]], expected: Answer) -> None:
    """If-Match, then If-None-Match, then If-Range, then Range."""
    assert answer(*fields) == expected


def test_14_2_range_is_for_get() -> None:
    """HEAD ignores Range, one that can't be met included."""
    assert answer(("Range", "bytes=0-9"), method="HEAD") == WHOLE
    assert answer(("Range", "bytes=5000-"), method="HEAD") == WHOLE


@pytest.mark.parametrize("value", ["items=0-9", "bytes=9-0", "bytes=0-1,3-4", "nonsense"])
def test_14_2_ignored_ranges(value: str) -> None:
    """A range that isn't understood is as if it had not been sent."""
    assert answer(("Range", value)) == WHOLE


def test_15_5_17_beyond_the_file() -> None:
    """A range beyond the file is 416."""
    with pytest.raises(RangeNotSatisfiable):
        answer(("Range", "bytes=1000-"))


def test_5_3_repeated_fields() -> None:
    """Several lines of one field are one list: any of the tags counts, and two ranges are a set."""
    assert answer(("If-None-Match", '"old"'), ("if-none-match", '"now"')) == NOT_MODIFIED
    assert answer(("If-Match", '"old"'), ("If-Match", '"now"')) == WHOLE
    assert answer(("Range", "bytes=0-9"), ("Range", "bytes=20-29")) == WHOLE


@given(st.binary(max_size=200), st.integers(-250, 250), st.integers(0, 250))
def test_answers_equal_slices(body: bytes, first: int, count: int) -> None:
    """The bytes of an answer are the slice that Python makes of the same numbers."""
    if first < 0:
        value, wanted = f"bytes={first}", body[first:]
    else:
        value, wanted = f"bytes={first}-{first + count}", body[first : first + count + 1]
    try:
        chosen = answer(("Range", value), size=len(body))
    except RangeNotSatisfiable:
        assert wanted == b""
        return
    if chosen.part is None:
        assert body == wanted == b""
    else:
        assert body[chosen.part.start : chosen.part.stop] == wanted


@given(st.dictionaries(st.sampled_from(["If-Match", "If-None-Match", "If-Range", "Range"]), st.text(max_size=30)))
def test_any_headers_have_an_answer(fields: dict[str, str]) -> None:
    """Whatever is sent, there is one of the four answers or 416."""
    try:
        chosen = answer(*fields.items())
    except RangeNotSatisfiable:
        return
    assert (chosen.status == 206) == (chosen.part is not None)
