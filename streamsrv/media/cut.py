"""A part of a sound, cut out by its samples. Pure.

Seeking in a file isn't exact, so what is cut out is decoded from the start and counted.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """What lies from `start_seconds` on; `duration_seconds` of it, or None: all up to the end."""

    start_seconds: float = 0.0
    duration_seconds: float | None = None

    @property
    def end_seconds(self) -> float | None:
        return None if self.duration_seconds is None else self.start_seconds + self.duration_seconds

    def samples(self, sample_rate: int) -> tuple[int, int | None]:
        """The first sample, and the one behind the last; None: there is no such."""
        start = _nearest_sample(self.start_seconds, sample_rate)
        if self.end_seconds is None:
            return start, None
        # Rounded as a start is, so that where one part ends the next one begins.
        return start, max(start + 1, _nearest_sample(self.end_seconds, sample_rate))

    def seconds_of(self, whole_seconds: float) -> float:
        """How long the part is of a sound of that length."""
        end = whole_seconds if self.end_seconds is None else min(self.end_seconds, whole_seconds)
        return max(0.0, end - self.start_seconds)


WHOLE = Cut()


def _nearest_sample(seconds: float, sample_rate: int) -> int:
    """The same for the same time, whether it was given or is a sum: what floats are off is less than 1/1000 sample."""
    return math.floor(round(seconds * sample_rate, 3) + 0.5)
