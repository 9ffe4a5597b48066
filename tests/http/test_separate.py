"""How settings change what is told of songs. Nothing is separated here."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient
from support.deadline import eventually
from support.models import save_safe, small_model, tiny_repo
from support.neighbours.canary import Canary
from support.songs import music
from support.spread import thoroughly
from support.wire.link import linked
from support.wire.messages import request_head

from streamsrv.jobs.job import JobStatus
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.submissions import SqliteSubmissions

Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]
SONG_SECONDS = 0.5
GONE_SECONDS = 5.0


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo(tmp_path_factory.mktemp("models"))


async def test_addresses_begin_as_the_server_says(start: Start, repo: Path, tmp_path: Path) -> None:
    """With server.public_url the addresses of songs begin with it, whatever host was asked."""
    public = "https://songs.example.org:8443"
    song = music(tmp_path / "song.mp3", seconds=SONG_SECONDS).read_bytes()
    client = await start(separate={"model_repo": str(repo), "model": "tiny"}, server={"public_url": public})
    text = base64.b64encode(song)
    digest = hashlib.sha256(text).hexdigest()
    async with client.post("/apiv1/separate", json={"mp3": text.decode()}, headers={"Host": "localhost:1"}) as reply:
        assert reply.headers["Location"] == f"{public}/apiv1/song/{digest}"


async def test_a_bad_host_is_refused(start: Start, repo: Path) -> None:
    """Without server.public_url addresses begin with the request's host, which must be one."""
    client = await start(separate={"model_repo": str(repo), "model": "tiny"})
    async with client.post("/apiv1/separate", json={"mp3": "AAAA"}, headers={"Host": "a b<c>"}) as reply:
        assert reply.status == 400


async def completed(client: Client, song_hash: str) -> dict[str, Any]:
    """What is told of a song once it is whole."""

    async def whole() -> dict[str, Any] | None:
        async with client.get(f"/apiv1/song/{song_hash}") as reply:
            document = await reply.json()
        assert document["status"] not in ("Failed", "Cancelled"), document
        return document if document["status"] == "Completed" else None

    return await eventually(whole)


async def test_a_segment_is_found_by_its_own_song(start: Start, repo: Path, tmp_path: Path) -> None:
    """Under the hash of another song a segment isn't there, however often it is asked for."""
    client = await start(separate={"model_repo": str(repo), "model": "tiny"})
    told = await submitted(client, music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes())
    song_hash = (await completed(client, told["hash"]))["hash"]
    async with client.get(f"/apiv1/stems/{song_hash}/drums/index.m3u8") as reply:
        segment = next(line for line in (await reply.text()).splitlines() if line.endswith(".m4s"))
    for asked, status in [(song_hash, 200), ("0" * 64, 404), (song_hash.upper(), 200), ("0" * 64, 404)]:
        async with client.get(f"/apiv1/stems/{asked}/drums/{segment}") as reply:
            assert reply.status == status, asked


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("8.8.4.77", "http://127.0.0.1:{port}"),
        ("192.168.7.7:9000", "http://192.168.7.7:9000"),
        *thoroughly(
            ("[2606:4700:dead:beef::1]:80", "http://127.0.0.1:{port}"),
            ("[::ffff:8.8.4.77]", "http://127.0.0.1:{port}"),
            ("localhost:{port}", "http://localhost:{port}"),
        ),
    ],
)
async def test_a_callback_names_the_server_as_it_is(
    start: Start, repo: Path, tmp_path: Path, host: str, told: str
) -> None:
    """A receiver is told where this server is: no public address that a sender made up, but its own or a local one."""
    came: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        came.append(await request.json())
        return web.Response()

    song = music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes()
    client = await start(separate={"model_repo": str(repo), "model": "tiny"}, outbound={"allow": ["127.0.0.1"]})
    async with Canary(take).serve() as canary:
        body = {"mp3": base64.b64encode(song).decode(), "callback": {"url": canary.url("/callback")}}
        called = {"Host": host.format(port=client.port)}
        async with client.post("/apiv1/separate", json=body, headers=called) as reply:
            assert reply.status == 200, await reply.text()
            song_hash = (await reply.json())["hash"]
        await eventually(lambda: bool(came))
    data, origin = came[0]["data"], told.format(port=client.port)
    assert data["song_url"] == f"{origin}/apiv1/song/{song_hash}"
    assert all(url.startswith(f"{origin}/apiv1/track/") for url in data["tracks"].values())


