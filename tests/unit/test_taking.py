"""How long a client takes nothing of what waits for it."""

import asyncio
from typing import Any, cast

from streamsrv.web.taking import Taking


class Line:
    """A transport on which so much waits to be taken."""

    waiting = 0

    def get_extra_info(self, _name: str) -> Any:
        return self

    def fileno(self) -> int:
        raise OSError

    def get_write_buffer_size(self) -> int:
        return self.waiting


def test_only_what_waits_is_waited_for() -> None:
    """A long silence before a reply is nobody's fault: the time counts from when something waited."""
    here = Line()
    line = cast(asyncio.WriteTransport, here)
    taking = Taking(0.0)
    for now in (1.0, 30.0, 64.0):
        assert taking.seconds_without(line, 500, now) == 0
    here.waiting = 4000
    assert taking.seconds_without(line, 4500, 65.0) <= 1.0
    assert taking.seconds_without(line, 4500, 75.0) == 11.0
    here.waiting = 3999
    assert taking.seconds_without(line, 4500, 76.0) == 0
    here.waiting = 0
    assert taking.seconds_without(line, 4500, 77.0) == 0
    assert taking.seconds_without(line, 4500, 140.0) == 0
