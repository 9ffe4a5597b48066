"""What a server says about a file, by its status and headers: which bytes follow, and how a download can go on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from aiohttp import hdrs

from streamsrv.errors import FailedDownload
from streamsrv.outbound.guard import Broken

# Only a strong tag says that two replies have the same bytes (RFC 9110 section 8.8.1), so a weak one isn't read.
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{0,500}"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII | re.IGNORECASE)
# To ask whether a file is still the same a weak tag will do (RFC 9110 section 13.1.2).
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,500}"')
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class WrongPart(Broken):
    """The bytes that come don't continue those that are there; from its start the file may still be had."""


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a file on its server. `tag` is a strong ETag as it was sent; what isn't known is None."""

    tag: str | None = None
    total_bytes: int | None = None

    def range_headers(self, start: int) -> dict[str, str]:
        """Ask for the rest of this very version from `start` on, or for the whole of another (RFC 9110 section 13.1.5).

        Without a tag nothing can be continued.
        """
        return {} if self.tag is None or start == 0 else {hdrs.RANGE: f"bytes={start}-", hdrs.IF_RANGE: self.tag}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a reply brings: the bytes of `version` from `start` on."""

    start: int
    version: Version


def read_offer(status: int, headers: Mapping[str, str], known: Version, have_bytes: int) -> Offer:
    """Read the reply to a request that was made with `known.range_headers(have_bytes)`.

    Raises FailedDownload for what trying again doesn't mend, Broken for what it may, WrongPart for a wrong part.
    """
    _check_trouble(status, headers)
    asked_part = bool(known.range_headers(have_bytes))
    if asked_part and status == 416:
        raise WrongPart(FailedDownload("The file has become shorter while it was downloaded."))
    if status != 200 and not (asked_part and status == 206):
        raise FailedDownload(f"The server answered {status}.")
    if headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        # Asked for the file as it is, it sends something else; how large that is once unpacked nobody knows.
        raise FailedDownload("The server sends the file compressed, though it was asked not to.")
    tag = headers.get(hdrs.ETAG, "")
    if status == 206:
        return _read_part(headers.get(hdrs.CONTENT_RANGE, ""), tag, known, have_bytes)
    length = headers.get(hdrs.CONTENT_LENGTH, "")
    total_bytes = int(length) if _LENGTH.fullmatch(length) else None
    return Offer(0, Version(tag if _STRONG_TAG.fullmatch(tag) else None, total_bytes))


def condition_headers(etag: str | None, last_modified: str | None) -> dict[str, str]:
    """Ask for the file unless it is still the version with these validators; nothing where they say nothing."""
    if etag is not None and _TAG.fullmatch(etag):
        return {hdrs.IF_NONE_MATCH: etag}
    if last_modified is not None and _read_date(last_modified) is not None:
        return {hdrs.IF_MODIFIED_SINCE: last_modified}
    return {}


def read_currency(status: int, headers: Mapping[str, str]) -> bool:
    """Read the reply to a request with `condition_headers`: is the file still that version? Raises as `read_offer`."""
    _check_trouble(status, headers)
    if status not in {200, 304}:
        raise FailedDownload(f"The server answered {status}.")
    return status == 304


def read_retry_after(value: str) -> float | None:
    """Give the seconds to wait, None where the server doesn't say (RFC 9110 section 10.2.3)."""
    if _LENGTH.fullmatch(value):
        return float(value)
    date = _read_date(value)
    return None if date is None else max(0.0, (date - datetime.now(UTC)).total_seconds())


def _check_trouble(status: int, headers: Mapping[str, str]) -> None:
    """Raise Broken for what a server answers that may answer better later."""
    if status == 429 or status >= 500:
        problem = FailedDownload(f"The server answered {status}.")
        raise Broken(problem, read_retry_after(headers.get(hdrs.RETRY_AFTER, "")))


def _read_part(content_range: str, tag: str, known: Version, have_bytes: int) -> Offer:
    """Check that the part is the one that was asked for: the same version, and no hole or overlap."""
    match = _CONTENT_RANGE.fullmatch(content_range)
    start, last, total_bytes = map(int, match.groups()) if match else (-1, -1, -1)
    continues = start == have_bytes and start <= last < total_bytes
    if not continues or tag not in {"", known.tag} or known.total_bytes not in {None, total_bytes}:
        raise WrongPart(FailedDownload("The server sent another part of the file than it was asked for."))
    return Offer(start, Version(known.tag, total_bytes))


def _read_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a day or an hour of twenty digits
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)
