"""An open file that threads use, and that is closed while others still hold what it belonged to."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager


class Closed(Exception):
    """The file is closed."""


class LentFile:
    """A descriptor. `close` closes it as soon as no thread uses it; else that is done once nobody holds the object."""

    def __init__(self, descriptor: int) -> None:
        self._close = weakref.finalize(self, os.close, descriptor)  # once, whoever calls it first
        self._door = threading.Lock()
        self._using = 0
        self._closing = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it open for the block. Raises Closed."""
        with self._door:
            if self._closing:
                raise Closed
            self._using += 1
        try:
            yield
        finally:
            with self._door:
                self._using -= 1
                self._close_unused()

    def close(self) -> None:
        """Lend it no more; a second time is fine."""
        with self._door:
            self._closing = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closing and not self._using:
            self._close()
