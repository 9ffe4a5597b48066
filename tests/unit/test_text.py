"""What of a client's text may be shown to others, and what of it is a number or an id."""

import sys
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.text import canonical_uuid, hides_something, plain_number, shown, whole_number

ANY = st.text(st.characters(codec=None), max_size=50)
# UAX 9 section 2: the property Bidi_Control.
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_what_a_terminal_obeys_is_left_out() -> None:
    """Of all characters the controls, the turns of direction, halves and separators of lines go, and no other."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    left_out = set(everything) - set(shown(everything))
    assert left_out >= {*map(chr, range(32)), *map(chr, range(127, 160)), *TURNING, "\u2028", "\u2029", "\ud800"}
    assert {unicodedata.category(letter) for letter in left_out - set(TURNING)} == {"Cc", "Cs", "Zl", "Zp"}


@given(ANY)
def test_what_is_left_stays_as_it_is(text: str) -> None:
    """Letters of every script, emoji and their joiners, in their order; and twice is as once."""
    kept = shown(text)
    assert shown(kept) == kept
    assert hides_something(text) == (len(kept) < len(text))
    assert kept in shown(f"{text}\x1b[201~\u202e")
    for name in ("Björk – Jóga 😀", "שלום", "مرحبا", "👨\u200d👩\u200d👧", "a  b"):
        assert shown(name) == name


@pytest.mark.parametrize(
    "text", ["", "\u0661", "\uff11", "\u00b2", "1_0", "+1", "-1", " 1", "1.0", "1e1", "0x1", "1" * 5, "9" * 5000]
)
def test_a_whole_number_has_digits(text: str) -> None:
    """The digits 0 to 9, so many at most, and nothing else."""
    assert whole_number(text, digits=4) is None
    assert (whole_number("0", digits=4), whole_number("0042", digits=4)) == (0, 42)


def test_numbers_that_only_python_reads_are_refused() -> None:
    """Underscores and digits of other scripts; what isn't text is none of its affair."""
    for text in ("1_0", "\u0661", "0.\u0665"):
        with pytest.raises(ValueError, match="digits 0 to 9"):
            plain_number(text)
    assert [plain_number(value) for value in ("12", "0.5", 3, None)] == ["12", "0.5", 3, None]


@given(st.uuids())
def test_a_uuid_has_one_spelling(given_id: uuid.UUID) -> None:
    """In capitals it is the same; in braces, without its lines or with digits of other scripts it is none."""
    text = str(given_id)
    assert canonical_uuid(text) == canonical_uuid(text.upper()) == text
    short = text.replace("-", "")
    for other in (
        short,
        f"{{{short}}}",
        f"{{{short}-}}-",
        f"_{text[1:]}",
        f"\u0661{text[1:]}",
        f"urn:uuid:{text}",
        text + "\n",
    ):
        assert canonical_uuid(other) is None
