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
            _check(connection, path)
            _migrate(connection, path)
    except sqlite3.Error as error:
        raise UnusableDatabase(f"The job database {path} can't be used: {error}.") from error


def _check(connection: sqlite3.Connection, path: Path) -> None:
    queries = load_queries()
    (damage,) = connection.execute(queries["find_damage"]).fetchone()
    if damage != "ok":
        raise UnusableDatabase(f"The job database {path} is damaged: {' '.join(damage.split())}.")
    connection.execute(queries["keep_journal_beside"])


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    queries, schema = load_queries(), load_schema()
    with connection:  # commits, or rolls back when anything raises
        connection.execute(queries["begin"])
        (version,) = connection.execute(queries["read_version"]).fetchone()
        if version > len(schema):
            raise UnusableDatabase(
                f"The job database {path} belongs to a newer version of this program "
                f"(it is at step {version}, this program knows {len(schema)}).",
            )
        for statement in (statement for step in schema[version:] for statement in step):
            connection.execute(statement)
