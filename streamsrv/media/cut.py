"""A part of a sound, cut out by its samples. Pure.

Seeking in a file isn't exact, so what is cut out is decoded from the start and counted.
"""

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
        start = round(self.start_seconds * sample_rate)
        if self.duration_seconds is None:
            return start, None
        return start, start + max(1, round(self.duration_seconds * sample_rate))

    def seconds_of(self, whole_seconds: float) -> float:
        """How long the part is of a sound of that length."""
        end = whole_seconds if self.end_seconds is None else min(self.end_seconds, whole_seconds)
        return max(0.0, end - self.start_seconds)


WHOLE = Cut()
