"""Which model a song gets that names none."""

from itertools import islice

import pytest

from streamsrv.separate.catalog import BUILT_IN, Entry, State
from streamsrv.separate.choice import AUTO, PREFERRED, Choice, choose, pauses


def entry(name: str, state: State) -> Entry:
    return Entry(name=name, sources=None, state=state, lack="lacks a file")


SMALL = entry(BUILT_IN, "available")
NO_SMALL = entry(BUILT_IN, "missing")


@pytest.mark.parametrize("wanted", ["htdemucs", "tiny", BUILT_IN])
def test_who_names_a_model_gets_it(wanted: str) -> None:
    """A model that the settings name is used whatever there is, and nothing needs to be said of it."""
    for entries in ([], [SMALL], [SMALL, entry(wanted, "missing")]):
        assert choose(wanted, entries) == Choice(wanted)
    assert Choice(wanted).reason is None


def test_the_better_one_is_used_where_it_is() -> None:
    """With "auto" it is htdemucs where that is here."""
    assert choose(AUTO, [SMALL, entry(PREFERRED, "available")]) == Choice(PREFERRED)


@pytest.mark.parametrize(
    ("others", "failed", "why"),
    [
        ([entry(PREFERRED, "needs download")], None, "htdemucs is being downloaded"),
        ([entry(PREFERRED, "needs download")], "needs download", "htdemucs could not be downloaded"),
        ([entry(PREFERRED, "needs download")], "available", "htdemucs could not be downloaded"),
        ([entry(PREFERRED, "available")], "available", "htdemucs could not be loaded"),
        ([entry(PREFERRED, "missing")], None, "htdemucs lacks a file"),
        ([entry("tiny", "available")], None, "htdemucs isn't in the server's folder of models"),
        ([], None, "htdemucs isn't in the server's folder of models"),
    ],
)
def test_else_the_built_in_one_is_used(others: list[Entry], failed: State | None, why: str) -> None:
    """Where htdemucs can't be used it is the small one that came along, and it is said why."""
    choice = choose(AUTO, [SMALL, *others], failed=failed)
    assert choice == Choice(BUILT_IN, why)
    assert choice.reason == f"{why}; used the small built-in model"


def test_what_was_brought_in_another_way_is_used() -> None:
    """A download that failed says nothing of files that came since."""
    assert choose(AUTO, [SMALL, entry(PREFERRED, "available")], failed="needs download") == Choice(PREFERRED)


def test_who_knows_better_what_is_coming_says_so() -> None:
    """Where no server runs nothing is being downloaded: the words are the caller's."""
    choice = choose(AUTO, [SMALL, entry(PREFERRED, "needs download")], is_coming="it will come")
    assert choice == Choice(BUILT_IN, "it will come")


@pytest.mark.parametrize("state", ["needs download", "missing"])
def test_without_any_it_is_the_better_one(state: State) -> None:
    """Where not even the built-in one can be used, htdemucs is asked for: what it lacks is what the song says."""
    assert choose(AUTO, [NO_SMALL, entry(PREFERRED, state)]) == Choice(PREFERRED)
    assert choose(AUTO, []) == Choice(PREFERRED)


def test_a_download_is_tried_less_and_less_often() -> None:
    """After a failure it is tried again within minutes, later every few hours, and never given up."""
    first = list(islice(pauses(), 20))
    assert first == sorted(first)
    assert first[0] <= 120
    assert set(first[10:]) == {6 * 3600}
