"""Which model a song gets that names none."""

from itertools import islice

import pytest

from streamsrv.separate.catalog import BUILT_IN, Entry, State
from streamsrv.separate.choice import AUTO, DID_NOT_COME, IS_COMING, PREFERRED, Choice, choose, pauses


def entry(name: str, state: State) -> Entry:
    return Entry(name=name, sources=None, state=state)


SMALL = entry(BUILT_IN, "available")
NO_SMALL = entry(BUILT_IN, "missing")


@pytest.mark.parametrize("wanted", ["htdemucs", "tiny", BUILT_IN])
def test_who_names_a_model_gets_it(wanted: str) -> None:
    """A model that the settings name is used whatever there is, and nothing needs to be said of it."""
    for entries in ([], [SMALL], [SMALL, entry(wanted, "missing")]):
        assert choose(wanted, entries, download=IS_COMING) == Choice(wanted)
    assert Choice(wanted).reason is None


def test_the_better_one_is_used_where_it_is() -> None:
    """With "auto" it is htdemucs where that is here."""
    assert choose(AUTO, [SMALL, entry(PREFERRED, "available")], download=IS_COMING) == Choice(PREFERRED)


@pytest.mark.parametrize(
    ("others", "download", "why"),
    [
        ([entry(PREFERRED, "needs download")], IS_COMING, "htdemucs is being downloaded"),
        ([entry(PREFERRED, "needs download")], DID_NOT_COME, "htdemucs could not be downloaded"),
        ([entry(PREFERRED, "missing")], IS_COMING, "htdemucs isn't on this server, which may not download it"),
        ([entry("tiny", "available")], IS_COMING, "htdemucs isn't in the server's folder of models"),
        ([], IS_COMING, "htdemucs isn't in the server's folder of models"),
    ],
)
def test_else_the_built_in_one_is_used(others: list[Entry], download: str, why: str) -> None:
    """Where htdemucs isn't here it is the small one that came along, and it is said why."""
    choice = choose(AUTO, [SMALL, *others], download=download)
    assert choice == Choice(BUILT_IN, why)
    assert choice.reason == f"{why}; used the small built-in model"


@pytest.mark.parametrize("state", ["needs download", "missing"])
def test_without_any_it_is_the_better_one(state: State) -> None:
    """Where not even the built-in one can be used, htdemucs is asked for: what it lacks is what the song says."""
    assert choose(AUTO, [NO_SMALL, entry(PREFERRED, state)], download=IS_COMING) == Choice(PREFERRED)
    assert choose(AUTO, [], download=IS_COMING) == Choice(PREFERRED)


def test_a_download_is_tried_less_and_less_often() -> None:
    """After a failure it is tried again within minutes, later every few hours, and never given up."""
    first = list(islice(pauses(), 20))
    assert first == sorted(first)
    assert first[0] <= 120
    assert set(first[10:]) == {6 * 3600}
