"""How many requests of a kind may be here at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager

from streamsrv.errors import Unavailable


class Admission:
    """Room for `places` requests. `what` names them in the refusal, which comes before anything was done."""

    def __init__(self, places: int, *, what: str, retry_seconds: int) -> None:
        self._places = places
        self._what = what
        self._retry_seconds = retry_seconds
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Have a place for the time of the block. Raises Unavailable, with Retry-After, where none is free."""
        if self._taken >= self._places:
            raise Unavailable(
                f"The server is busy with {self._taken} {self._what}. Try again in a moment.",
                headers={"Retry-After": str(self._retry_seconds)},
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
