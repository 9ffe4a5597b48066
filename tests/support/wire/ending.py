"""How the handling of a request ended, in an application that does nothing else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Ending:
    """Of the last request: `error` is what it raised, `done` is set once it is over."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.done = asyncio.Event()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """The block handles a request."""
        try:
            yield
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.done.set()
