"""What people and programs write and read of jobs: times, statuses, and how many on a page. Pure."""

from datetime import UTC, datetime

from streamsrv.errors import BadParameter
from streamsrv.jobs.job import JobStatus
from streamsrv.text import whole_number

_PAGE_LIMIT = 50
_MAX_PAGE_LIMIT = 200


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_statuses(text: str) -> list[JobStatus]:
    """Read several statuses with commas between them, in any case. Raises BadParameter."""
    known = {status.value.lower(): status for status in JobStatus}
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        possible = ", ".join(status.value for status in JobStatus)
        raise BadParameter(f"status must be one of {possible}, not {unknown[0][:40]!r}.")
    return [known[name] for name in names]


def read_limit(text: str) -> int:
    """Read how many jobs a page has. Raises BadParameter."""
    if not text:
        return _PAGE_LIMIT
    limit = whole_number(text, digits=len(str(_MAX_PAGE_LIMIT)))
    if limit is None or not 1 <= limit <= _MAX_PAGE_LIMIT:
        raise BadParameter(f"limit must be a whole number from 1 to {_MAX_PAGE_LIMIT}.")
    return limit
