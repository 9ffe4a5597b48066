"""How long a job will still take: a guess from what the server has just been doing. Pure."""

from collections.abc import Sequence

from streamsrv.jobs.job import Job, JobStatus

_EARLY_PERCENT = 2.0


def eta_seconds(job: Job, *, ahead: Sequence[Job], recent: Sequence[Job], slots: int, now: float) -> float | None:
    """Seconds until the job ends, None where there is nothing to guess from.

    `ahead`: jobs that are done before it; `recent`: some of its kind that were completed lately.
    """
    if job.status is JobStatus.PROCESSING and job.started_at is not None and job.progress >= _EARLY_PERCENT:
        return (now - job.started_at) * (100 - job.progress) / job.progress
    rate = _bytes_per_second(recent)
    if rate is None or job.accepted_at is None or job.status.ended:
        return None
    if not all(each.source_bytes for each in (job, *ahead)):
        return None  # nobody knows how much one of them has to read
    waiting = sum(other.source_bytes * (100 - other.progress) / 100 for other in ahead)
    return waiting / rate / slots + job.source_bytes / rate


def _bytes_per_second(recent: Sequence[Job]) -> float | None:
    spans = [
        (job.source_bytes, job.completed_at - job.started_at)
        for job in recent
        if job.completed_at is not None and job.started_at is not None and job.completed_at > job.started_at
    ]
    size, seconds = sum(size for size, _ in spans), sum(span for _, span in spans)
    return size / seconds if size else None
