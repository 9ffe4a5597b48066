"""One real server process for all acceptance tests, which none of them may leave untidy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import Server, serving
from support.traces.tidy import assert_tidy


@pytest.fixture(scope="session")
def session_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all tests share; those that take `server` check what they leave behind."""
    with serving(tmp_path_factory.mktemp("acceptance") / "data") as server:
        yield server


@pytest.fixture
def server(session_server: Server) -> Iterator[Server]:
    """The shared server; at the end of the test nothing runs in it and no file is left that nobody needs."""
    yield session_server
    assert_tidy(session_server)


@pytest.fixture(scope="module")
def media_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files `media_server` may extract from."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def media_server(media_root: Path) -> Iterator[Server]:
    """A server of a module's own."""
    with serving(media_root / "data", environment={"STREAMSRV_EXTRACT__MEDIA_ROOTS": str(media_root)}) as server:
        yield server
