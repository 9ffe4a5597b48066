"""What lies in a folder in which a server works."""

import os
from pathlib import Path


def below(folder: Path) -> list[Path]:
    """All files and folders at any depth. Unlike `rglob` it doesn't mind what is removed while it looks."""
    found = os.walk(folder)
    return [Path(parent, name) for parent, folders, files in found for name in (*folders, *files)]
