"""The schema of the database file: made where it is missing, brought up to date where it is old."""

import sqlite3
from contextlib import closing
from pathlib import Path

from streamsrv.jobs.queries import load_queries, load_schema

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables; RETURNING and UPDATE FROM are older
BUSY_SECONDS = 10.0


class UnusableDatabase(Exception):
    """The job database can't be opened. The message says why, in one line, for whoever runs the server."""


def prepare(path: Path) -> None:
    """Check the file and apply the schema steps it lacks, all or none. Blocks. Raises UnusableDatabase."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise UnusableDatabase(f"SQLite {sqlite3.sqlite_version} is too old, 3.37 or later is needed.")
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            refuse_damage(connection, path)
            connection.execute(load_queries()["keep_journal_beside"])
            _migrate(connection, path)
    except sqlite3.Error as error:
        raise UnusableDatabase(f"The job database {path} can't be used: {error}.") from error


def refuse_damage(connection: sqlite3.Connection, path: Path) -> None:
    """Raises UnusableDatabase, or an error of SQLite's, where something is wrong with the file."""
    (damage,) = connection.execute(load_queries()["find_damage"]).fetchone()
    if damage != "ok":
        raise UnusableDatabase(f"The job database {path} is damaged: {' '.join(damage.split())}.")


def refuse_newer(connection: sqlite3.Connection, path: Path, steps: int) -> int:
    """Give the schema step that the file is at. Raises UnusableDatabase for one beyond the `steps` that there are."""
    (step,) = connection.execute(load_queries()["read_version"]).fetchone()
    if step > steps:
        raise UnusableDatabase(
            f"The job database {path} belongs to a newer version of this program "
            f"(it is at step {step}, this program knows {steps}).",
        )
    return int(step)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    queries, schema = load_queries(), load_schema()
    with connection:  # commits, or rolls back when anything raises
        connection.execute(queries["begin"])
        version = refuse_newer(connection, path, len(schema))
        for statement in (statement for step in schema[version:] for statement in step):
            connection.execute(statement)
