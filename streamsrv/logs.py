"""The log: one line for each event, and what libraries have to say in the same form, without what clients sent."""

import logging
import re
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO, cast

import structlog

from streamsrv.config import LogSettings

# One line says as much as a thousand of the same.
_REPEAT_SECONDS = 10.0
# Lines that differ are told apart up to so many; what comes beyond counts as one.
_TOLD_APART = 200
_FRAMES = 3
# The words with which a message begins: what follows may be a value, as the bytes are that a callback was called with.
_WORDS = re.compile(r"(?:[A-Za-z_., ]|\(\))*")
_SHOWN_CHARACTERS = 100

log = structlog.stdlib.get_logger(__name__)


def configure_logs(settings: LogSettings) -> None:
    """One line per event: for people on a terminal, JSON elsewhere. Warnings of libraries are events, too."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _LogStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[LibraryLog()], level=logging.WARNING, force=True)


class LibraryLog(logging.Handler):
    """Takes what asyncio, aiohttp and others log: who it was, its first words, and the kind and place of an error.

    No value comes along, neither of the message nor of the error: it may be what a client sent. What is said again
    within seconds is counted, and told with the next line of its kind.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, ...], _Said] = {}

    def emit(self, record: logging.LogRecord) -> None:
        words = _first_words(record.msg)
        kind, _, trace = record.exc_info or (None, None, None)
        error = kind.__name__ if kind is not None else ""
        unsaid = self._unsaid((record.name, words, error))
        if unsaid is None:
            return
        more: dict[str, object] = {"kind": error, "where": _place(trace)} if error else {}
        if unsaid:
            more["unsaid"] = unsaid
        log.log(record.levelno, "library_message", library=record.name, message=words, **more)

    def _unsaid(self, what: tuple[str, ...]) -> int | None:
        """How often it wasn't said since it was last; None where it needn't be now, either."""
        now = self._clock()
        if len(self._said) >= _TOLD_APART and what not in self._said:
            what = ()
        said = self._said.get(what)
        if said is not None and now < said.at + _REPEAT_SECONDS:
            said.unsaid += 1
            return None
        self._said[what] = _Said(now)
        return said.unsaid if said is not None else 0


@dataclass(slots=True)
class _Said:
    at: float
    unsaid: int = 0


class _LogStream:
    """Where the log goes. A line that can't be written, as on a full disk, is lost, but no job and no request is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _first_words(message: object) -> str:
    found = _WORDS.match(message) if isinstance(message, str) else None
    return found[0][:_SHOWN_CHARACTERS].strip() if found else ""


def _place(trace: TracebackType | None) -> str:
    """The innermost frames, the last one first."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
