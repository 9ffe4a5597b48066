"""The project's own files, apart from what was installed or built beside them."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def kept_files(*below: str) -> list[Path]:
    """The files that git tracks or would, in these files and folders or in all. Skips where there is no checkout."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("which files belong to the project is known in a git checkout only")
    argv = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *below]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy_kept(folder: Path, *below: str) -> None:
    """Copy these files and folders, as they are in the checkout, into a folder."""
    for file in kept_files(*below):
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
