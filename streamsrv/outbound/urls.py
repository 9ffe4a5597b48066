"""Addresses as users write them: which are taken, and how a log names them."""

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urljoin, urlsplit

from yarl import URL

from streamsrv.errors import RefusedAddress
from streamsrv.outbound.addresses import Address, Allowed, is_host_name, is_this_machine

MAX_URL_CHARACTERS = 4096
# Said of what isn't public, what has no address and what doesn't answer, so that nobody learns which of them it is.
UNREACHABLE = "No public web server answers there."

# What yarl raises for texts that are no address: the second one for "http://[]@".
_MALFORMED = (ValueError, IndexError)
_MAX_LOGGED_CHARACTERS = 200
_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# RFC 3986: an address that is written with these alone needs no quoting.
_QUOTED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")


def read_url(text: str, allowed: Allowed) -> URL:
    """Read the address of something that may be fetched. Raises RefusedAddress.

    A host that is written as an IP address is judged here; where a name leads is known only when it is connected to.
    """
    text = text.strip()
    if len(text) > MAX_URL_CHARACTERS:
        raise RefusedAddress(f"The address has more than {MAX_URL_CHARACTERS} characters.")
    if _CONTROL.search(text):
        raise RefusedAddress("The address has control characters in it.")
    try:
        url = URL(text).with_fragment(None)
        host = url.raw_host
    except _MALFORMED as error:
        raise RefusedAddress("The address is malformed.") from error
    if url.scheme not in {"http", "https"}:
        raise RefusedAddress("Only addresses that begin with http:// or https:// are fetched.")
    if "@" in url.raw_authority:
        raise RefusedAddress("Addresses with a user name or a password in them aren't taken.")
    if not host:
        raise RefusedAddress("The address names no host.")
    if not url.port:
        raise RefusedAddress("Nothing answers at port 0.")
    if is_this_machine(host) and not (allowed.names(host) or any(map(allowed.opens, _LOOPBACK))):
        raise RefusedAddress(UNREACHABLE)
    if (literal := _read_host(host)) is not None and not allowed.opens(literal):
        raise RefusedAddress(UNREACHABLE)
    return _as_written(text, url)


def next_url(url: URL, location: str, allowed: Allowed) -> URL:
    """Read the address that `url` redirects to. Raises RefusedAddress, also where it leads from https to http."""
    try:
        joined = urljoin(str(url), location)
    except ValueError as error:
        raise RefusedAddress("The address leads to one that is malformed.") from error
    after = read_url(joined, allowed)
    if url.scheme == "https" and after.scheme == "http":
        raise RefusedAddress("The address leads from https to http, where anybody on the way could change the file.")
    return after


def host_of(address: str) -> str:
    """The host that the address names, in one spelling; "" where it names none."""
    try:
        return (URL(address.strip()).raw_host or "").removesuffix(".")
    except _MALFORMED:
        return ""


def redact(address: str | URL) -> str:
    """Write the address for a log: without what may be secret in it, the query and the user's name and password."""
    try:
        url = URL(address) if isinstance(address, str) else address
        shown = str(url.with_user(None).with_query(None).with_fragment(None)) if url.absolute else ""
    except _MALFORMED:
        shown = ""
    return shown[:_MAX_LOGGED_CHARACTERS] or "(no address)"


def _as_written(text: str, url: URL) -> URL:
    """Give the same address with its path and query untouched: where one is signed, each letter counts."""
    if not _QUOTED.fullmatch(text):
        return url
    parts = urlsplit(text)
    return URL.build(
        scheme=url.scheme, authority=url.raw_authority, path=parts.path or "/", query_string=parts.query, encoded=True
    )


def _read_host(host: str) -> Address | None:
    """Give the IP address that the host is written as, None for a name. Raises RefusedAddress for neither."""
    if is_host_name(host.removesuffix(".")):
        return None
    try:
        # Strict, unlike the system's own reading: neither octal nor hexadecimal, nor fewer than four numbers.
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError as error:
        raise RefusedAddress(UNREACHABLE) from error
