"""How far an extraction is: first the files come, then their sound is encoded. Pure."""

from typing import Any

# So many percent are for bringing the files here, where any of them have to be brought.
_FETCHING_PERCENT = 20.0
_MOST_PERCENT = 99.0


class Progress:
    """Told of every step; `percent` is 0..99 and grows, since what it counts does."""

    def __init__(self, clips: int) -> None:
        self._shares = [0.0] * clips
        self._fetches = False
        self._seconds: float | None = None
        self._encoded_seconds = 0.0
        self._told: dict[str, Any] = {}

    @property
    def percent(self) -> float:
        before = _FETCHING_PERCENT if self._fetches else 0.0
        if self._seconds is None:
            return before * sum(self._shares) / len(self._shares)
        share = min(1.0, self._encoded_seconds / self._seconds) if self._seconds else 0.0
        return before + (_MOST_PERCENT - before) * share

    def fetched(self, clip: int, have_bytes: int, all_bytes: int | None) -> None:
        """So many bytes of a clip came from its server."""
        self._fetches = True
        self._shares[clip] = have_bytes / all_bytes if all_bytes else 0.5

    def opened(self, seconds: float) -> None:
        """All clips are here, and last about so long."""
        self._seconds = seconds

    def encoded(self, seconds: float) -> None:
        """The encoder has taken so much."""
        self._encoded_seconds = seconds

    def news(self) -> dict[str, Any]:
        """What the job's result should say, as far as it doesn't yet."""
        now: dict[str, Any] = {"phase": "fetching", "clip": None, "tracks": None}
        if self._seconds is not None:
            now = {"phase": "working", "duration_seconds": round(self._seconds, 3)}
        if now == self._told:
            return {}
        self._told = now
        return now
