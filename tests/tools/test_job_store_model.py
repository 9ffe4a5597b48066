"""The job store against a simple model: whatever is called in whatever order, both agree."""

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.jobs import LEASE_SECONDS, SONG, make_job, make_store, make_submission

from streamsrv.errors import Conflict, NotFound
from streamsrv.jobs.job import Job, JobKind, JobStatus, Lease, LeaseLost, Priority

PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = JobStatus
MAX_ATTEMPTS, MAX_RESTARTS = 2, 1
IDS = st.sampled_from(["a", "b", "c"])
FINGERPRINTS = st.sampled_from(["x", "y"])


@dataclass
class Row:
    status: JobStatus = PENDING
    accepted: bool = False
    cancelling: bool = False
    discarded: bool = False
    failures: int = 0
    restarts: int = 0
    progress: float = 0.0
    token: str | None = None
    fingerprint: str | None = None
    number: int = 0  # a later row with a fingerprint has a larger one
    claims: int = 0
    lacking: bool = False

    def stands_for(self, fingerprint: str) -> bool:
        return self.fingerprint == fingerprint and not self.status.ended and not self.cancelling

    def leave(self, status: JobStatus) -> None:
        self.status = CANCELLED if self.cancelling else status
        self.token = None


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.rows: dict[str, Row] = {}
        self.leases: list[Lease] = []
        self.written = 0
        self.seen: dict[str, Job] = {}
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.open()

    def open(self) -> None:
        self.store = make_store(
            Path(self.folder.name) / "jobs.db",
            max_attempts=MAX_ATTEMPTS,
            max_restarts=MAX_RESTARTS,
            clock=lambda: self.now,
        )
        self.loop.run(self.store.open())

    def teardown(self) -> None:
        self.loop.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def model_of(self, lease) -> Row | None:
        row = self.rows.get(lease.job.id)
        return row if row is not None and row.token == lease.token else None

    def with_lease(self, lease, call) -> Row | None:
        """Make a call that the model allows only to the holder of the job's lease."""
        row = self.model_of(lease)
        if row is not None:
            self.loop.run(call)
            return row
        with pytest.raises(LeaseLost):
            self.loop.run(call)
        return None

    @rule(job_id=IDS, priority=st.sampled_from(Priority))
    def submit(self, job_id, priority):
        call = self.store.submit(make_job(job_id, priority=priority, created_at=self.now))
        row = self.rows.get(job_id)
        if row is None or (row.status is FAILED and not row.accepted and row.discarded):
            self.loop.run(call)
            self.rows[job_id] = Row()
            self.seen.pop(job_id, None)
        elif row.status is FAILED and not row.accepted:
            call.close()  # it would wait for the files
        else:
            with pytest.raises(Conflict):
                self.loop.run(call)

    @rule(job_id=IDS, fingerprint=FINGERPRINTS, accepted=st.booleans())
    def submit_once(self, job_id, fingerprint, accepted):
        accepted_at = self.now if accepted else None
        call = self.store.submit_once(
            make_job(job_id, created_at=self.now, accepted_at=accepted_at, fingerprint=fingerprint)
        )
        standing = [other for other, row in self.rows.items() if row.stands_for(fingerprint)]
        if not standing and job_id in self.rows:
            with pytest.raises(Conflict):
                self.loop.run(call)
            return
        assert self.loop.run(call).id == (standing or [job_id])[0]
        if not standing:
            self.written += 1
            self.rows[job_id] = Row(accepted=accepted, fingerprint=fingerprint, number=self.written)

    @rule(job_id=IDS, fingerprint=FINGERPRINTS)
    def claim_result(self, job_id, fingerprint):
        self.written += 1
        job = make_job(job_id, created_at=self.now, accepted_at=self.now, fingerprint=fingerprint)
        submission = make_submission(str(self.written), callback_url="http://example.com", created_at=self.now)
        call = self.store.submissions.submit(job, submission)
        answer = self.answer_to(fingerprint)
        if answer is None and job_id in self.rows:
            with pytest.raises(Conflict):
                self.loop.run(call)
            return
        found, written = self.loop.run(call)
        assert (found.id, written) == (answer or job_id, answer is None)
        if written:
            self.rows[job_id] = Row(accepted=True, fingerprint=fingerprint, number=self.written)
        self.rows[found.id].claims += 1

    def answer_to(self, fingerprint):
        """The job that a submission with this fingerprint would share."""
        rows = {job_id: row for job_id, row in self.rows.items() if row.fingerprint == fingerprint}
        standing = [job_id for job_id, row in rows.items() if row.stands_for(fingerprint)]
        if standing or not rows:
            return standing[0] if standing else None
        newest = max(rows, key=lambda job_id: rows[job_id].number)
        complete = rows[newest].status is COMPLETED and rows[newest].claims and not rows[newest].lacking
        return newest if complete else None

    @rule(job_id=IDS)
    def remove_track(self, job_id):
        row = self.rows.get(job_id)
        removed = self.loop.run(self.store.submissions.remove_track(job_id, "local", "drums"))
        assert removed == (row is not None and row.claims > 0 and not row.lacking)
        if row is not None and removed:
            row.lacking = True

    @rule()
    def drop_claims(self):
        dropped = {job_id for job_id, row in self.rows.items() if row.claims and row.status.ended}
        assert set(self.loop.run(self.store.submissions.drop_claims(SONG, "local"))) == dropped
        for job_id in dropped:
            self.rows[job_id].claims = 0

    @rule(job_id=IDS)
    def retire(self, job_id):
        row = self.rows.get(job_id)
        if self.loop.run(self.store.retire(job_id, self.now + 1)):
            assert row is None or row.status.ended or not row.claims
            if row is not None:
                row.claims = 0
        else:
            assert row is not None
            assert row.claims
            assert not row.status.ended

    @rule(job_id=IDS)
    def accept(self, job_id):
        call = self.store.accept(job_id, source="s", source_bytes=1, title="t", options={}, priority=Priority.NORMAL)
        row = self.rows.get(job_id)
        if row is None:
            with pytest.raises(NotFound):
                self.loop.run(call)
        elif row.accepted or row.cancelling or row.status.ended:
            with pytest.raises(Conflict):
                self.loop.run(call)
        else:
            self.loop.run(call)
            row.accepted = True

    @rule(job_id=IDS)
    def refuse(self, job_id):
        row = self.rows.get(job_id)
        if self.loop.run(self.store.refuse(job_id, "no")) is not None:
            assert row is not None
            assert not row.accepted
            assert not row.status.ended
            row.leave(FAILED)
        else:
            assert row is None or row.accepted or row.status.ended

    @rule()
    def claim(self):
        lease = self.loop.run(self.store.claim([JobKind.HLS]))
        waiting = {job_id for job_id, row in self.rows.items() if row.status is PENDING and row.accepted}
        if lease is None:
            assert not waiting
        else:
            assert lease.job.id in waiting
            self.hold(lease)

    @rule(job_id=IDS)
    def claim_upload(self, job_id):
        row = self.rows.get(job_id)
        lease = self.loop.run(self.store.claim_upload(job_id))
        assert (lease is not None) == (row is not None and row.status is PENDING and not row.accepted)
        if lease is not None:
            self.hold(lease)

    def hold(self, lease):
        row = self.rows[lease.job.id]
        row.status, row.token = PROCESSING, lease.token
        self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), progress=st.floats(-10, 110))
    def report(self, data, progress):
        lease = data.draw(st.sampled_from(self.leases))
        row = self.with_lease(lease, self.store.report(lease, progress=progress, result={}))
        if row is not None:
            row.progress = max(row.progress, min(progress, 100.0))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), status=st.sampled_from([COMPLETED, FAILED, CANCELLED]))
    def finish(self, data, status):
        lease = data.draw(st.sampled_from(self.leases))
        row = self.model_of(lease)
        if row is not None and status is COMPLETED and not row.accepted:
            with pytest.raises(ValueError, match="accepted"):
                self.loop.run(self.store.finish(lease, status))
        elif (row := self.with_lease(lease, self.store.finish(lease, status))) is not None:
            row.leave(status)
            row.progress = 100.0 if row.status is COMPLETED else row.progress

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data):
        lease = data.draw(st.sampled_from(self.leases))
        row = self.with_lease(lease, self.store.release(lease, "no"))
        if row is not None:
            row.failures += 1
            row.leave(FAILED if row.accepted and row.failures >= MAX_ATTEMPTS else PENDING)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def put_back(self, data):
        lease = data.draw(st.sampled_from(self.leases))
        row = self.with_lease(lease, self.store.put_back(lease))
        if row is not None:
            row.leave(PENDING)

    @rule(job_id=IDS)
    def request_cancel(self, job_id):
        row = self.rows.get(job_id)
        if row is None:
            with pytest.raises(NotFound):
                self.loop.run(self.store.request_cancel(job_id))
            return
        self.loop.run(self.store.request_cancel(job_id))
        if not row.status.ended:
            row.cancelling = True
        if row.status is PENDING:
            row.leave(CANCELLED)

    @rule(job_id=IDS)
    def mark_discarded(self, job_id):
        self.loop.run(self.store.mark_discarded(job_id))
        row = self.rows.get(job_id)
        if row is not None and row.status in (FAILED, CANCELLED):
            row.discarded = True

    @rule(job_id=IDS)
    def remove(self, job_id):
        row = self.rows.get(job_id)
        if row is not None and not row.status.ended:
            with pytest.raises(Conflict):
                self.loop.run(self.store.remove(job_id))
        else:
            assert (self.loop.run(self.store.remove(job_id)) is None) == (row is None)
            self.rows.pop(job_id, None)
            self.seen.pop(job_id, None)

    @rule()
    def restart(self):
        self.loop.run(self.store.close())
        self.open()
        ended = {job.id for job in self.loop.run(self.store.recover())}
        for job_id, row in self.rows.items():
            if row.status is PROCESSING or (row.status is PENDING and not row.accepted):
                self.interrupt(row, lost_upload=not row.accepted)
                assert (job_id in ended) == row.status.ended

    @rule()
    def expire(self):
        self.now += LEASE_SECONDS + 1
        running = [row for row in self.rows.values() if row.status is PROCESSING]
        assert self.loop.run(self.store.expire()) == len(running)
        for row in running:
            self.interrupt(row, lost_upload=False)

    def interrupt(self, row, *, lost_upload):
        spent = row.accepted and row.restarts >= MAX_RESTARTS
        row.restarts += not (spent or lost_upload or row.cancelling)
        row.leave(FAILED if lost_upload or spent else PENDING)

    @invariant()
    def the_latest_of_a_request_is_its_newest(self):
        for fingerprint in ("x", "y"):
            numbers = {row.number: job_id for job_id, row in self.rows.items() if row.fingerprint == fingerprint}
            job = self.loop.run(self.store.latest(JobKind.HLS, "local", fingerprint))
            assert (None if job is None else job.id) == (numbers[max(numbers)] if numbers else None)
            assert sum(row.stands_for(fingerprint) for row in self.rows.values()) <= 1

    @invariant()
    def each_claim_on_what_ended_is_owed_one_message(self):
        owed = Counter(message.job.id for message in self.loop.run(self.store.outbox.messages_of(SONG, "local")))
        assert owed == Counter({job_id: row.claims for job_id, row in self.rows.items() if row.status.ended})
        claimed = {job.id for job in self.loop.run(self.store.submissions.jobs_of(SONG, "local"))}
        assert claimed == {job_id for job_id, row in self.rows.items() if row.claims}

    @invariant()
    def the_store_is_what_the_model_says(self):
        for job_id in ("a", "b", "c"):
            job, row = self.loop.run(self.store.get(job_id)), self.rows.get(job_id)
            assert (job is None) == (row is None)
            if job is None or row is None:
                continue
            assert (job.status, job.discarded, job.failures) == (row.status, row.discarded, row.failures)
            assert (job.restarts, job.progress) == (row.restarts, row.progress)
            assert (job.accepted_at is not None, job.cancel_requested) == (row.accepted, row.cancelling)
            assert (job.completed_at is not None) == job.status.ended
            before = self.seen.get(job_id)
            if before is not None and before != job:
                assert job.revision > before.revision
                assert before.status.may_become(job.status)
            self.seen[job_id] = job


def test_the_store_agrees_with_its_model():
    """Any order of calls leaves what the model says, refuses stale leases, and makes only moves of the graph."""
    run_state_machine_as_test(
        StoreMachine, settings=settings(max_examples=25, stateful_step_count=40, deadline=None, database=None)
    )
