"""Room for so many requests."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import Unavailable
from streamsrv.web.admission import Admission


def test_who_finds_no_place_is_told_when_to_come_again() -> None:
    """Beyond the last place it is Unavailable, in words and with Retry-After; a place that was left is free."""
    admission = Admission(2, what="conversions", retry_seconds=7)
    with admission.place():
        with admission.place():
            with pytest.raises(Unavailable, match="busy with 2 conversions") as caught, admission.place():
                pytest.fail("there were two places")
            assert caught.value.headers == {"Retry-After": "7"}
        with admission.place():
            pass


def test_a_failure_gives_its_place_back() -> None:
    """Whatever ends the block, its place is free again."""
    admission = Admission(1, what="conversions", retry_seconds=7)
    for _ in range(3):
        with pytest.raises(KeyError), admission.place():
            raise KeyError


@given(places=st.integers(1, 5), steps=st.lists(st.booleans(), max_size=40))
def test_there_are_never_more_than_places(places: int, steps: list[bool]) -> None:
    """In any order of coming and going, one is refused just when all places are taken."""
    admission = Admission(places, what="conversions", retry_seconds=1)
    inside: list[ExitStack] = []
    for comes in steps:
        if not comes and inside:
            inside.pop().close()
        elif comes:
            stack = ExitStack()
            if len(inside) == places:
                with pytest.raises(Unavailable):
                    stack.enter_context(admission.place())
            else:
                stack.enter_context(admission.place())
                inside.append(stack)
    for stack in inside:
        stack.close()
