"""Which addresses may be connected to, and which URLs are taken."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsrv.errors import RefusedAddress
from streamsrv.outbound.addresses import Allowed, is_host_name, is_public
from streamsrv.outbound.urls import MAX_URL_CHARACTERS, UNREACHABLE, host_of, next_url, read_url, redact

NOBODY = Allowed()

DENIED = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80e::200e",
]


def in_network(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    numbers = st.integers(int(network.network_address), int(network.broadcast_address))
    return numbers.map(IPv4Address if network.version == 4 else IPv6Address)


denied = st.sampled_from([ip_network(network) for network in DENIED]).flatmap(in_network)


@given(denied)
def test_no_address_of_a_special_network_is_public(address: IPv4Address | IPv6Address) -> None:
    """Wherever in a network that isn't public an address lies, it is refused."""
    assert not is_public(address)
    assert not NOBODY.opens_text(str(address))


@pytest.mark.parametrize("network", DENIED)
def test_networks_are_refused_from_end_to_end(network: str) -> None:
    """The first and the last address of a network that isn't public are refused."""
    edges = ip_network(network)
    assert not is_public(edges.network_address)
    assert not is_public(edges.broadcast_address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open(address: str) -> None:
    """What belongs to the internet may be connected to, up to the edge of each special network."""
    assert is_public(ip_address(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | denied.filter(lambda address: address.version == 4))
def test_a_mapped_address_is_judged_as_what_it_is(address: IPv4Address) -> None:
    """An IPv4 address that is written as IPv6 is open exactly if it is open as itself."""
    mapped = IPv6Address(f"::ffff:{address}")
    for allowed in (NOBODY, Allowed.parse(["10.0.0.0/8", "127.0.0.1"])):
        assert allowed.opens(mapped) == allowed.opens(address)


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**80 - 1))
def test_nothing_that_leads_to_ipv4_by_another_way_is_open(address: IPv4Address, rest: int) -> None:
    """NAT64, 6to4, Teredo and compatible addresses are refused, whatever address they lead to."""
    v4 = int(address)
    for number in (
        v4,
        (0x64FF9B << 96) | v4,
        (0x64FF9B0001 << 80) | (rest & ~0xFFFFFFFF) | v4,
        (0x2002 << 112) | (v4 << 80) | rest,
        (0x20010000 << 96) | (rest & (2**96 - 1)),
    ):
        assert not is_public(IPv6Address(number))


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_only_what_python_calls_global_is_open(address: IPv4Address | IPv6Address) -> None:
    """A registry that a newer Python knows and we don't is heeded."""
    assert not is_public(address) or address.is_global


def test_zones_are_refused() -> None:
    """An address with a zone belongs to a link: it is never public, nor an IPv4 address, whatever its number."""
    allowed = Allowed.parse(["127.0.0.1"])
    assert not NOBODY.opens_text("2606:4700:4700::1111%lo")
    assert not NOBODY.opens_text("fe80::1%1")
    assert not allowed.opens_text("::ffff:127.0.0.1%lo")


def test_a_network_is_opened_and_no_more() -> None:
    """outbound.allow opens the addresses of its networks, and none beside them."""
    allowed = Allowed.parse(["10.1.0.0/16", "127.0.0.1", "fd00::/8"])
    assert all(
        allowed.opens_text(address) for address in ("10.1.2.3", "127.0.0.1", "fd00::1", "::ffff:10.1.2.3", "1.1.1.1")
    )
    assert not any(
        allowed.opens_text(address) for address in ("10.2.0.0", "127.0.0.2", "fc00::1", "::1", "nonsense", "")
    )


def test_hosts_are_open_by_their_whole_name() -> None:
    """outbound.allow opens hosts in any case and with a final dot, and no others that only look similar."""
    allowed = Allowed.parse(["Media.Lan", "localhost."])
    assert all(allowed.names(host) for host in ("media.lan", "MEDIA.lan.", "localhost"))
    assert not any(allowed.names(host) for host in ("a.media.lan", "media.lan.evil.example", "medialan", "lan", ""))
    assert allowed.networks == ()


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.lan",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "host:80",
        "http://host",
        "[::1]",
        "a/b",
        "2130706433",
        "0x7f.1",
        "a b",
    ],
)
def test_what_opens_nothing_is_told(entry: str) -> None:
    """An entry of outbound.allow that can't be meant is an error, and not a host that is never met."""
    with pytest.raises(ValueError, match="neither the name of a host nor a network"):
        Allowed.parse([entry])


LOOPBACKS = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/x.mp4?y#z",
    "HTTP://127.0.0.1",
    "https://127.1.2.3/",
    "http://127.0.0.1./",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0x7F.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:0.0.0.0]/",
    "http://[::127.0.0.1]/",
    "http://①②⑦.⓪.⓪.①/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://[::1%25lo]/",
    "http://[::1%lo]/",
]
PRIVATES = [
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fec0::1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:c0a8:101::1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://224.0.0.1/",
    "http://[ff02::1]/",
    "http://255.255.255.255/",
    "http://168.63.129.16/",
]


