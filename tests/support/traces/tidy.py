"""A server that has nothing to do: nothing runs for it, and no file lies there that nobody needs any more."""

from support.deadline import until
from support.server import Server, assert_never_stood_still
from support.traces.files import leftovers

TIDY_SECONDS = 10.0


def left_by(server: Server) -> list[str]:
    """Processes that still run for the server, and files that it keeps only while something goes on."""
    return [*(f"process {pid}" for pid in server.children()), *leftovers(server.data_dir)]


def assert_tidy(server: Server, *, seconds: float = TIDY_SECONDS) -> None:
    """Within so long the server, which runs, has no child process, and no spool, scratch folder or upload."""
    assert server.child.poll() is None, server.log.read_text()[-3000:]
    assert_never_stood_still(server)
    until(lambda: not left_by(server), seconds=seconds, what=lambda: left_by(server))
