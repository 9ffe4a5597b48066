"""What the database says of jobs, and what they have published."""

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from support.traces.files import digest


@dataclass(frozen=True)
class Row:
    """A job as the disk knows it, and what it has published: the digest of each segment's bytes by name.

    The files of a job that failed may be gone already, so nothing of it counts as published.
    """

    status: str
    accepted: bool
    error: str | None
    attempt: int
    failures: int
    restarts: int
    revision: int
    published: Mapping[str, str]


def rows(data_dir: Path) -> dict[str, Row]:
    """What was committed when the server died. Asked of a copy: nothing is repaired or moved by looking."""
    with tempfile.TemporaryDirectory() as folder:
        for file in data_dir.glob("streamsrv.sqlite*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / "streamsrv.sqlite")) as database:
            database.row_factory = sqlite3.Row
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            jobs = database.execute("SELECT * FROM jobs").fetchall()
            segments = database.execute(
                "SELECT segments.*, status FROM segments JOIN jobs ON sequence = job ORDER BY number"
            ).fetchall()
    published: dict[int, dict[str, str]] = {job["sequence"]: {} for job in jobs}
    for row in segments:
        if row["status"] != "Failed":
            published[row["job"]][row["name"]] = digest((data_dir / "files" / row["key"]).read_bytes())
    return {
        job["id"]: Row(
            job["status"],
            job["accepted_at"] is not None,
            job["error"],
            job["attempt"],
            job["failures"],
            job["restarts"],
            job["revision"],
            published[job["sequence"]],
        )
        for job in jobs
    }
