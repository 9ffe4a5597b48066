"""What a job is: one frozen row, and the moves its status can make."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any


class JobStatus(StrEnum):
    """Where a job stands. It moves only along ALLOWED_MOVES."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        """No move leads away from here."""
        return not ALLOWED_MOVES[self]

    def may_become(self, other: "JobStatus") -> bool:
        """Staying is no move, so it is always allowed."""
        return other is self or other in ALLOWED_MOVES[self]


# A job goes back to Pending when its attempt failed for the server's own fault, or when its server stopped.
ALLOWED_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.PENDING: frozenset({JobStatus.PROCESSING, JobStatus.FAILED, JobStatus.CANCELLED}),
        JobStatus.PROCESSING: frozenset(
            {JobStatus.PENDING, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED},
        ),
        JobStatus.COMPLETED: frozenset(),
        JobStatus.FAILED: frozenset(),
        JobStatus.CANCELLED: frozenset(),
    },
)


class JobKind(StrEnum):
    """Which feature does the job."""

    HLS = "hls"
    EXTRACT = "extract"
    SEPARATE = "separate"


class Priority(IntEnum):
    """The class of a waiting job; the lowest number goes first."""

    URGENT = 0
    NORMAL = 1
    BACKGROUND = 2


class LeaseLost(Exception):
    """The lease is not valid any more: the job ended or belongs to another attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as its row is now. Times are Unix seconds, `options` and `result` hold what JSON can.

    `progress` is 0..100 and never decreases. `attempt` counts claims, `failures` the attempts that failed for the
    server's own fault, `restarts` the attempts that a crash cut short. `revision` grows with every change.
    `discarded` says that the files of a failed or cancelled job are gone. `fingerprint` is a digest of what is asked
    for: of the jobs that wait or run, and aren't being cancelled, one at most has it for each kind and subject.
    """

    id: str
    kind: JobKind
    subject: str = "local"
    status: JobStatus = JobStatus.PENDING
    priority: Priority = Priority.NORMAL
    title: str = ""
    source_name: str = ""
    source: str | None = None  # storage key; set when the upload's end was seen
    source_bytes: int = 0  # 0 where nobody knows, as for sources that the job fetches itself
    options: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    progress: float = 0.0
    error: str | None = None
    created_at: float
    accepted_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    attempt: int = 0
    failures: int = 0
    restarts: int = 0
    cancel_requested: bool = False
    discarded: bool = False
    revision: int = 1
    fingerprint: str | None = None

    def evolve(self, **changes: Any) -> "Job":
        """Copy the job with other values. Raises ValueError where its status can't make that move."""
        status = JobStatus(changes.get("status", self.status))
        if not self.status.may_become(status):
            raise ValueError(f"a job can't go from {self.status} to {status}")
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A published piece of a job's output. Number 0 is the init section, which lasts 0 seconds."""

    number: int
    name: str
    key: str
    size: int
    etag: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on `job`, proved by `token`, until the Unix time `until` unless it is renewed."""

    job: Job
    token: str
    until: float
