"""Servers that can't start."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from support.server import start


def given_up(data_dir: Path, port: int) -> str:
    """What a server that can't start tells people, apart from its log."""
    argv = ["-m", "streamsrv", "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir)]
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        status = start(argv, os.environ, output).wait(30)
        words = output.read_text()
    assert status == 78, words
    lines = [line for line in words.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, words
    return lines[0]
