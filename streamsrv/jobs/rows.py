"""How jobs and segments look in the database."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from sqlite3 import Row
from typing import Any

from streamsrv.jobs.job import Job, JobKind, JobStatus, Priority, Segment

_STORED_OTHERWISE = {"sequence", "lease_token", "lease_until"}


def read_job(row: Row | Mapping[str, Any]) -> Job:
    values = {name: row[name] for name in row.keys() if name not in _STORED_OTHERWISE}  # noqa: SIM118 - a Row iterates over values
    values["kind"] = JobKind(values["kind"])
    values["status"] = JobStatus(values["status"])
    values["priority"] = Priority(values["priority"])
    values["options"] = json.loads(values["options"])
    values["result"] = json.loads(values["result"])
    values["cancel_requested"] = bool(values["cancel_requested"])
    values["discarded"] = bool(values["discarded"])
    return Job(**values)


def job_values(job: Job) -> dict[str, Any]:
    return asdict(job) | {"options": to_json(job.options), "result": to_json(job.result)}


def read_segment(row: Row) -> Segment:
    return Segment(**{name: row[name] for name in row.keys() if name != "job"})  # noqa: SIM118 - a Row iterates over values


def to_json(values: Mapping[str, Any] | Sequence[Any] | None) -> str:
    """Write JSON; None is an empty object. Raises TypeError or ValueError for what JSON doesn't have, NaN included."""
    return json.dumps({} if values is None else values, allow_nan=False)
