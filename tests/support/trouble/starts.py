"""Servers that can't start."""

from pathlib import Path

from support.commands import run


def given_up(data_dir: Path, port: int) -> str:
    """What a server that can't start tells people, apart from its log."""
    done = run("serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir))
    assert done.returncode == 78, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return lines[0]
