"""The real application in this process, over a real socket."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from streamsrv.app import create_app
from streamsrv.config import load_config
from streamsrv.media.tools import FfmpegTools

Start = Callable[..., Awaitable[TestClient[Any, Any]]]


@pytest.fixture
async def start(tmp_path: Path, tools: FfmpegTools) -> AsyncIterator[Start]:
    """Start the application with some settings changed: `await start(jobs={"concurrency": 1})`."""
    clients: list[TestClient[Any, Any]] = []

    async def start_app(**sections: dict[str, Any]) -> TestClient[Any, Any]:
        server = {"data_dir": tmp_path / "data", **sections.pop("server", {})}
        config = load_config(flags={"server": server, **sections})
        config.server.data_dir.mkdir(exist_ok=True)
        client = TestClient(TestServer(create_app(config, tools)))
        await client.start_server()
        clients.append(client)
        return client

    yield start_app
    for client in clients:
        await client.close()
