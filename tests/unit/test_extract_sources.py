"""Addresses of files: which path they name, and which are refused."""

from pathlib import Path

import pytest

from streamsrv.errors import RefusedAddress
from streamsrv.extract.sources import path_of


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///srv/film.mkv", "/srv/film.mkv"),
        ("file://localhost/srv/film.mkv", "/srv/film.mkv"),
        ("FILE:///srv/film.mkv", "/srv/film.mkv"),
        ("file:///srv/a%20film%3F%23.mkv", "/srv/a film?#.mkv"),
        ("file:///srv/J%C3%B3ga.mkv", "/srv/Jóga.mkv"),
        ("file:///srv/%252e.mkv", "/srv/%2e.mkv"),
        ("file:///srv/a%1B%0A.mkv", "/srv/a\x1b\n.mkv"),
    ],
)
def test_a_path_is_read(uri: str, path: str) -> None:
    """An address names a path of this machine, percent-decoded once."""
    assert path_of(uri) == Path(path)


@pytest.mark.parametrize("name", ["film.mkv", "a film?#%41.mkv", "Jóga & co;1.mkv", "$(rm -rf).mkv", "-i"])
def test_what_python_writes_is_read(name: str) -> None:
    """Every path that Python writes as an address is read as that path."""
    path = Path("/srv") / name
    assert path_of(path.as_uri()) == path


@pytest.mark.parametrize(
    "uri",
    [
        "file://elsewhere/srv/film.mkv",
        "file://127.0.0.1/srv/film.mkv",
        "file://user@/srv/film.mkv",
        "file://srv",
        "file://",
        "file:///srv/film.mkv?secret",
        "file:///srv/film.mkv#t=3",
        "file:///srv/%00film.mkv",
        "file:///srv/%ff.mkv",
        "file://[::1/srv/film.mkv",
        "file:///srv/fi\x1b[201~lm.mkv",
        "file:///srv/fi\nlm.mkv",
        "file:///srv/film\u202evkm.exe",
    ],
)
def test_other_addresses_are_refused(uri: str) -> None:
    """A host, a query, a null byte, what isn't UTF-8, what turns text around and what is no path at all are refused."""
    with pytest.raises(RefusedAddress):
        path_of(uri)
