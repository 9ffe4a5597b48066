"""Who besides the server's user may read what it keeps: nobody, unless somebody else has opened it."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import run
from support.server import Server, serving
from support.sound import tone
from support.traces.files import below
from support.traces.log import events

OPEN = stat.S_IRWXG | stat.S_IRWXO


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


@pytest.fixture
def worked(open_folder: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that has made a stream, in a folder that somebody has made as folders are made."""
    with serving(open_folder) as server:
        server.ended(server.submit(tone(tmp_path / "a.wav", seconds=1)))
        yield server


def warnings(server: Server) -> list[str]:
    return [event["detail"] for event in events(server, "data_dir_open")]


def test_all_that_is_made_is_the_servers_alone(worked: Server) -> None:
    """Database, segments, folders: no group and no others may do anything with what is new."""
    made = below(worked.data_dir)
    assert {"streamsrv.sqlite", "streamsrv.sqlite-wal", "segment_00001.ts"} <= {path.name for path in made}
    assert [str(path) for path in made if path.stat().st_mode & OPEN] == []


def test_folders_above_are_its_alone(tmp_path: Path) -> None:
    """So are the folders on the way to a data directory that isn't there yet."""
    folder = tmp_path / "srv" / "data"
    with serving(tmp_path / "other", "--data-dir", str(folder)) as server:
        assert warnings(server) == []
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)] == [0o700] * 2


def test_what_others_may_read_is_said(worked: Server) -> None:
    """A folder that is open is named by the log and by doctor, with how to close it; it is no fault."""
    words = f"Other users of this machine may read {worked.data_dir}: chmod o-rwx {worked.data_dir} keeps them out."
    assert warnings(worked) == [words]
    told = run("doctor", "--data-dir", str(worked.data_dir))
    assert f"ok   {words}" in told.stdout


@pytest.mark.parametrize(("mode", "said"), [(0o711, True), (0o701, True), (0o700, False), (0o750, False)])
def test_an_open_database_counts_where_it_can_be_reached(tmp_path: Path, mode: int, said: bool) -> None:
    """The database of an older version, open as files are made, is named where others may pass through its folder."""
    folder, file = tmp_path / "data", tmp_path / "data" / "streamsrv.sqlite"
    with serving(folder):
        pass
    file.chmod(0o644)
    folder.chmod(mode)
    with serving(folder) as server:
        assert [f"may read {file}: chmod o-rwx {folder}" in words for words in warnings(server)] == [True] * said
