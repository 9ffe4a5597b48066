"""A look into the database file that changes nothing of it, whether or not a server has it open."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from streamsrv.jobs.queries import load_queries, load_schema
from streamsrv.jobs.schema import BUSY_SECONDS, UnusableDatabase, refuse_damage, refuse_newer


@dataclass(frozen=True, slots=True)
class Inspected:
    """At which step of the schema the file is, of how many there are, and whether it ever held a job.

    Step 0 is a file that is missing or empty.
    """

    step: int
    steps: int
    has_history: bool


def has_history(path: Path) -> bool:
    """Did this database ever hold a job? Blocks. What can't be read may have: opening it will say what is wrong."""
    if not path.exists():
        return False  # SQLite would make it
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            return _has_history(connection)
    except sqlite3.Error:
        return True


def inspect(path: Path, *, in_use: bool) -> Inspected:
    """Look whether the file is whole and this program's. Blocks. `in_use`: a server has it open.

    Raises UnusableDatabase, in one line, for what no server could open.
    """
    steps = len(load_schema())
    if not path.exists():
        return Inspected(0, steps, has_history=False)
    try:
        with _opened(path, in_use=in_use) as connection:
            refuse_damage(connection, path)
            step = refuse_newer(connection, path, steps)
            if not step and connection.execute(load_queries()["find_anything"]).fetchone() is not None:
                raise UnusableDatabase(f"The job database {path} is another program's.")
            return Inspected(step, steps, _has_history(connection))
    except (sqlite3.Error, OSError) as error:
        raise UnusableDatabase(f"The job database {path} can't be used: {error}.") from error


@contextmanager
def _opened(path: Path, *, in_use: bool) -> Iterator[sqlite3.Connection]:
    journal = path.with_name(f"{path.name}-wal")
    if not in_use and journal.exists() and journal.stat().st_size:
        # A server that was killed left commits there. Reading them moves them into the file: that of a copy.
        with TemporaryDirectory(prefix=".doctor-", dir=path.parent) as folder:
            for file in (path, journal):
                shutil.copyfile(file, Path(folder) / file.name)
            with _connected(Path(folder) / path.name, "mode=rw") as connection:
                yield connection
        return
    # Where no server has made the files of the journal, SQLite would make them, and leave them to whoever looked.
    with _connected(path, "mode=ro" if in_use else "immutable=1") as connection:
        yield connection


@contextmanager
def _connected(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?{how}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        yield connection


def _has_history(connection: sqlite3.Connection) -> bool:
    queries = load_queries()
    if connection.execute(queries["find_counters"]).fetchone() is None:
        return False
    return connection.execute(queries["find_history"]).fetchone() is not None
