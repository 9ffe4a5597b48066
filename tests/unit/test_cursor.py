"""Cursors: written, read, and refused when anything about them is different."""

import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import BadCursor
from streamsrv.extract.cursor import Content, Cursor, read_cursor, request_digest, sources_digest, write_cursor
from streamsrv.extract.timeline import Position
from streamsrv.media.arguments import Pcm

SECRET = b"a secret of these tests"
DIGESTS = st.binary(min_size=16, max_size=16)
SAMPLES = st.integers(0, 2**64 - 1)
CURSORS = st.builds(Cursor, st.builds(Position, st.integers(0, 2**32 - 1), SAMPLES), SAMPLES, DIGESTS, DIGESTS)
ONE = Cursor(Position(3, 123456), 7654321, b"r" * 16, b"s" * 16)
GRID = Pcm(sample_rate=44100, layout="stereo", channels=2, depth_bits=16)
ALPHABET = string.ascii_letters + string.digits + "-_"


@given(CURSORS)
def test_round_trip(cursor: Cursor) -> None:
    """What was written is what is read, and can stand in a URL as it is."""
    text = write_cursor(cursor, SECRET)
    assert read_cursor(text, SECRET) == cursor
    assert set(text) <= set(ALPHABET)


def test_every_single_bit_counts() -> None:
    """Every single-bit flip, of the bytes and of the text, is refused."""
    text = write_cursor(ONE, SECRET)
    data = urlsafe_b64decode(text)
    flipped = [
        urlsafe_b64encode(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]).decode()
        for at in range(len(data))
        for bit in range(8)
    ]
    flipped += [
        (text.encode()[:at] + bytes([text.encode()[at] ^ 1 << bit]) + text.encode()[at + 1 :]).decode("latin-1")
        for at in range(len(text))
        for bit in range(8)
    ]
    for other in flipped:
        with pytest.raises(BadCursor):
            read_cursor(other, SECRET)


@given(
    st.text(max_size=200)
    | st.text(ALPHABET, min_size=100, max_size=110)
    | st.binary(max_size=90).map(lambda data: urlsafe_b64encode(data).decode())
)
def test_other_texts_are_refused(text: str) -> None:
    """Whatever wasn't written here is refused in words."""
    with pytest.raises(BadCursor):
        read_cursor(text, SECRET)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text + "=",
        lambda text: text[:-4],
        lambda text: text + "AAAA",
        lambda text: f" {text}",
    ],
)
def test_cut_and_prolonged_texts_are_refused(change) -> None:
    """There is one text for a cursor: not a shorter one, nor one with something at its end."""
    with pytest.raises(BadCursor):
        read_cursor(change(write_cursor(ONE, SECRET)), SECRET)


def test_another_secret_is_another_server() -> None:
    """Who doesn't know the secret can't write a cursor."""
    with pytest.raises(BadCursor):
        read_cursor(write_cursor(ONE, b"another"), SECRET)


def test_requests_are_told_apart() -> None:
    """Another list, order, track, subject or parameter is another request; how a mapping is ordered is not."""
    plain: dict[str, Any] = {"track": 0, "subject": "local", "parameters": {"format": "flac", "segment_seconds": 30.0}}
    digests = [
        request_digest(["a", "b"], **plain),
        request_digest(["b", "a"], **plain),
        request_digest(["a", "b", "b"], **plain),
        request_digest(["a,b"], **plain),
        request_digest(["a", "b"], **plain | {"track": 1}),
        request_digest(["a", "b"], **plain | {"subject": "else"}),
        request_digest(["a", "b"], **plain | {"parameters": {"format": "wav", "segment_seconds": 30.0}}),
        request_digest(["a", "b"], **plain | {"parameters": {"format": "flac", "segment_seconds": 7.3}}),
    ]
    assert len(set(digests)) == len(digests)
    reordered = {"segment_seconds": 30.0, "format": "flac"}
    assert request_digest(["a", "b"], **plain | {"parameters": reordered}) == digests[0]


def test_sources_are_told_apart() -> None:
    """Another size, another content, another order, one source more or another grid is another digest."""
    one, two = Content(1, b"\1" * 32), Content(2, b"\2" * 32)
    lists: tuple[list[Content], ...] = ([], [one], [two], [one, two], [two, one], [one, two, two])
    digests = [sources_digest(contents, GRID) for contents in lists]
    digests.append(sources_digest([Content(2, one.sha256)], GRID))
    digests.append(sources_digest([one], replace(GRID, depth_bits=24)))
    assert len(set(digests)) == len(digests)
