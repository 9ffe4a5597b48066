"""The command line: `python -m streamsrv WORDS`, run to its end."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from support.forked import launcher

_WAIT_SECONDS = 100.0


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: str, variables: Mapping[str, str] | None = None) -> Done:
    """Run a command with these variables besides those of this process."""
    with TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        argv = ["-m", "streamsrv", *words]
        child = launcher().fork(argv, {**os.environ, **(variables or {})}, output, errors)
        return Done(child.wait(_WAIT_SECONDS), output.read_text(), errors.read_text())
