"""Who besides the server's user may read what is kept."""

import stat
from pathlib import Path


def find_open(folder: Path, file: Path) -> str | None:
    """Say in a line that others may read the folder, or this file in it, and how to keep them out; None if they can't.

    What the server makes is its user's alone; a folder that somebody else made, and what is older, may be open.
    """
    paths = [path for path in (folder, file) if _is_open(folder, path)]
    if not paths:
        return None
    return f"Other users of this machine may read {' and '.join(map(str, paths))}: chmod o-rwx {folder} keeps them out."


def _is_open(folder: Path, path: Path) -> bool:
    """Nothing of a folder is reached by those who may not pass through it."""
    passes = path == folder or _mode(folder) & stat.S_IXOTH
    return bool(passes and _mode(path) & stat.S_IROTH)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0  # it isn't there, or can't be looked at
