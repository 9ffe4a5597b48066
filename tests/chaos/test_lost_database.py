"""A database that is lost, damaged or half brought up to date: nothing that was accepted goes, and doctor says so."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import run
from support.server import free_port, serving
from support.sound import tone
from support.spread import thoroughly
from support.traces.files import below
from support.traces.rows import rows
from support.trouble.starts import given_up

from streamsrv.jobs.queries import load_schema

DATABASE = "streamsrv.sqlite"


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone(tmp_path_factory.mktemp("song") / "a.wav", seconds=1)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, song: Path) -> Path:
    """The data directory of a server that has stopped, its database closed, with an upload and a song that wait."""
    folder = tmp_path_factory.mktemp("stopped") / "data"
    with serving(folder) as server:
        server.submit(song)
    for name in ("uploads", "songs"):
        (folder / "files" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(song, folder / "files" / name / f"{name}-1")
    return folder


@pytest.fixture
def data_dir(stopped: Path, tmp_path: Path) -> Path:
    return shutil.copytree(stopped, tmp_path / "data")


def accepted(data_dir: Path) -> list[str]:
    return sorted(path.name for name in ("uploads", "songs") for path in (data_dir / "files" / name).iterdir())


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in below(folder) if path.is_file()}


def lose(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    os.truncate(file, 0)


def make_new(file: Path) -> None:
    """As a server of before would have."""
    file.unlink()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        for statement in (statement for step in load_schema() for statement in step):
            database.execute(statement)


def make_without_tables(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode = WAL")


LOSSES = [lose, empty, make_new, make_without_tables]


@pytest.mark.parametrize("harm", [*LOSSES[:2], *thoroughly(*LOSSES[2:])], ids=lambda f: f.__name__)
def test_what_was_accepted_outlives_its_database(data_dir: Path, harm: Callable[[Path], None]) -> None:
    """Without the jobs' database a server refuses to start, in a line that tells how to go on; nothing is removed, and
    once the database is back all goes on. Doctor says the same."""
    file = data_dir / DATABASE
    backup = shutil.copy(file, data_dir.parent / "backup")
    harm(file)
    before = contents(data_dir)
    line = given_up(data_dir, free_port())
    assert str(file) in line
    assert all(words in line for words in ("files/uploads", "files/songs", f"copy {DATABASE} back", "--adopt"))
    told = run("doctor", "--data-dir", str(data_dir))
    assert (told.returncode, f"BAD  {line}" in told.stdout) == (1, True)
    assert contents(data_dir) == before
    shutil.copy(backup, file)
    with serving(data_dir) as server:
        assert len(server.jobs()) == 1


def test_it_can_be_given_up(data_dir: Path) -> None:
    """With --adopt the server starts all the same, and what no job needs goes; the next start needs no word."""
    lose(data_dir / DATABASE)
    with serving(data_dir, "--adopt") as server:
        assert server.jobs() == []
        assert accepted(data_dir) == []
    with serving(data_dir):
        assert rows(data_dir) == {}


def test_files_alone_may_be_removed(data_dir: Path) -> None:
    """Where nothing waits for its job a missing database is made, as at the first start."""
    lose(data_dir / DATABASE)
    for name in ("uploads", "songs"):
        shutil.rmtree(data_dir / "files" / name)
        (data_dir / "files" / name).mkdir()
    with serving(data_dir) as server:
        assert server.jobs() == []


def test_leftovers_are_no_orphans(data_dir: Path) -> None:
    """A database that has held jobs, be they removed, decides by its rows what is left over, as ever."""
    with serving(data_dir) as server:
        for job in server.jobs():
            server.ended(job["id"])
            subprocess.run(["curl", "-fsS", "-X", "DELETE", f"{server.url}/v1/stream/job/{job['id']}"], check=True)
    (data_dir / "files" / "uploads" / "left-1").write_bytes(b"x")
    with serving(data_dir):
        assert accepted(data_dir) == []


def make_garbage(file: Path) -> None:
    file.write_bytes(b"This is not a database. " * 1000)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[8192:40960] = b"\xa5" * 32768
    file.write_bytes(data)


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")


def make_foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE jobs (something)")


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (make_garbage, "not a database"),
        (cut, "malformed"),
        (overwrite, "damaged"),
        (make_newer, "newer version"),
        (make_foreign, "another program's"),
        (make_folder, "can't be used"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_doctor_looks_into_the_database(data_dir: Path, harm: Callable[[Path], None], words: str) -> None:
    """What no server could use is BAD, in one line that names the file and what to do, and stays as it is."""
    file = data_dir / DATABASE
    harm(file)
    before = contents(data_dir)
    told = run("doctor", "--data-dir", str(data_dir))
    (line,) = [line for line in told.stdout.splitlines() if "job database" in line]
    assert (told.returncode, line.startswith(f"BAD  The job database {file}")) == (1, True)
    assert words in line
    assert "backup" in line
    assert contents(data_dir) == before
    assert given_up(data_dir, free_port()).startswith(f"The job database {file}")


def test_doctor_changes_nothing_while_a_server_runs(data_dir: Path, song: Path) -> None:
    """It reads what the server has committed, and leaves no file behind; the server goes on."""
    with serving(data_dir) as server:
        for job in server.jobs():
            server.ended(job["id"])
        files, before = below(data_dir), (data_dir / DATABASE).read_bytes()
        told = run("doctor", "--data-dir", str(data_dir))
        assert "ok   The job database is whole, at step" in told.stdout
        assert (below(data_dir), (data_dir / DATABASE).read_bytes()) == (files, before)
        server.submit(song)


def test_doctor_changes_nothing_of_a_killed_server(data_dir: Path, song: Path) -> None:
    """What was committed and isn't in the file yet is read, and stays where it is; the same where all is in it."""
    with serving(data_dir) as server:
        server.submit(song)
        server.kill()
    assert (data_dir / f"{DATABASE}-wal").stat().st_size
    for _ in range(2):
        before = contents(data_dir)
        told = run("doctor", "--data-dir", str(data_dir))
        assert "ok   The job database is whole, at step" in told.stdout
        assert contents(data_dir) == before
        with serving(data_dir):
            pass


def test_doctor_knows_an_old_database(tmp_path: Path) -> None:
    """One of an older version is fine, and so is none; neither is touched."""
    assert "The job database isn't there yet" in run("doctor", "--data-dir", str(tmp_path)).stdout
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as database:
        for statement in load_schema()[0]:
            database.execute(statement)
    before = contents(tmp_path)
    assert "is brought up to date by the next start" in run("doctor", "--data-dir", str(tmp_path)).stdout
    assert contents(tmp_path) == before
