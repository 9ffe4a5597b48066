"""What lies in a folder in which a server works."""

import hashlib
import os
from pathlib import Path

from support.deadline import until


def below(folder: Path) -> list[Path]:
    """All files and folders at any depth. Unlike `rglob` it doesn't mind what is removed while it looks."""
    found = os.walk(folder)
    return [Path(parent, name) for parent, folders, files in found for name in (*folders, *files)]


def leftovers(data_dir: Path) -> list[str]:
    """What lies where nothing may lie once everything has ended."""
    folders = (data_dir / "spool", data_dir / "scratch", data_dir / "files" / "uploads")
    return [str(path.relative_to(data_dir)) for folder in folders for path in below(folder)]


def files_of(data_dir: Path, job_id: str) -> list[str]:
    """All files and folders that have to do with a job, by their names or by where they are."""
    names = (str(path.relative_to(data_dir)) for path in below(data_dir))
    return [name for name in names if job_id in name]


def assert_clean(data_dir: Path) -> None:
    """Soon nothing lies where nothing may lie."""
    until(lambda: not leftovers(data_dir), seconds=10, what=lambda: leftovers(data_dir))


def assert_gone(data_dir: Path, job_id: str) -> None:
    """Soon no file and no folder has to do with that job."""
    until(lambda: not files_of(data_dir, job_id), what=lambda: files_of(data_dir, job_id))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
