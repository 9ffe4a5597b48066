"""Servers that are forked from one process instead of started from nothing: `launcher` is that process."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_LAUNCHER = Path(__file__).with_name("launcher.py")
_FORK_SECONDS = 30.0
# Variables that change how Python itself begins, which a fork can't make up for: see `world/sitecustomize.py`.
_NEEDS_A_START = ("STREAMSRV_TEST_EXAMPLE_PORT", "STREAMSRV_TEST_HIDDEN")


class ForkedChild:
    """A grandchild of this process with what tests ask of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def note_end(self, status: int) -> None:
        self.returncode = status
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(["forked", str(self.pid)], timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it ended in this moment
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The process that is forked, as long as this one lives."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: what lies beside the launcher isn't to be imported by anybody.
            argv = [sys.executable, "-P", str(_LAUNCHER), str(theirs.fileno())]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self._socket = ours
        self._asking = threading.Lock()
        self._started: queue.Queue[ForkedChild] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def fork(self, argv: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path) -> ForkedChild:
        """Run what `python *argv` would; what it writes goes to the ends of these files, which may be one."""
        words = {"argv": list(argv), "environment": dict(environment)}
        order = {**words, "output": str(output), "errors": str(errors)}
        with self._asking:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
            return self._started.get(timeout=_FORK_SECONDS)

    def _listen(self) -> None:
        children: dict[int, ForkedChild] = {}
        for line in self._socket.makefile("rb"):
            words: dict[str, Any] = json.loads(line)
            if "started" in words:
                child = children[words["started"]] = ForkedChild(words["started"])
                self._started.put(child)
            else:
                children.pop(words["ended"]).note_end(words["status"])


@cache
def launcher() -> Launcher:
    """The one of this process."""
    return Launcher()


def can_fork(program: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a fork comes to the same as a start."""
    return program[0] != "-c" and not any(environment.get(name) for name in _NEEDS_A_START)
