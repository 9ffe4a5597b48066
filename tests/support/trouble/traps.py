"""A server that kills itself by SIGKILL, or only stops, where a named call begins or ends: see `failpoints`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from support.deadline import WAIT_SECONDS
from support.server import Server, serving, started
from support.traces.processes import assert_no_process

FAILPOINTS = str(Path(__file__).with_name("failpoints.py"))


def trapped(
    data_dir: Path, trap: str, *, port: int | None = None, environment: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """The server with that trap; without one where it is empty."""
    if not trap:
        return serving(data_dir, port=port, environment=environment)
    variables = {**(environment or {}), "STREAMSRV_TRAP": trap}
    return serving(data_dir, port=port, environment=variables, program=(FAILPOINTS,))


def run_into(data_dir: Path, trap: str, *, environment: Mapping[str, str] | None = None) -> None:
    """Start a server that comes to the trap by itself, with work that waits for it: it dies, perhaps at once."""
    variables = {**(environment or {}), "STREAMSRV_TRAP": trap}
    with started(data_dir, environment=variables, program=(FAILPOINTS,)) as server:
        await_kill(server)


def await_kill(server: Server, *, seconds: float = WAIT_SECONDS) -> None:
    """The server dies at its trap, and all its processes with it."""
    assert server.child.wait(seconds) == -9, server.log.read_text()[-3000:]
    assert_no_process(server.data_dir)
