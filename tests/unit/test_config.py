"""Settings from all their sources: what can't be used is refused in words, and never with a traceback."""

from pathlib import Path

import pytest

from streamsrv.config import load_config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server = 3", "server"),
        ("[limits]\nmax_duration_seconds = inf", "finite"),
        ("[jobs]\nlease_seconds = nan", "lease_seconds"),
        ('[server]\nhosts = [""]', "hosts"),
        ("[server]\nports = [70000]", "ports"),
        ("[server]\ncolour = 1", "colour"),
        ('[server]\npublic_url = "x.org"', "http:// or https://"),
        ('[server]\npublic_url = "ftp://x.org"', "http:// or https://"),
        ('[server]\npublic_url = "https://x.org/audio"', "below a path"),
        ('[server]\npublic_url = "https://me:secret@x.org"', "public_url"),
        ('[server]\npublic_url = "https://x.org?a=b"', "public_url"),
        ('[server]\nhosts_allowed = ["http://x.org"]', "names alone"),
        ('[server]\nhosts_allowed = ["x.org:8080"]', "names alone"),
        ('[server]\nhosts_allowed = ["*.x.org/"]', "names alone"),
        ('[server]\nhosts_allowed = [""]', "names alone"),
        ("[server", "Expected"),
    ],
)
def test_what_cant_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A value where a section belongs, numbers without end, an empty address, which would mean every address."""
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        load_config(file, {"server": {"data_dir": tmp_path}})


@pytest.mark.parametrize("url", ["", "http://x.org", "https://x.org:8443/", "http://[::1]:8080", "http://10.0.0.1"])
def test_a_public_url_is_where_browsers_find_the_server(url: str) -> None:
    """By name or address, with or without a port."""
    assert load_config(flags={"server": {"public_url": url}}).server.public_url == url.rstrip("/")


def test_hosts_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, in a variable with commas, patterns, or all of them."""
    told = {"": [], "x.org, Nas.lan": ["x.org", "Nas.lan"], "*": ["*"], "*.x.org,a-*.lan": ["*.x.org", "a-*.lan"]}
    for text, hosts in told.items():
        monkeypatch.setenv("STREAMSRV_SERVER__HOSTS_ALLOWED", text)
        assert load_config().server.hosts_allowed == hosts


def test_a_value_in_place_of_a_section_is_refused_as_a_variable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """STREAMSRV_SERVER without a key."""
    monkeypatch.setenv("STREAMSRV_SERVER", "3")
    with pytest.raises(ValueError, match="server"):
        load_config(flags={"server": {"ports": [1]}})
