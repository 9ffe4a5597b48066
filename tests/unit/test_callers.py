"""By which names a server may be called, as its settings have it."""

import pytest

from streamsrv.web.foreign_pages import Callers

LOCAL = ["127.0.0.1", "::1"]


def names(*hosts: str, also: tuple[str, ...] = (), machine: str = "Box", public_url: str = "") -> set[str]:
    return set(Callers.of(hosts=hosts, also=also, machine=machine, public_url=public_url, origins=[]).names)


@pytest.mark.parametrize("hosts", [LOCAL, ["127.0.0.2"], ["localhost"]])
def test_a_server_for_its_machine_alone_is_called_localhost(hosts: list[str]) -> None:
    """While nobody else reaches it, the machine's name isn't one of the server's."""
    assert names(*hosts) == {"localhost"}


@pytest.mark.parametrize("hosts", [["0.0.0.0"], ["::"], [*LOCAL, "192.168.1.5"], ["fd00::5"]])
@pytest.mark.parametrize("machine", ["box", "Box.example.org"])
def test_a_server_for_others_is_called_as_its_machine(hosts: list[str], machine: str) -> None:
    """Where others reach it, the machine's names are the server's: whole, its first part, and that by multicast DNS."""
    assert names(*hosts, machine=machine) == {"localhost", machine.lower(), "box", "box.local"}


def test_names_that_are_told() -> None:
    """A name to listen on, the public address's and those that are allowed are the server's, in small letters."""
    told = names("127.0.0.1", also=("Music.LAN",), public_url="https://Audio.example.org:8443")
    assert told == {"localhost", "music.lan", "audio.example.org"}
    assert names("Nas.lan") == {"localhost", "nas.lan", "box", "box.local"}


def test_only_who_says_so_takes_all_names() -> None:
    """What stands for all names is taken from the names that are allowed alone."""
    assert "*" in names("127.0.0.1", also=("*",))
    assert "*" not in names("*")


def test_no_origin_is_no_origin() -> None:
    """An empty entry in the list of origins lets nobody in."""
    callers = Callers.of(hosts=LOCAL, also=[], machine="box", public_url="", origins=["", "http://a.example/"])
    assert callers.origins == {"http://a.example"}
