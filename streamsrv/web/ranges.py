"""Which answer do the conditional and range headers ask for? Pure, in the order of RFC 9110 section 13.2.2.

Files here have a strong entity tag and no modification date, so If-Modified-Since and If-Unmodified-Since are
ignored, as sections 13.1.3 and 13.1.4 ask for, and a date in If-Range never matches (13.1.5).
"""

import re
from dataclasses import dataclass
from typing import Literal

from multidict import MultiMapping, istr

from streamsrv.files import ByteRange, parse_range

_IF_MATCH = istr("If-Match")
_IF_NONE_MATCH = istr("If-None-Match")
_IF_RANGE = istr("If-Range")
_RANGE = istr("Range")

# RFC 9110 section 8.8.3. A tag may hold commas, so a list of tags can't be split at them.
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")')


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and with 206 the bytes to send."""

    status: Literal[200, 206, 304, 412]
    part: ByteRange | None = None


_WHOLE = Answer(200)
_NOT_MODIFIED = Answer(304)
_PRECONDITION_FAILED = Answer(412)


def choose_answer(method: str, headers: MultiMapping[str], *, etag: str, size: int) -> Answer:
    """Choose the answer to a GET or HEAD of a file of `size` bytes; `etag` is strong, without its quotes.

    `headers` are those of the request, with case-insensitive names.
    Raises RangeNotSatisfiable where the range lies beyond the file.
    """
    tag = f'"{etag}"'
    wanted = _joined(headers, _IF_MATCH)
    if wanted is not None and not _names(wanted, tag, weakly=False):
        return _PRECONDITION_FAILED
    known = _joined(headers, _IF_NONE_MATCH)
    if known is not None and _names(known, tag, weakly=True):
        return _NOT_MODIFIED
    # A range means something with GET only (14.2), and If-Range means nothing without a range (13.1.5).
    ranges = _joined(headers, _RANGE) if method == "GET" else None
    if ranges is None:
        return _WHOLE
    unchanged = _joined(headers, _IF_RANGE)
    if unchanged is not None and unchanged.strip(" \t") != tag:
        return _WHOLE
    part = parse_range(ranges, size)
    return _WHOLE if part is None else Answer(206, part)


def _joined(headers: MultiMapping[str], name: str) -> str | None:
    """Several lines of one field are one list (5.3)."""
    lines = headers.getall(name, None)
    return None if lines is None else ", ".join(lines)


def _names(tags: str, tag: str, *, weakly: bool) -> bool:
    """Does the list name the file? `*` names any; a weak tag counts where comparison is weak (8.8.3.2)."""
    if tags.strip(" \t") == "*":
        return True
    return any(quoted == tag and (weakly or not weak) for weak, quoted in _ENTITY_TAG.findall(tags))