async def test_models_of_an_empty_folder(start: Start, tmp_path: Path) -> None:
    """An empty folder of models is a list with the built-in one alone."""
    (tmp_path / "none").mkdir()
    client = await start(separate={"model_repo": str(tmp_path / "none"), "model": "tiny"})
    async with client.get("/apiv1/models") as reply:
        document = await reply.json()
    assert (document["default"], document["default_reason"]) == ("tiny", None)
    assert [(model["name"], model["state"]) for model in document["models"]] == [("streamsrv-small", "available")]


async def test_models_of_demucs(start: Start) -> None:
    """Without a folder of one's own the models are those of Demucs; each says whether it is here, else what to do.

    And it says which one a song gets that names none, and why that isn't a better one.
    """
    client = await start(separate={"download": False})
    async with client.get("/apiv1/models") as reply:
        document = await reply.json()
    assert document["default"] == "streamsrv-small"
    assert document["default_reason"] == "htdemucs isn't on this server, which may not download it"
    models = {model["name"]: model for model in document["models"]}
    assert {"htdemucs", "htdemucs_6s", "htdemucs_ft", "hdemucs_mmi", "mdx_extra"} <= set(models)
    assert models["htdemucs_6s"]["sources"] == ["drums", "bass", "other", "vocals", "guitar", "piano"]
    assert models.pop("streamsrv-small")["state"] == "available"
    assert {model["state"] for model in models.values()} == {"missing"}
    assert "models pull htdemucs" in models["htdemucs"]["detail"]


async def submitted(client: Client, song: bytes, **fields: str) -> dict[str, Any]:
    """Send a song; what is told of it then."""
    body = {"mp3": base64.b64encode(song).decode(), **fields}
    async with client.post("/apiv1/separate", json=body) as reply:
        assert reply.status == 200, await reply.text()
        song_hash = (await reply.json())["hash"]
    async with client.get(f"/apiv1/song/{song_hash}") as reply:
        return await reply.json()


async def test_a_song_says_why_it_got_the_built_in_model(start: Start, tmp_path: Path) -> None:
    """One that names no model gets the built-in one where no better is here, and says so; one that names it doesn't."""
    client = await start()
    told = await submitted(client, music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes())
    assert told["model"] == "streamsrv-small"
    why = "htdemucs isn't on this server, which may not download it; used the small built-in model"
    assert told["model_reason"] == why


async def test_a_song_that_begins_while_the_queue_is_read_is_in_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, repo: Path, tmp_path: Path
) -> None:
    """A song is in the queue at any instant until it has ended, that of its beginning among them."""
    claim, page, may_begin = SqliteJobStore.claim, SqliteJobStore.page, asyncio.Event()

    async def claim_late(store: SqliteJobStore, *arguments: Any, **options: Any) -> Any:
        await may_begin.wait()
        return await claim(store, *arguments, **options)

    async def page_slowly(store: SqliteJobStore, **asked: Any) -> Any:
        found = await page(store, **asked)
        may_begin.set()
        await eventually(lambda: has_begun(store))
        return found

    async def has_begun(store: SqliteJobStore) -> bool:
        return not (await page(store, statuses=[JobStatus.PENDING], limit=1))[0]

    monkeypatch.setattr(SqliteJobStore, "claim", claim_late)
    monkeypatch.setattr(SqliteJobStore, "page", page_slowly)
    client = await start(separate={"model_repo": str(repo), "model": "tiny"})
    told = await submitted(client, music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes())
    async with client.get("/apiv1/queue") as reply:
        assert (await reply.json())["queue"] == [told["hash"]]


async def test_a_song_that_ends_while_a_track_is_asked_for_has_not_failed(
    start: Start, monkeypatch: pytest.MonkeyPatch, repo: Path, tmp_path: Path
) -> None:
    """Whoever asks for a track until it is there is told to come again, and never that there is none."""
    latest_completed = SqliteSubmissions.latest_completed

    async def look_slowly(submissions: SqliteSubmissions, *asked: Any) -> Any:
        found = await latest_completed(submissions, *asked)
        await eventually(lambda: latest_completed(submissions, *asked))
        return found

    monkeypatch.setattr(SqliteSubmissions, "latest_completed", look_slowly)
    client = await start(separate={"model_repo": str(repo), "model": "tiny"})
    told = await submitted(client, music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes())
    for status in (409, 200):
        async with client.get(f"/apiv1/track/{told['hash']}/drums") as reply:
            assert reply.status == status, await reply.text()


