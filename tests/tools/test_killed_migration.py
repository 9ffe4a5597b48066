"""A server that is killed while it brings the database of an older version up to date."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from streamsrv.jobs.queries import load_schema
from streamsrv.jobs.schema import prepare

JOBS = 2000
# Prepares the database that it is told, and kills itself where the statement of this number begins.
KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from streamsrv.jobs.schema import prepare

left = int(sys.argv[2])
connect = sqlite3.connect

def count(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def traced(*words, **more):
    connection = connect(*words, **more)
    connection.execute("PRAGMA cache_spill = 5")  # pages go to the disk before the commit, as those of a large one do
    connection.set_trace_callback(count)
    return connection

sqlite3.connect = traced
prepare(Path(sys.argv[1]))
print(-left)
"""


def make_old(path: Path) -> None:
    """A database of the first version, with many jobs."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in load_schema()[0]:
            database.execute(statement)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN")
        row = {"kind": "hls", "subject": "local", "status": "Pending", "priority": 1, "title": "x" * 500}
        row |= {"source_name": "a", "options": "{}", "result": "{}", "progress": 0.0, "created_at": 1.0}
        row |= dict.fromkeys(
            ("source_bytes", "attempt", "failures", "restarts", "cancel_requested", "discarded", "revision"), 0
        )
        names = ", ".join(["id", *row])
        values = ", ".join([":id", *(f":{name}" for name in row)])
        many = (row | {"id": f"job-{number}"} for number in range(JOBS))
        database.executemany(f"INSERT INTO jobs ({names}) VALUES ({values})", many)
        database.execute("COMMIT")


def statements(path: Path) -> int:
    """How many a whole migration has."""
    done = subprocess.run([sys.executable, "-c", KILLED, path, "0"], capture_output=True, text=True, check=True)
    return int(done.stdout)


def state(path: Path) -> tuple[int, int, str]:
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (jobs,) = database.execute("SELECT count(*) FROM jobs WHERE length(title) = 500").fetchone()
        (damage,) = database.execute("PRAGMA integrity_check").fetchone()
    return version, jobs, damage


@pytest.fixture(scope="module")
def all_statements(tmp_path_factory: pytest.TempPathFactory) -> int:
    path = tmp_path_factory.mktemp("whole") / "jobs.db"
    make_old(path)
    return statements(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.97, 1.0])
def test_a_killed_migration_is_none(tmp_path: Path, all_statements: int, share: float) -> None:
    """Whenever it dies, the database is that of before or that of after, whole, with every job; the next start brings
    it up to date."""
    path = tmp_path / "jobs.db"
    make_old(path)
    number = 1 + round(share * (all_statements - 1))
    done = subprocess.run([sys.executable, "-c", KILLED, path, str(number)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert state(path) in {(1, JOBS, "ok"), (len(load_schema()), JOBS, "ok")}
    prepare(path)
    assert state(path) == (len(load_schema()), JOBS, "ok")
