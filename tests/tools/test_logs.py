"""What libraries log: in the log's own form, without values, and not endlessly."""

import asyncio
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from streamsrv.logs import LibraryLog

SECRET = "Bearer-of-somebody"
# A server's process as far as its log goes, in which libraries fail while they hold what a client sent.
PROCESS = f"""
import asyncio, logging
from streamsrv.config import load_config
from streamsrv.logs import configure_logs

def receive(data):
    raise ValueError(f"can't read {{data}}")

async def fail():
    asyncio.get_running_loop().call_soon(receive, b"{SECRET}")
    await asyncio.sleep(0)
    for _ in range(1000):
        try:
            receive(b"{SECRET}")
        except ValueError:
            logging.getLogger("aiohttp.server").exception("Error handling request from %s", "{SECRET}")
    logging.getLogger("aiohttp.web").info("nothing of note")

configure_logs(load_config(flags={{"log": {{"format": "json"}}}}).log)
asyncio.run(fail())
"""


def test_libraries_log_as_the_server_does() -> None:
    """Each message is a line of JSON that says who, what kind and where, and nothing of what a client sent.

    What is said a thousand times is said once.
    """
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert SECRET not in done.stderr
    assert {(line["event"], line["level"]) for line in lines} == {("library_message", "error")}
    assert {(line["library"], line["message"], line["kind"]) for line in lines} == {
        ("asyncio", "Exception in callback receive", "ValueError"),
        ("aiohttp.server", "Error handling request from", "ValueError"),
    }
    assert len(lines) == 2
    assert all(" receive" in line["where"] for line in lines)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def library(clock: Clock) -> logging.Logger:
    logger = logging.Logger("asyncio")
    logger.addHandler(LibraryLog(clock))
    return logger


def test_repetitions_are_counted(library: logging.Logger, clock: Clock) -> None:
    """A message comes once in ten seconds, then with how often it wasn't said meanwhile; others aren't kept back."""
    with capture_logs() as lines:
        for _ in range(500):
            library.error("socket.accept() out of system resource\nsocket: <socket.socket fd=7>")
        library.error("another")
        clock.now = 11
        library.error("socket.accept() out of system resource\nsocket: <socket.socket fd=8>")
    told = [(line["message"], line.get("unsaid")) for line in lines]
    accept = "socket.accept() out of system resource"
    assert told == [(accept, None), ("another", None), (accept, 499)]


def test_what_is_told_apart_is_bounded(library: logging.Logger) -> None:
    """Messages that are all different fill neither memory nor log."""
    with capture_logs() as lines:
        for number in range(5000):
            library.warning("a" + "b" * (number % 90) + "c" * (number // 90))
    assert len(lines) <= 201


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Task exception was never retrieved\nfuture: <Task>", "Task exception was never retrieved"),
        ("Exception in callback Protocol.got(b'GET /secret')", "Exception in callback Protocol.got"),
        ("Invalid '%s'", "Invalid"),
        (ValueError("a secret"), ""),
        (b"a secret", ""),
    ],
)
def test_values_are_left_out(library: logging.Logger, message: Any, words: str) -> None:
    """A message goes as far as its words do, and its arguments aren't put into it."""
    with capture_logs() as lines:
        library.warning(message)
    assert [line["message"] for line in lines] == [words]


async def test_no_bytes_of_an_error(library: logging.Logger) -> None:
    """Of an error its kind and its innermost places are told, the last one first."""
    with capture_logs() as lines:
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0)
        except TimeoutError:
            library.exception("Timed out")
    (line,) = lines
    assert (line["kind"], line["log_level"]) == ("TimeoutError", "error")
    assert line["where"].startswith("tasks.py:")
