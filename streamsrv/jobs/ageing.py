"""The time by which things grow too old: a clock that was set wrong makes nothing old."""

import time
from collections.abc import Callable

# By so much a clock that is kept right gains between two looks at most.
_LEAP_SECONDS = 60.0


class SureClock:
    """The system's time, once it has been the same for `grace_seconds`: since the start, and since it last leapt ahead.

    A wrong clock is noticed and put right meanwhile. One that a machine slept through leaps, too, and waits as long.
    """

    def __init__(
        self,
        *,
        grace_seconds: float = 3600.0,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._steady = steady
        self._since = steady()
        self._ahead = clock() - self._since

    def now(self) -> float | None:
        """The Unix time; None while it can't be relied on. Ask once an hour or so: a leap is seen when it is asked."""
        steady, clock = self._steady(), self._clock()
        if clock - steady > self._ahead + _LEAP_SECONDS:
            self._since = steady
        self._ahead = clock - steady
        return clock if steady - self._since >= self._grace_seconds else None
