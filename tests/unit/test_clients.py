"""What a client is counted by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.web.clients import Proxies

PROXIES = Proxies(["127.0.0.1", "10.1.0.0/16", "2001:db8::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["192.0.2.1"], "203.0.113.9"),
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7", "192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        ("10.1.9.9", ["192.0.2.1", "2001:db8:0:5::1"], "192.0.2.1"),
        ("10.1.9.9", ["192.0.2.1, unknown"], "10.1.9.9"),
        ("127.0.0.1", ["192.0.2.1:41234"], "192.0.2.1"),
        ("127.0.0.1", ["[2001:db8:9:2::1]:443"], "2001:db8:9:2::/64"),
        ("127.0.0.1", ["[2001:db8:9:2::1]"], "2001:db8:9:2::/64"),
        ("127.0.0.1", [], ""),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("::1", [], ""),
        ("127.0.0.7", [], "127.0.0.7"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, ["192.0.2.1"], ""),
        ("", [], ""),
    ],
)
def test_who_counts(peer: str | None, forwarded: list[str], client: str) -> None:
    """It is the nearest address that is no proxy's; programs of this machine aren't counted, a /64 of IPv6 is one."""
    assert PROXIES.client(peer, forwarded) == client


@given(forged=st.text(max_size=60))
def test_nobody_chooses_what_it_counts_as(forged: str) -> None:
    """Whatever a client writes into the header, what its proxy adds to the right is what counts."""
    assert PROXIES.client("10.1.0.1", [forged, "192.0.2.1"]) == "192.0.2.1"
    assert PROXIES.client("203.0.113.9", [forged]) == "203.0.113.9"
