"""What holds for every test of training: none is skipped where that is forbidden, and no player outlives one."""

import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

NO_SKIPS = os.environ.get("STREAMSRV_NO_SKIPS") == "1"
# What sounds are made and read by.
PLAYERS = ("ffmpeg", "fluidsynth", "espeak-ng")
GONE_SECONDS = 10.0

# Tests share the machine, so that an example may have to wait for a processor. What counts is the timeout of its test.
# What decides whether a change lands tries the same examples each time; whoever runs them by hand tries others.
settings.register_profile("shared machine", deadline=None, derandomize=NO_SKIPS)
settings.load_profile("shared machine")


def pytest_configure() -> None:
    """No test, and no server of one, may ask Demucs's hub for models, nor sees those that somebody has fetched."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    nowhere = str(Path(tempfile.gettempdir()) / "streamsrv-no-models")
    os.environ |= dict.fromkeys(("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"), nowhere)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With STREAMSRV_NO_SKIPS=1 a machine must be able to run all tests. An expected failure is no skip."""
    report = yield
    return report if hasattr(report, "wasxfail") else _refuse_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for files that are skipped as a whole."""
    return _refuse_skip((yield))


def _refuse_skip(report: Report) -> Report:
    if NO_SKIPS and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} (STREAMSRV_NO_SKIPS=1: nothing may be skipped)"
    return report


@pytest.fixture
def descendants() -> Callable[[int], list[int]]:
    """Tells the processes below one."""
    return _below


@pytest.fixture(autouse=True)
def no_player_left() -> Iterator[None]:
    """After every test nothing plays, reads or writes sound for this process any more."""
    yield
    deadline = time.monotonic() + GONE_SECONDS
    while left := [pid for pid in _below(os.getpid()) if _name(pid).startswith(PLAYERS)]:
        assert time.monotonic() < deadline, f"a player is still there: {left}"
        time.sleep(0.02)


def _below(pid: int) -> list[int]:
    """Process ids of all below a process, but for the one that Python itself keeps once it has begun others."""
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except OSError:
        pass  # it ended while it was looked at
    kept = [child for child in children if b"resource_tracker" not in _read(child, "cmdline")]
    return [*kept, *(below for child in kept for below in _below(child))]


def _name(pid: int) -> str:
    """The name of the program; nothing for one that only waits to be reaped."""
    status = _read(pid, "status").decode()
    return "" if "\nState:\tZ" in status else "".join(status.split()[1:2])


def _read(pid: int, file: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return b""  # it ended meanwhile
