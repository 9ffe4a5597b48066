"""Jobs, submissions and the store that keeps them: a test says what matters to it, and the rest is filled in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsrv.jobs.job import Job, JobKind
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.submissions import Submission

NOW = 1_000_000.0
SONG = "a" * 64
LEASE_SECONDS = 30.0
_LIMITS: dict[str, Any] = {
    "lease_seconds": LEASE_SECONDS,
    "ageing_seconds": 300.0,
    "max_attempts": 3,
    "max_restarts": 20,
}


@dataclass
class Clock:
    """Stands still unless a test moves it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def make_store(path: Path, *, store_class: type[SqliteJobStore] = SqliteJobStore, **changes: Any) -> SqliteJobStore:
    """A store, not open yet; those on the same path share what they keep."""
    return store_class(path, **(_LIMITS | changes))


def make_job(job_id: str = "a", *, kind: JobKind = JobKind.HLS, **changes: Any) -> Job:
    return Job(id=job_id, kind=kind, **({"created_at": NOW} | changes))


def make_submission(submission_id: str = "one", **changes: Any) -> Submission:
    values: dict[str, Any] = {
        "content": SONG,
        "model": "htdemucs",
        "name": f"{submission_id}.mp3",
        "origin": "http://localhost:8080",
        "created_at": NOW,
    }
    return Submission(id=submission_id, **(values | changes))


async def meddle(store: SqliteJobStore, statement: str) -> None:
    """Let the database run a statement, past all that the store knows."""
    writer = store._database._writer
    assert writer is not None
    await writer.execute_fetchall(statement)
