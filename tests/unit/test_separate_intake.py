"""A song in base64, read piece by piece: the same bytes as at once, and in no more memory than that."""

import base64
import binascii
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsrv.errors import BadParameter
from streamsrv.separate import intake
from streamsrv.separate.intake import song_pieces

LETTERS = 8
MEGABYTE = 1 << 20
BREAKS = (" ", "\n", "\r\n", "\t ")


@pytest.fixture
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_DECODED_LETTERS", LETTERS)


@pytest.mark.usefixtures("_short_pieces")
@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 80), st.sampled_from(BREAKS)), max_size=9))
def test_pieces_are_the_song(song: bytes, breaks: list[tuple[int, str]]) -> None:
    """However the text is broken into lines, its pieces are the song."""
    text = base64.b64encode(song).decode()
    for place, between in breaks:
        text = text[:place] + between + text[place:]
    assert b"".join(song_pieces(text)) == song


@pytest.mark.parametrize("song", [b"a", b"ab", b"abc", bytes(range(256)) * 9000])
def test_any_way_of_writing_base64_is_the_song(song: bytes) -> None:
    """In the alphabet for URLs, without padding, as a browser's data: URL, and all of that."""
    usual, safe = base64.b64encode(song).decode(), base64.urlsafe_b64encode(song).decode()
    for text in (safe, usual.rstrip("="), f"data:audio/mpeg;base64,{usual}", f"DATA:;base64,{safe.rstrip('=')}\n"):
        assert b"".join(song_pieces(text)) == song


@pytest.mark.usefixtures("_short_pieces")
@given(st.text("AB+/=-_ \n\u00a0", min_size=1, max_size=40))
@example("AA==AAAAAAAAAAAA")
@example("AAAA=====")
@example("AAAA=")
@example("AA==\n\n\n\n\n\n\n\n\n\n\n\n\n")
def test_what_is_no_base64_is_refused(text: str) -> None:
    """Texts are taken that are base64 but for their line breaks, and no others, wherever a piece ends."""
    letters = text.replace(" ", "").replace("\n", "").replace("-", "+").replace("_", "/")
    letters += "=" * (-len(letters) % 4)
    is_padded_rightly = "=" not in letters[:-2]  # Python takes more
    try:
        song = base64.b64decode(letters.encode("ascii") if is_padded_rightly else b"?", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        with pytest.raises(BadParameter, match="base64"):
            list(song_pieces(text))
    else:
        assert b"".join(song_pieces(text)) == song


def test_many_breaks_cost_no_memory() -> None:
    """A text that is broken after each four letters is read in the memory of some pieces of it."""
    text = "AAAA " * (2 * MEGABYTE)
    tracemalloc.start()
    try:
        assert sum(map(len, song_pieces(text))) == 3 * 2 * MEGABYTE
        assert tracemalloc.get_traced_memory()[1] < 8 * MEGABYTE
    finally:
        tracemalloc.stop()
