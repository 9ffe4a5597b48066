"""Jobs as data: the graph of statuses, and copies that keep to it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import make_job

from streamsrv.jobs.job import ALLOWED_MOVES, JobStatus

statuses = st.sampled_from(JobStatus)


@given(st.lists(statuses))
def test_moves_never_leave_the_graph(tried):
    """Whatever statuses are asked for, a job's history is a path in the graph."""
    job = make_job()
    for status in tried:
        before = job.status
        with suppress(ValueError):
            job = job.evolve(status=status)
        assert job.status is before or job.status in ALLOWED_MOVES[before]


@given(statuses, statuses)
def test_evolve_refuses_exactly_the_moves_that_are_not_in_the_graph(before, after):
    """A copy with a status that can't follow raises, and any other is made."""
    job = make_job(status=before)
    if before.may_become(after):
        assert job.evolve(status=after).status is after
    else:
        with pytest.raises(ValueError, match=f"from {before} to {after}"):
            job.evolve(status=after)


def test_ended_statuses_lead_nowhere():
    """Completed, Failed and Cancelled are ends, Pending and Processing are not."""
    assert {status for status in JobStatus if status.ended} == {
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }


def test_every_end_can_be_reached_from_pending():
    """The graph has no status that no job can come to."""
    reached, ahead = {JobStatus.PENDING}, [JobStatus.PENDING]
    while ahead:
        following = ALLOWED_MOVES[ahead.pop()] - reached
        reached |= following
        ahead.extend(following)
    assert reached == set(JobStatus)


def test_evolve_copies():
    """A job that was handed out never changes."""
    job = make_job()
    assert job.evolve(title="Song").title == "Song"
    assert job.title == ""
