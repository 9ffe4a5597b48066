"""What a server may leave behind: nothing that runs, and no file that nobody needs any more."""

from support.deadline import until
from support.server import Server

TIDY_SECONDS = 10.0


def leftovers(server: Server) -> list[str]:
    """Processes that still run for the server, and files that it keeps only while something goes on."""
    folders = ("spool", "scratch", "files/uploads")
    files = [path for folder in folders for path in (server.data_dir / folder).glob("*")]
    return [*(f"process {pid}" for pid in server.children()), *map(str, files)]


def assert_tidy(server: Server) -> None:
    """Soon the server is healthy, has no child process, and no spool, scratch folder or upload."""
    assert server.child.poll() is None, server.log.read_text()[-3000:]
    until(lambda: not leftovers(server), seconds=TIDY_SECONDS, what=lambda: leftovers(server))
