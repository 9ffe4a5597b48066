"""How long a job will still take, guessed from progress or from what was done lately."""

import pytest
from support.jobs import make_job

from streamsrv.jobs.estimates import eta_seconds
from streamsrv.jobs.job import Job, JobKind, JobStatus

NOW = 1000.0


def make_waiting(**changes) -> Job:
    values = {"created_at": 0.0, "accepted_at": 0.0, "source_bytes": 600}
    return make_job(**(values | changes))


def make_running(**changes) -> Job:
    return make_waiting(status=JobStatus.PROCESSING, **({"started_at": NOW - 30} | changes))


def make_done(**changes) -> Job:
    """A job of 1000 bytes that took 10 seconds: 100 bytes in a second."""
    values = {"started_at": 10.0, "completed_at": 20.0, "source_bytes": 1000}
    return make_waiting(status=JobStatus.COMPLETED, **(values | changes))


def guess(job, *, ahead=(), recent=(), slots=1):
    return eta_seconds(job, ahead=ahead, recent=recent, slots=slots, now=NOW)


@pytest.mark.parametrize("source_bytes", [600, 0])
@pytest.mark.parametrize("recent", [[], [make_done()], [make_done(source_bytes=0)]])
def test_a_running_job_goes_on_as_it_did(source_bytes, recent):
    """From a little progress on that alone decides, also where nobody knows how much there is to read."""
    job = make_running(kind=JobKind.EXTRACT, source_bytes=source_bytes, progress=25.0)
    assert guess(job, recent=recent) == pytest.approx(90)


def test_a_job_that_has_just_begun_takes_as_long_as_others_did():
    """The first percents say nothing yet."""
    assert guess(make_running(progress=1.0), recent=[make_done()]) == pytest.approx(6)
    assert guess(make_running(progress=1.0)) is None


def test_a_waiting_job_waits_for_those_before_it():
    """What they still have to read is shared by all slots."""
    ahead = [make_waiting(source_bytes=1000), make_running(source_bytes=2000, progress=50.0)]
    assert guess(make_waiting(), ahead=ahead, recent=[make_done()]) == pytest.approx(26)
    assert guess(make_waiting(), ahead=ahead, recent=[make_done()], slots=2) == pytest.approx(16)


@pytest.mark.parametrize(
    ("job", "ahead", "recent"),
    [
        (make_waiting(), [], []),
        (make_waiting(source_bytes=0), [], [make_done()]),
        (make_waiting(source_bytes=0), [], [make_done(source_bytes=0)]),
        (make_waiting(), [], [make_done(source_bytes=0)]),
        (make_waiting(), [make_waiting(source_bytes=0)], [make_done()]),
        (make_running(source_bytes=0, progress=1.0), [], [make_done()]),
        (make_waiting(accepted_at=None), [], [make_done()]),
        (make_done(), [], [make_done()]),
        (make_waiting(), [], [make_done(completed_at=10.0)]),
    ],
    ids=[
        "nothing was done lately",
        "of unknown size",
        "all of unknown size",
        "the others of unknown size",
        "behind one of unknown size",
        "just begun, of unknown size",
        "still arriving",
        "done",
        "the others took no time",
    ],
)
def test_nothing_is_said_without_a_ground(job, ahead, recent):
    """No guess is better than one from nothing."""
    assert guess(job, ahead=ahead, recent=recent) is None
