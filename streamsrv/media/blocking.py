"""ffmpeg for those who may block, the processes of a pool: its output is read, and it never outlives the block."""

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from streamsrv.media.child import ChildLimits, kill_group_of, prepare_child
from streamsrv.media.feed import Piece, send_parts
from streamsrv.media.ffmpeg import Log, Outcome
from streamsrv.media.tools import FfmpegTools


class BlockingFfmpeg:
    """A running child: read `output` to its end, then ask for the `outcome`."""

    def __init__(self, process: subprocess.Popen[bytes], drain: threading.Thread, log: Log) -> None:
        assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
        self.output: IO[bytes] = process.stdout
        self._process = process
        self._drain = drain
        self._log = log

    @property
    def has_complained(self) -> bool:
        """Has anything met an error so far?"""
        return bool(self._log.complainers)

    def outcome_so_far(self) -> Outcome:
        """As if it ended here; samples are counted at the end only."""
        return self._log.outcome(0)

    def outcome(self) -> Outcome:
        returncode = self._process.wait()
        self._drain.join()
        return self._log.outcome(returncode)


@contextmanager
def running_ffmpeg(
    tools: FfmpegTools,
    argv: Sequence[str],
    *,
    readable: Sequence[Path] = (),
    feed: Sequence[Piece] = (),
    limits: ChildLimits | None = None,
) -> Iterator[BlockingFfmpeg]:
    """Start it; whatever ends the block, its whole process group is killed and reaped. It dies with this process.

    `feed` goes to its standard input.
    """
    process = subprocess.Popen(
        tools.confined(argv, readable=readable, writable=()),
        stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A pool's process has no thread that could hold a lock meanwhile.
        preexec_fn=prepare_child(os.getpid(), limits or ChildLimits()),  # noqa: PLW1509
    )
    log = Log()
    drain = threading.Thread(target=_read_log, args=(process, log), daemon=True)
    drain.start()
    feeding = threading.Thread(target=_feed, args=(process, feed), daemon=True)
    feeding.start()
    try:
        yield BlockingFfmpeg(process, drain, log)
    finally:
        kill_group_of(process.pid, ended=process.poll() is not None)
        process.wait()
        drain.join()
        feeding.join()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _read_log(process: subprocess.Popen[bytes], log: Log) -> None:
    assert process.stderr is not None  # noqa: S101 - it was opened as a pipe
    for line in process.stderr:
        log.read(line.decode(errors="replace").rstrip("\n"))


def _feed(process: subprocess.Popen[bytes], parts: Sequence[Piece]) -> None:
    if process.stdin is not None:
        with process.stdin as pipe, suppress(BrokenPipeError):  # it wants no more: its outcome tells why
            send_parts(parts, pipe.fileno())