@pytest.mark.parametrize("first", [{}, {"model": "streamsrv-small"}])
async def test_each_one_who_asks_has_a_reason_of_his_own(start: Start, tmp_path: Path, first: dict[str, str]) -> None:
    """One job answers those who got the built-in model and those who asked for it; each is told what holds for him."""
    client = await start()
    song = music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes()
    why = "htdemucs isn't on this server, which may not download it; used the small built-in model"
    for fields in (first, {} if first else {"model": "streamsrv-small"}, first):
        told = await submitted(client, song, **fields)
        assert (told["model"], told["model_reason"]) == ("streamsrv-small", None if fields else why)


async def test_a_better_model_is_taken_as_soon_as_it_is_here(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is put into a cache beside the running server is the next song's; the same song is made anew by it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    client = await start()
    song = music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes()
    assert (await submitted(client, song))["model"] == "streamsrv-small"
    checkpoints = tmp_path / "cache" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "955717e8-8726e21a.th").touch()
    async with client.get("/apiv1/models") as reply:
        document = await reply.json()
    assert (document["default"], document["default_reason"]) == ("htdemucs", None)
    told = await submitted(client, song)
    assert (told["model"], told["model_reason"]) == ("htdemucs", None)
    async with client.get(f"/apiv1/song/{told['hash']}?model=streamsrv-small") as reply:
        assert (await reply.json())["model"] == "streamsrv-small"


@pytest.mark.parametrize(("names", "default"), [(("htdemucs", "tiny"), "htdemucs"), (("tiny",), "streamsrv-small")])
async def test_a_folder_of_models_may_have_the_better_one(
    start: Start, tmp_path: Path, names: tuple[str, ...], default: str
) -> None:
    """With a folder of models of one's own htdemucs is the default if it is in there, else the built-in one."""
    for name in names:
        save_safe(tmp_path, name, small_model())
    client = await start(separate={"model_repo": str(tmp_path)})
    async with client.get("/apiv1/models") as reply:
        document = await reply.json()
    assert document["default"] == default
    assert (document["default_reason"] is None) == (default == "htdemucs")


async def test_who_insists_gets_no_other_model(start: Start, tmp_path: Path) -> None:
    """Where the settings name htdemucs and it isn't here, a song fails, and says what its operator can do."""
    client = await start(separate={"model": "htdemucs"})
    told = await submitted(client, music(tmp_path / "a.mp3", seconds=SONG_SECONDS).read_bytes())

    async def has_failed() -> bool:
        async with client.get(f"/apiv1/song/{told['hash']}") as reply:
            told.update(await reply.json())
        return told["status"] == "Failed"

    await eventually(has_failed, what=lambda: told)
    assert (told["model"], told["model_reason"]) == ("htdemucs", None)
    assert "python -m streamsrv models pull htdemucs" in told["error"]


async def test_only_so_many_songs_are_taken_in_at_once(start: Start, repo: Path, tmp_path: Path) -> None:
    """While as many songs arrive as the server takes, another one is told to come back; then there is room again."""
    client = await start(separate={"model_repo": str(repo), "model": "tiny", "max_requests": 1})
    async with linked(client.port) as link:
        await link.write(request_head("POST", "/apiv1/separate", 100, content_type="application/json") + b'{"mp3": "')
        await eventually(lambda: list((tmp_path / "data" / "spool").iterdir()))
        async with client.post("/apiv1/separate", json={"mp3": "AAAA"}) as reply:
            assert (reply.status, "Retry-After" in reply.headers) == (503, True)

    async def is_taken_in() -> bool:
        async with client.post("/apiv1/separate", json={"mp3": "AAAA"}) as reply:
            assert reply.status in (503, 422)
            return reply.status == 422

    await eventually(is_taken_in, seconds=GONE_SECONDS)


@pytest.mark.thorough
async def test_the_same_bytes_of_another_kind_are_another_song(start: Start, repo: Path) -> None:
    """Where only a file's name tells what its bytes are, its result is that of the name's kind."""
    client = await start(separate={"model_repo": str(repo), "model": "tiny"})
    data = bytes(range(256)) * 63
    lasted = []
    for name in ("call.al", "call.sln16", "call.al"):
        form = FormData({"errors": "strict"})
        form.add_field("file", data, filename=name)
        async with client.post("/apiv1/separate", data=form) as reply:
            assert reply.status in (200, 202), await reply.text()
            song = (await reply.json())["hash"]
        lasted.append((await completed(client, song))["duration_seconds"])
    assert lasted == pytest.approx([2.016, 0.504, 2.016], abs=0.01)
