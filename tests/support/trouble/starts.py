"""Servers that can't start."""

import subprocess
import sys
from pathlib import Path


def given_up(data_dir: Path, port: int) -> str:
    """What a server that can't start tells people, apart from its log."""
    argv = [sys.executable, "-m", "streamsrv", "serve", "--host", "127.0.0.1", "--port", str(port)]
    ended = subprocess.run([*argv, "--data-dir", data_dir], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 78, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, ended.stderr
    return lines[0]
