"""What servers have logged, those that are dead included."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from support.server import Server


def events(server: Server, name: str, **fields: object) -> Iterator[dict[str, Any]]:
    """What the servers on this data directory have logged under a name."""
    for line in server.log.read_text(errors="replace").splitlines():
        with suppress(ValueError):  # another program's words, or a line that the kill cut
            event = json.loads(line)
            if event.get("event") == name and fields.items() <= event.items():
                yield event


def endings(server: Server, job_id: str) -> list[str]:
    """The statuses in which a job has ended, one for each time."""
    return [event["status"] for event in events(server, "job_ended", job_id=job_id)]


@contextmanager
def no_fault_logged(server: Server) -> Iterator[None]:
    """What happens in the block is nobody's fault that somebody would have to look after."""
    before = server.log.stat().st_size
    yield
    lines = server.log.read_bytes()[before:].decode().splitlines()
    assert [line for line in lines if not line.startswith("{") or json.loads(line)["level"] == "error"] == []
