"""The folder of one copy: the file under its content's SHA-256, a note on it, and what has come of a new one.

All of it blocks.
"""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from streamsrv.files import put_in_place, write_in_place

# Where a download goes on, and what it notes beside it.
PART = "part"
_PART_NOTE = "part.note"
_NOTE = "note.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a copy: whose it is, and when its server last said that it is current.

    `source` is the SHA-256 of the address, and the name of the folder.
    """

    source: str
    size: int
    sha256: str
    etag: str | None
    last_modified: str | None
    checked_at: float


def make_folder(folder: Path) -> None:
    """Make sure of the folder."""
    folder.mkdir(mode=0o700, exist_ok=True)


def read_note(folder: Path) -> Note | None:
    """Give the note on the copy that is there, whole; None where none is. After a power cut a note may say too much."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        note = Note(**json.loads((folder / _NOTE).read_bytes()))
        is_its = note.source == folder.name and _SHA256.fullmatch(note.sha256) is not None
        if is_its and (folder / note.sha256).stat().st_size == note.size:
            return note
    return None


def write_note(folder: Path, note: Note) -> None:
    """Put the note in the place of the one before."""
    write_in_place(folder / _NOTE, json.dumps(asdict(note)).encode())


def publish(folder: Path, note: Note) -> bool:
    """Give the part its content's name, durably, and only then note it. Are there older contents beside it?"""
    part, path = folder / PART, folder / note.sha256
    if path.is_file() and path.stat().st_size == note.size:
        part.unlink()  # the same content: whoever reads it finds the same file
    else:
        put_in_place([(part, path)])
    write_note(folder, note)
    return bool(_old(folder, note))


def keep_current_only(folder: Path) -> None:
    """Remove what isn't current: older contents. What has come of a download that goes on later stays."""
    if (note := read_note(folder)) is None:
        return
    for path in _old(folder, note):
        path.unlink(missing_ok=True)


def _old(folder: Path, note: Note) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in {_NOTE, note.sha256, PART, _PART_NOTE}]
