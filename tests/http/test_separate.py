"""How settings change what is told of songs. Nothing is separated here."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from support.models import tiny_repo
from support.songs import music

Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]
SONG_SECONDS = 0.5
GONE_SECONDS = 5.0
_LOOK_SECONDS = 0.02


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo(tmp_path_factory.mktemp("models"))


async def test_addresses_begin_as_the_server_says(start: Start, repo: Path, tmp_path: Path) -> None:
    """With server.public_url the addresses of songs begin with it, whatever host was asked."""
    public = "https://songs.example.org/audio"
    song = music(tmp_path / "song.mp3", seconds=SONG_SECONDS).read_bytes()
    client = await start(separate={"model_repo": str(repo), "model": "tiny"}, server={"public_url": public})
    text = base64.b64encode(song)
    digest = hashlib.sha256(text).hexdigest()
    async with client.post("/apiv1/separate", json={"mp3": text.decode()}, headers={"Host": "elsewhere"}) as reply:
        assert reply.headers["Location"] == f"{public}/apiv1/song/{digest}"


async def test_a_bad_host_is_refused(start: Start, repo: Path) -> None:
    """Without server.public_url addresses begin with the request's host, which must be one."""
    client = await start(separate={"model_repo": str(repo), "model": "tiny"})
    async with client.post("/apiv1/separate", json={"mp3": "AAAA"}, headers={"Host": "a b<c>"}) as reply:
        assert reply.status == 400


async def test_models_of_an_empty_folder(start: Start, tmp_path: Path) -> None:
    """An empty folder of models is a list without models."""
    (tmp_path / "none").mkdir()
    client = await start(separate={"model_repo": str(tmp_path / "none"), "model": "tiny"})
    async with client.get("/apiv1/models") as reply:
        assert await reply.json() == {"default": "tiny", "models": []}


async def test_models_of_demucs(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a folder of one's own the models are those of Demucs; each says whether it is here, else what to do."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    client = await start(separate={"download": False})
    async with client.get("/apiv1/models") as reply:
        document = await reply.json()
    assert document["default"] == "htdemucs"
    models = {model["name"]: model for model in document["models"]}
    assert {"htdemucs", "htdemucs_6s", "htdemucs_ft", "hdemucs_mmi", "mdx_extra"} <= set(models)
    assert models["htdemucs_6s"]["sources"] == ["drums", "bass", "other", "vocals", "guitar", "piano"]
    assert {model["state"] for model in models.values()} == {"missing"}
    assert "models pull htdemucs" in models["htdemucs"]["detail"]


async def test_only_so_many_songs_are_taken_in_at_once(start: Start, repo: Path, tmp_path: Path) -> None:
    """While as many songs arrive as the server takes, another one is told to come back; then there is room again."""
    client = await start(separate={"model_repo": str(repo), "model": "tiny", "max_requests": 1})
    _, writer = await asyncio.open_connection(client.host, client.port)
    head = "POST /apiv1/separate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f'{head}Content-Length: 100\r\n\r\n{{"mp3": "'.encode())
    deadline = time.monotonic() + GONE_SECONDS
    while not list((tmp_path / "data" / "spool").iterdir()):
        assert time.monotonic() < deadline
        await asyncio.sleep(_LOOK_SECONDS)
    async with client.post("/apiv1/separate", json={"mp3": "AAAA"}) as reply:
        assert (reply.status, "Retry-After" in reply.headers) == (503, True)
    writer.transport.abort()
    while True:
        async with client.post("/apiv1/separate", json={"mp3": "AAAA"}) as reply:
            if reply.status != 503:
                break
        assert time.monotonic() < deadline
        await asyncio.sleep(_LOOK_SECONDS)
    assert reply.status == 422