@pytest.mark.parametrize("text", LOOPBACKS + PRIVATES)
def test_addresses_that_are_not_public_are_refused_in_any_spelling(text: str) -> None:
    """Loopback, private and special addresses are refused however they are written, all in the same words."""
    with pytest.raises(RefusedAddress) as refused:
        read_url(text, NOBODY)
    assert refused.value.status == 400
    assert refused.value.detail == UNREACHABLE


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "data:audio/mpeg;base64,AAAA",
        "ftp://example.com/a.mp4",
        "gopher://example.com/a",
        "concat:a|b",
        "pipe:0",
        "lavfi:sine",
        "rtmp://example.com/a",
        "hls+http://example.com/a.m3u8",
        "javascript:alert(1)",
        "//example.com/a",
        "/etc/passwd",
        "example.com",
        "",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://:password@example.com/",
        "http://:@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http:\\\\user@example.com",
        "http://",
        "http:///a.mp4",
        "http:/example.com/",
        "http:example.com",
        "http://:80/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:80:80/",
        "http://example.com:http/",
        "http://[::1/",
        "http://[v1.a]x/",
        "http://exa mple.com/",
        "http://example..com/",
        "http://.example.com/",
        "http://-\x00.example.com/",
        "http://example.com/a\r\nHost: evil",
        "http://example.com/a\tb",
        f"http://{'a' * 64}.com/",
        f"http://{'a.' * 127}com/",
        f"http://example.com/{'a' * MAX_URL_CHARACTERS}",
    ],
)
def test_only_plain_web_addresses_are_taken(text: str) -> None:
    """Other schemes, names and passwords, missing hosts, control characters and endless addresses are refused."""
    with pytest.raises(RefusedAddress):
        read_url(text, Allowed.parse(["0.0.0.0/0", "::/0"]))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://example.com", "http://example.com/"),
        ("http://@example.com/", "http://example.com/"),
        (" http://example.com/a ", "http://example.com/a"),
        ("http://example.com/a%2Fb%7e?x=%2F%20+%c3&y==#z", "http://example.com/a%2Fb%7e?x=%2F%20+%c3&y=="),
        ("HTTPS://Example.COM:8443/a b.mp4?x=1#part", "https://example.com:8443/a%20b.mp4?x=1"),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
        ("http://ex_ample.com./", "http://ex_ample.com./"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://[2606:4700:4700::1111]:81/", "http://[2606:4700:4700::1111]:81/"),
        ("http://example.com/@user", "http://example.com/@user"),
        ("http://example.com?a@b", "http://example.com/?a@b"),
        ("http://127.0.0.1.example.com/", "http://127.0.0.1.example.com/"),
    ],
)
def test_web_addresses_are_read(text: str, read: str) -> None:
    """What names a file on the web is taken, without its fragment."""
    assert str(read_url(text, NOBODY)) == read


@example("http://[]@")
@given(st.text(max_size=30) | st.text("htp:/@[].%0x1\\#?", max_size=30).map(lambda rest: f"http://{rest}"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """No text does anything else than being refused or naming a host, without credentials, that is a name or public."""
    assert redact(text)
    try:
        url = read_url(text, NOBODY)
    except RefusedAddress:
        return
    assert url.scheme in {"http", "https"}
    assert url.user is None
    assert url.password is None
    assert url.raw_host
    assert is_host_name(url.raw_host.removesuffix(".")) or is_public(ip_address(url.raw_host))


@given(st.integers(0, 2**32 - 1))
def test_a_number_is_no_host(number: int) -> None:
    """An IPv4 address as one number, decimal, octal or hexadecimal, is refused even where it is public."""
    for host in (f"{number}", f"0{number:o}", f"{number:#x}", f"{number:#X}"):
        with pytest.raises(RefusedAddress):
            read_url(f"http://{host}/", NOBODY)


@pytest.mark.parametrize(
    ("start", "location", "follows"),
    [
        ("http://example.com/a/b", "c", "http://example.com/a/c"),
        ("http://example.com/a/b", "/c?d#e", "http://example.com/c?d"),
        ("http://example.com/a/b?c", "d?signed=%2F%20", "http://example.com/a/d?signed=%2F%20"),
        ("http://example.com/a/b", "//example.org", "http://example.org/"),
        ("http://example.com/a/b", "https://example.org/", "https://example.org/"),
        ("https://example.com/", "https://example.org/", "https://example.org/"),
        ("https://example.com/", "//example.org/", "https://example.org/"),
        ("https://example.com/", "http://example.com/", None),
        ("http://example.com/", "http://127.0.0.1/", None),
        ("http://example.com/", "//[::1]/", None),
        ("http://example.com/", "http://user@example.org/", None),
        ("http://example.com/", "file:///etc/passwd", None),
        ("http://example.com/", "data:,x", None),
        ("http://example.com/", "gopher://example.com/", None),
        ("http://example.com/", "http://[::1", None),
        ("http://example.com/", "http://\udcff/", None),
    ],
)
def test_each_hop_is_read_anew(start: str, location: str, follows: str | None) -> None:
    """A redirect is refused for whatever an address is refused, and where it leads from https to http."""
    url = read_url(start, NOBODY)
    if follows is None:
        with pytest.raises(RefusedAddress):
            next_url(url, location, NOBODY)
    else:
        assert str(next_url(url, location, NOBODY)) == follows


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.com/a.mp4?token=secret#here", "https://example.com/a.mp4"),
        ("https://user:secret@example.com:81/a", "https://example.com:81/a"),
        ("secret", "(no address)"),
        ("data:secret", "(no address)"),
        ("http://[secret", "(no address)"),
        ("http://example.com/" + "a" * 1000, "http://example.com/" + "a" * 181),
    ],
)
def test_logs_name_an_address_without_its_secrets(text: str, shown: str) -> None:
    """What may be secret, a query and a password, is left out, and so is what can't be taken apart."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://Music.example.org:80/a", "music.example.org"),
        (" https://music.example.org./b?c", "music.example.org"),
        ("http://[2606:4700::1111]:8000/", "2606:4700::1111"),
        ("http://b\u00fccher.example/", "xn--bcher-kva.example"),
        ("http://[]@", ""),
        ("file:///srv/a", ""),
    ],
)
def test_a_host_has_one_name(address: str, host: str) -> None:
    """However an address is written, its host is the same one; what names none has none."""
    assert host_of(address) == host
