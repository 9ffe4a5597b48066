"""By which names a server may be called, as its settings have it."""

import pytest

from streamsrv.web.foreign_pages import Callers

LOCAL = ["127.0.0.1", "::1"]


def names(*hosts: str, also: tuple[str, ...] = (), machine: str = "Box", public_url: str = "") -> set[str]:
    return set(Callers.of(hosts=hosts, also=also, machine=machine, public_url=public_url, origins=[]).names)


@pytest.mark.parametrize("hosts", [LOCAL, ["0.0.0.0"], ["::"], [*LOCAL, "192.168.1.5"]])
@pytest.mark.parametrize("machine", ["box", "Box.example.org"])
def test_a_server_is_called_as_its_machine(hosts: list[str], machine: str) -> None:
    """The machine's names are the server's, wherever it listens: the whole, and its first part by multicast DNS."""
    assert names(*hosts, machine=machine) == {machine.lower(), "box.local"}


def test_names_that_are_told() -> None:
    """A name to listen on, the public address's and those that are allowed are the server's, in small letters."""
    told = names("127.0.0.1", also=("Music.LAN",), public_url="https://Audio.example.org:8443")
    assert told == {"box", "box.local", "music.lan", "audio.example.org"}
    assert names("Nas.lan") == {"box", "box.local", "nas.lan"}
    assert names("127.0.0.1", machine="") == set()


def test_only_who_says_so_takes_all_names() -> None:
    """What stands for all names is taken from the names that are allowed alone."""
    assert "*" in names("127.0.0.1", also=("*",))
    assert "*" not in names("*")


def test_no_origin_is_no_origin() -> None:
    """An empty entry in the list of origins lets nobody in."""
    callers = Callers.of(hosts=LOCAL, also=[], machine="box", public_url="", origins=["", "http://a.example/"])
    assert callers.origins == {"http://a.example"}
