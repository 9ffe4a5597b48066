"""What holds for every test: where it may not be skipped, a skip is a failure, and no encoder outlives it."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from support.deadline import until
from support.server import SERVING, descendants

from streamsrv.media.tools import FfmpegTools, find_tools

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

NO_SKIPS = os.environ.get("STREAMSRV_NO_SKIPS") == "1"
GONE_SECONDS = 10.0

# Tests share the machine, so that an example may have to wait for a processor. What counts is the timeout of its test.
# What decides whether a change lands tries the same examples each time; whoever runs them by hand tries others.
settings.register_profile("shared machine", deadline=None, derandomize=NO_SKIPS)
settings.load_profile("shared machine")


def pytest_configure() -> None:
    """No test, and no server of one, may ask Demucs's hub for models, nor sees those that somebody has fetched.

    Those that need a hub, or a cache, bring one along.
    """
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


@pytest.fixture(scope="session")
def tools() -> FfmpegTools:
    """The ffmpeg of this machine: looked for once."""
    return asyncio.run(find_tools("ffmpeg", "ffprobe", "auto"))


@pytest.fixture
def own_children() -> Callable[[], set[int]]:
    """Asks which processes a test has started. Servers and browsers that others share aren't its own."""
    before = set(descendants(os.getpid()))

    def started() -> set[int]:
        return set(descendants(os.getpid())) - before - {below for pid in before for below in descendants(pid)}

    return started


@pytest.fixture(autouse=True)
def no_encoder_left() -> Iterator[None]:
    """After every test no ffmpeg of this process is left. What a running server does is the server's affair."""
    yield
    until(lambda: not _encoders(), seconds=GONE_SECONDS, what=lambda: f"ffmpeg is still there: {_encoders()}")


def _encoders() -> list[int]:
    return [pid for pid in _children() if _name(pid).startswith(("ffmpeg", "ffprobe"))]


def _children() -> Iterator[int]:
    """All that this process started, but not below servers that still serve."""
    theirs = {below for pid in SERVING for below in descendants(pid)}
    return (pid for pid in descendants(os.getpid()) if pid not in SERVING | theirs)


def _name(pid: int) -> str:
    """The name of the program; nothing for one that only waits to be reaped."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return "" if "\nState:\tZ" in status else status.split()[1]
    return ""
