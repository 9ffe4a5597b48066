"""Segments that were looked up before: all listeners of a song ask for the same ones."""

from streamsrv.jobs.job import Segment


class SeenSegments:
    """Published segments as they were read, until their job changes; at most `most` of them.

    `changes` counts what was forgotten. A segment that was read is kept only if nothing changed since that began.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = 0
        self._jobs: dict[str, dict[str, Segment]] = {}
        self.changes = 0

    def find(self, job_id: str, name: str) -> Segment | None:
        segments = self._jobs.get(job_id)
        return None if segments is None else segments.get(name)

    def keep(self, job_id: str, segment: Segment, *, since: int) -> None:
        """Keep what a read gave that began when `changes` was `since`."""
        if since != self.changes:
            return
        if self._kept >= self._most:
            self._jobs.clear()  # it is rare, and each is read again once
            self._kept = 0
        segments = self._jobs.setdefault(job_id, {})
        self._kept += segment.name not in segments
        segments[segment.name] = segment

    def forget(self, job_id: str) -> None:
        """The job changed: its segments may be others now."""
        self.changes += 1
        self._kept -= len(self._jobs.pop(job_id, ()))
