"""Waiting for what a test can't be told of: look again and again, and say how things stand where it never comes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from inspect import isawaitable
from typing import Any, TypeVar, overload

T = TypeVar("T")

WAIT_SECONDS = 40.0
# A look is a request to a server as a rule, which costs both sides milliseconds.
_PAUSE_SHARE, _SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.02, 0.1
_SHORTEST_LOOP_PAUSE_SECONDS = 0.005


def until(found: Callable[[], T | None], *, seconds: float = WAIT_SECONDS, what: Callable[[], object] = str) -> T:
    """Ask again and again until the answer is true, and give it. `what` says how things stand when it never is."""
    pauses = _pauses(_SHORTEST_PAUSE_SECONDS, seconds, what)
    while not (answer := found()):
        time.sleep(next(pauses))
    return answer


@overload
async def eventually(
    found: Callable[[], Awaitable[T | None]], *, seconds: float = ..., what: Callable[[], object] = ...
) -> T: ...
@overload
async def eventually(found: Callable[[], T | None], *, seconds: float = ..., what: Callable[[], object] = ...) -> T: ...
async def eventually(
    found: Callable[[], Any], *, seconds: float = WAIT_SECONDS, what: Callable[[], object] = str
) -> Any:
    """As `until`, for what happens in this event loop; the answer may be awaited, too."""
    pauses = _pauses(_SHORTEST_LOOP_PAUSE_SECONDS, seconds, what)
    while not (answer := await _answer(found)):
        await asyncio.sleep(next(pauses))
    return answer


async def _answer(found: Callable[[], Any]) -> Any:
    answer = found()
    return await answer if isawaitable(answer) else answer


def _pauses(shortest: float, seconds: float, what: Callable[[], object]) -> Iterator[float]:
    """How long to wait before the next look: the longer it has been waited for, the longer, up to the deadline."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        yield min(max(shortest, _PAUSE_SHARE * waited), _LONGEST_PAUSE_SECONDS)
    raise AssertionError(f"not within {seconds:g} s: {what()}")
