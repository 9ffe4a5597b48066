"""Progress comes more often than it is worth a commit: what is held back, and until when."""

from dataclasses import dataclass

from streamsrv.jobs.job import Job, Lease

SECONDS_BETWEEN_WRITES = 0.5


@dataclass(slots=True)
class _Held:
    job: Job
    written_at: float
    progress: float


class HeldProgress:
    """The last write of each lease, and the progress that came after it."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def hold(self, lease: Lease, progress: float, now: float) -> Job | None:
        """Keep the progress for the next write and return the job with it, or None when it is time to write."""
        held = self._held.get(lease.job.id)
        if held is None or held.job.attempt != lease.job.attempt:
            return None
        if not 0 <= now - held.written_at < SECONDS_BETWEEN_WRITES:
            return None
        held.progress = max(held.progress, min(progress, 100.0))
        return held.job.evolve(progress=held.progress)

    def of(self, lease: Lease) -> float:
        """Give the progress that is held back, 0 when there is none."""
        held = self._held.get(lease.job.id)
        return held.progress if held is not None and held.job.attempt == lease.job.attempt else 0.0

    def written(self, job: Job, now: float) -> None:
        self._held[job.id] = _Held(job, now, job.progress)

    def forget(self, job_id: str) -> None:
        self._held.pop(job_id, None)
