"""Progress of an extraction: it grows, and ends below the end."""

from hypothesis import given
from hypothesis import strategies as st

from streamsrv.extract.progress import Progress

FETCHES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100)), max_size=20)


@given(FETCHES, st.floats(0, 100), st.lists(st.floats(0, 200), max_size=10))
def test_progress_grows_and_stays_below_its_end(
    fetches: list[tuple[int, int]], seconds: float, encoded: list[float]
) -> None:
    """Whatever comes in, percents are between 0 and 99, and none is below the one before."""
    progress, seen = Progress(3), [0.0]
    for clip, have in sorted(fetches, key=lambda fetch: fetch[1]):
        progress.fetched(clip, have, 100)
        seen.append(progress.percent)
    progress.opened(seconds)
    seen.append(progress.percent)
    for at in sorted(encoded):
        progress.encoded(at)
        seen.append(progress.percent)
    assert seen == sorted(seen)
    assert seen[-1] <= 99.0


def test_news_are_told_once() -> None:
    """The phase is told when it changes, and not again."""
    progress = Progress(1)
    assert progress.news()["phase"] == "fetching"
    assert progress.news() == {}
    progress.opened(12.3456)
    assert progress.news() == {"phase": "working", "duration_seconds": 12.346}
    assert progress.news() == {}


def test_files_that_are_here_cost_no_progress() -> None:
    """Where nothing has to be fetched, encoding is all of it."""
    progress = Progress(2)
    progress.opened(10.0)
    assert progress.percent == 0.0
    progress.encoded(5.0)
    assert progress.percent == 49.5
