"""Room for so many requests."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import Unavailable
from streamsrv.web import admission
from streamsrv.web.admission import Admission


def request() -> web.Request:
    return make_mocked_request("POST", "/")


def test_who_finds_no_place_is_told_when_to_come_again() -> None:
    """Beyond the last place it is Unavailable, in words and with Retry-After; a place that was left is free."""
    room = Admission(2, what="conversions", retry_seconds=7)
    with room.place(request()):
        with room.place(request()):
            with pytest.raises(Unavailable, match="busy with 2 conversions") as caught, room.place(request()):
                pytest.fail("there were two places")
            assert caught.value.headers == {"Retry-After": "7"}
        with room.place(request()):
            pass


def test_a_failure_gives_its_place_back() -> None:
    """Whatever ends the block, its place is free again."""
    room = Admission(1, what="conversions", retry_seconds=7)
    for _ in range(3):
        with pytest.raises(KeyError), room.place(request()):
            raise KeyError


@given(places=st.integers(1, 5), steps=st.lists(st.booleans(), max_size=40))
def test_there_are_never_more_than_places(places: int, steps: list[bool]) -> None:
    """In any order of coming and going, one is refused just when all places are taken."""
    room = Admission(places, what="conversions", retry_seconds=1)
    inside: list[ExitStack] = []
    for comes in steps:
        if not comes and inside:
            inside.pop().close()
        elif comes:
            stack = ExitStack()
            if len(inside) == places:
                with pytest.raises(Unavailable):
                    stack.enter_context(room.place(request()))
            else:
                stack.enter_context(room.place(request()))
                inside.append(stack)
    for stack in inside:
        stack.close()


class Body:
    """Who sends a request, as an admission sees it."""

    def __init__(self, client: str, bytes_per_second: float | None) -> None:
        self.client = client
        self.bytes_per_second = bytes_per_second
        self.farewell: Any = None  # what it was told

    def dismiss(self, farewell: Exception) -> None:
        self.farewell = farewell


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Body]:
    """Makes a sender for each request: a client's, and how fast its body comes; None where that isn't known."""
    monkeypatch.setattr(admission, "client_of", lambda request: request.client)
    monkeypatch.setattr(admission, "sender_of", lambda request: request)
    return Body


def test_the_slowest_goes_first(sent: Callable[..., Any]) -> None:
    """Where all places are taken, the slowest of those below the rate goes for a newcomer, and then the next."""
    room = Admission(4, what="conversions", retry_seconds=7, busy_bytes_per_second=1000)
    bodies = [sent("", speed) for speed in (900.0, 5000.0, 100.0, None)]
    with ExitStack() as stack:
        for body in bodies:
            stack.enter_context(room.place(body))
        for goes in (bodies[2], bodies[0]):
            assert not goes.farewell
            stack.enter_context(room.place(sent("", None)))
            assert isinstance(goes.farewell, Unavailable)
            assert goes.farewell.headers == {"Retry-After": "7"}
        with pytest.raises(Unavailable):  # the others are fast enough
            stack.enter_context(room.place(sent("", None)))
        assert [body.farewell is not None for body in bodies] == [True, False, True, False]


def test_who_has_more_than_a_quarter_makes_room(sent: Callable[..., Any]) -> None:
    """However fast it is, a client with more than a quarter of the places gives one to a client that has fewer."""
    room = Admission(4, what="conversions", retry_seconds=7, busy_bytes_per_second=1000)
    bodies = [sent("a", 9000.0), sent("a", 8000.0), sent("b", 7000.0), sent("", 6000.0)]
    with ExitStack() as stack:
        for body in bodies:
            stack.enter_context(room.place(body))
        with pytest.raises(Unavailable):  # it has its share
            stack.enter_context(room.place(sent("b", None)))
        stack.enter_context(room.place(sent("c", None)))
        assert [body.farewell is not None for body in bodies] == [False, True, False, False]
        with pytest.raises(Unavailable):  # nobody has more than a share
            stack.enter_context(room.place(sent("d", None)))


def test_one_client_displaces_only_itself(sent: Callable[..., Any]) -> None:
    """With its share of the places it drives no slow sender out, however often it comes; others find its places."""
    room = Admission(8, what="conversions", retry_seconds=7, busy_bytes_per_second=64_000)
    phones = [sent(f"phone {number}", 60_000.0) for number in range(8)]
    with ExitStack() as stack:
        for phone in phones:
            stack.enter_context(room.place(phone))
        empty = []
        for _ in range(20):
            empty.append(sent("crowd", None))
            try:
                stack.enter_context(room.place(empty[-1]))
            except Unavailable:
                continue
        assert sum(phone.farewell is not None for phone in phones) == 2
        came = [sent(f"another {number}", None) for number in range(3)]
        for each in came:
            stack.enter_context(room.place(each))
        assert not any(each.farewell for each in came)


def test_who_has_too_much_goes_before_it_was_measured(sent: Callable[..., Any]) -> None:
    """A client that begins anew again and again holds no more than its share by that."""
    room = Admission(8, what="conversions", retry_seconds=7, busy_bytes_per_second=64_000)
    with ExitStack() as stack:
        many = [sent("crowd", None) for _ in range(8)]
        for each in many:
            stack.enter_context(room.place(each))
        for number in range(6):
            stack.enter_context(room.place(sent(f"another {number}", None)))
        assert sum(each.farewell is not None for each in many) == 6


def test_who_is_answered_slowly_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that is taken drop by drop holds no place that others need; one that hasn't begun is let be."""
    room = Admission(3, what="conversions", retry_seconds=7, busy_bytes_per_second=64_000)
    slow, quick, working = Body("", 100.0), Body("", 900_000.0), Body("", None)
    monkeypatch.setattr(admission, "client_of", lambda request: request.client)
    monkeypatch.setattr(admission, "sender_of", lambda request: None)
    monkeypatch.setattr(admission, "receiver_of", lambda request: None if request is working else request)
    with ExitStack() as stack:
        for each in (working, quick, slow):
            stack.enter_context(room.place(each))  # type: ignore[arg-type]
        stack.enter_context(room.place(Body("", None)))  # type: ignore[arg-type]
        assert [each.farewell is not None for each in (working, quick, slow)] == [False, False, True]
