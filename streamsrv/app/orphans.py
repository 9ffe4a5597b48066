"""Files that were accepted and whose database is gone: a start would take them for leftovers, and remove them."""

from collections.abc import Iterator
from pathlib import Path

from streamsrv.app.house import database_file
from streamsrv.hls.work import UPLOADS
from streamsrv.separate.work import SOURCES


def find_orphans(data: Path) -> str | None:
    """For a database that is missing or never held a job: say in a line which files it should know of, and what to do.

    None where there are none. With any other database the rows decide what is left over. Blocks.
    """
    folders = [data / "files" / name for name in (UPLOADS, SOURCES)]
    kept = sum(1 for folder in folders for _ in _entries(folder))
    if not kept:
        return None
    file = database_file(data)
    state = "is missing" if not file.exists() else "is new" if file.stat().st_size else "is empty"
    return (
        f"The job database {file} {state}, though uploads were accepted that it should know: {kept} in"
        f" {' and '.join(map(str, folders))}. To keep them, copy {file.name} back from a backup of the data directory,"
        " with its -wal if there is one. To give them up, start once with --adopt, or remove them."
    )


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
