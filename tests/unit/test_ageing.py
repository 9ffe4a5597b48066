"""When the time can be relied on: not just after a start, and not just after a leap."""

from hypothesis import given
from hypothesis import strategies as st

from streamsrv.jobs.ageing import SureClock

YEAR = 365 * 86400.0
HOUR = 3600.0


class Machine:
    """Its clock may be set; it runs on evenly all the same."""

    def __init__(self) -> None:
        self.runs, self.off = 0.0, 1e9
        self.sure = SureClock(grace_seconds=HOUR, clock=lambda: self.runs + self.off, steady=lambda: self.runs)

    def after(self, seconds: float, *, leap: float = 0.0) -> float | None:
        self.runs += seconds
        self.off += leap
        return self.sure.now()


def test_a_clock_is_believed_after_an_hour() -> None:
    """After a start nobody knows whether it is right; after an hour somebody would."""
    machine = Machine()
    assert [machine.after(seconds) for seconds in (0, HOUR - 1, 1, HOUR)] == [None, None, 1e9 + HOUR, 1e9 + 2 * HOUR]


def test_a_leap_is_believed_once_it_has_lasted() -> None:
    """A clock that leaps ahead makes nothing old for an hour, however far it leaps; put right, it is as before."""
    machine = Machine()
    machine.after(2 * HOUR)
    assert machine.after(60, leap=YEAR) is None
    assert machine.after(HOUR - 60) is None
    assert machine.after(0, leap=-YEAR) is None
    assert machine.after(60) == 1e9 + 3 * HOUR + 60
    assert machine.after(HOUR, leap=YEAR) is None
    assert machine.after(HOUR) == 1e9 + 5 * HOUR + 60 + YEAR


@given(st.lists(st.floats(-5, 5), max_size=50))
def test_small_corrections_are_no_leaps(leaps: list[float]) -> None:
    """A clock that is kept right by seconds is believed all the time."""
    machine = Machine()
    machine.after(HOUR)
    assert all(machine.after(HOUR, leap=leap) is not None for leap in leaps)
