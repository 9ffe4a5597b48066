"""How many jobs of a kind may wait."""

import pytest

from streamsrv.errors import Unavailable
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.queue_limit import QueueLimit


class Waiting:
    """A store in which so many songs wait."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def count_waiting(self, kind: JobKind) -> int:
        return self._count if kind is JobKind.SEPARATE else 0


async def test_each_kind_has_its_own_end() -> None:
    """Where one kind has as many as may wait the others go on, and who is refused hears when to come again."""
    limit = QueueLimit(Waiting(3), 3)
    await limit.check(JobKind.HLS)
    with pytest.raises(Unavailable, match="3 jobs are waiting") as caught:
        await limit.check(JobKind.SEPARATE)
    assert caught.value.headers == {"Retry-After": "30"}
    await QueueLimit(Waiting(3), 4).check(JobKind.SEPARATE)
