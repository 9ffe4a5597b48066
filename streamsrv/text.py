"""Text as clients write it: what of it may be shown to others, and the numbers and ids in it. Pure."""

import re
import unicodedata
import uuid

# Control characters (a terminal obeys them), half characters, separators of lines and paragraphs.
_NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}
# Those with the property Bidi_Control (UAX 9 section 2): they show a name as another one.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def shown(text: str) -> str:
    """The text without what isn't seen but does something where it is shown."""
    return text if text.isascii() and text.isprintable() else "".join(filter(_is_seen, text))


def hides_something(text: str) -> bool:
    """Is there anything in it that `shown` leaves out?"""
    return shown(text) != text


def whole_number(text: str, *, digits: int) -> int | None:
    """The number that is written with at most so many digits 0 to 9; None for what is none."""
    # Python reads digits of every script and underscores between them, and refuses more than 4300 digits.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None


def plain_number(value: object) -> object:
    """Give it back, for whoever reads numbers next. Raises ValueError for text of which only Python says it is one."""
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        raise ValueError("a number is written with the digits 0 to 9")
    return value


def canonical_uuid(text: str) -> str | None:
    """The UUID in small letters (RFC 9562 section 4), None for what is none; braces and other digits make none."""
    return str(uuid.UUID(text)) if _UUID.fullmatch(text) else None


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _NOT_TEXT and character not in _TURNING
