"""The streaming endpoints, on the real application with real ffmpeg."""

import asyncio
import hashlib
import io
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import m3u8
import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from support.deadline import eventually
from support.server import ENDED
from support.sound import tone
from support.traces.files import below
from support.wire.link import Link, linked
from support.wire.messages import closed, file_part, new_id, text_part

from streamsrv.media.sniff import id3_length

Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]
JOB = "/v1/stream/job"
HLS = "/v1/stream/hls"
GONE_SECONDS = 5.0


def form(file: Path | bytes, name: str = "song.wav", **fields: str) -> FormData:
    """Options first, then the file."""
    data = FormData(quote_fields=False, default_to_multipart=True)
    for field, value in fields.items():
        data.add_field(field, value)
    body = file if isinstance(file, bytes) else file.read_bytes()
    data.add_field("file", io.BytesIO(body), filename=name)
    return data


async def submit(client: Client, file: Path | bytes, *, query: str = "", name: str = "song.wav", **fields: str) -> str:
    reply = await client.post(f"/v1/stream/transcode{query}", data=form(file, name, **fields))
    assert reply.status == 200, await reply.text()
    return (await reply.json())["job_id"]


async def get_job(client: Client, job_id: str) -> dict[str, Any]:
    reply = await client.get(f"{JOB}/{job_id}")
    assert reply.status == 200
    return await reply.json()


async def ended(client: Client, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
    """The job once it has ended."""
    seen: dict[str, Any] = {}

    async def has_ended() -> bool:
        seen.update(await get_job(client, job_id))
        return seen["status"] in ENDED

    await eventually(has_ended, seconds=seconds, what=lambda: seen)
    return seen


@asynccontextmanager
async def half_sent(
    client: Client, job_id: str, file: Path, fields: Mapping[str, str], *, behind: tuple[str, str] | None = None
) -> AsyncIterator[Link]:
    """Another client's upload, of which the first half has come. One field may stand behind the file."""
    before = [text_part(*field) for field in fields.items()]
    after = [] if behind is None else [text_part(*behind)]
    async with linked(client.port) as link:
        body = closed(*before, file_part("slow.wav", file.read_bytes()), *after)
        await link.post(f"/v1/stream/transcode?job_id={job_id}", body)
        await link.send(len(body) // 2)
        yield link


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone(tmp_path_factory.mktemp("song") / "song.wav", seconds=8)


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone(tmp_path_factory.mktemp("song") / "long.wav", seconds=240)


async def test_a_song_becomes_a_playlist(start: Start, song: Path) -> None:
    """The reply is the documented one, its Location leads to the job, and all three playlists parse."""
    client = await start()
    reply = await client.post("/v1/stream/transcode", data=form(song, "My Song.wav", quality_profile="low"))
    body = await reply.json()
    assert (reply.status, body["status"], set(body)) == (200, "queued", {"job_id", "status", "message"})
    assert reply.headers["Location"] == str(client.make_url(f"{JOB}/{body['job_id']}"))
    job = await ended(client, body["job_id"])
    assert (job["status"], job["progress"], job["error"], job["track_id"]) == ("Completed", 100, None, "My Song")
    assert (job["codec"], job["bitrate"], job["quality_profile"]) == ("aac", 96000, "low")
    assert job["duration_seconds"] == pytest.approx(8.0)
    assert job["created_at"] <= job["started_at"] <= job["completed_at"]
    for url in (job["manifest_url"], job["live_url"], job["master_url"]):
        playlist = await client.get(url.removeprefix(str(client.make_url("/")).rstrip("/")))
        assert playlist.status == 200
        m3u8.loads(await playlist.text())
    assert playlist.headers["Content-Type"] == "application/vnd.apple.mpegurl"


async def test_lossless_segments_that_are_all_full(start: Start, tmp_path: Path) -> None:
    """A song that fills its last segment to the sample is completed, and no segment of it is empty."""
    client = await start()
    samples = 2 * 64 * 4096  # FLAC frames in six seconds
    song = tone(tmp_path / "song.wav", seconds=12, options=f"-af atrim=end_sample={samples}")
    job_id = await submit(client, song, quality_profile="hi_res")
    assert (await ended(client, job_id))["status"] == "Completed"
    playlist = m3u8.loads(await (await client.get(f"/v1/stream/hls/{job_id}/index.m3u8")).text())
    assert [round(segment.duration * 44100) for segment in playlist.segments] == [samples // 2] * 2


async def test_finished_parts_are_cached_for_ever_and_playlists_of_running_jobs_are_not(
    start: Start, song: Path
) -> None:
    """Segments never change, so they are immutable; a tag answers 304."""
    client = await start()
    job = await ended(client, await submit(client, song))
    segment = await client.get(f"{HLS}/{job['id']}/segment_00001.ts")
    assert segment.headers["Content-Type"] == "video/mp2t"
    assert "immutable" in segment.headers["Cache-Control"]
    again = await client.get(segment.url.path, headers={"If-None-Match": segment.headers["ETag"]})
    assert again.status == 304
    head = await client.head(segment.url.path)
    assert (head.status, head.headers["Content-Length"]) == (200, segment.headers["Content-Length"])


async def test_index_is_400_until_completed(start: Start, song: Path) -> None:
    """The document's rule: 404 for what isn't there, 400 while the job isn't finished."""
    client = await start()
    job_id = new_id()
    assert (await client.get(f"{HLS}/{job_id}/index.m3u8")).status == 404
    async with half_sent(client, job_id, song, {"quality_profile": "high"}) as upload:
        await eventually(lambda: _exists(client, job_id))
        reply = await client.get(f"{HLS}/{job_id}/index.m3u8")
        assert reply.status == 400
        assert (await reply.json())["type"] == "/problems/not-finished"
        assert (await upload.finish()).status == 200
    await ended(client, job_id)
    assert (await client.get(f"{HLS}/{job_id}/index.m3u8")).status == 200


async def _exists(client: Client, job_id: str) -> bool:
    return (await client.get(f"{JOB}/{job_id}")).status == 200


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A playlist may take its time to come."""
    monkeypatch.setattr("streamsrv.hls.api._FIRST_SEGMENT_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
async def test_a_song_plays_while_it_is_sent(start: Start, long_song: Path) -> None:
    """Half of the file is there: the job is listed and Processing, and its growing playlist can be played."""
    client = await start()
    job_id = new_id()
    async with half_sent(client, job_id, long_song, {"codec": "flac"}) as upload:
        await eventually(lambda: _exists(client, job_id))
        reply = await client.get(f"{HLS}/{job_id}/live.m3u8")
        assert reply.status == 200
        assert reply.headers["Cache-Control"] == "no-cache"
        playlist = m3u8.loads(await reply.text())
        assert not playlist.is_endlist
        assert playlist.segments
        assert (await client.get(f"{HLS}/{job_id}/init.mp4")).status == 200
        assert (await client.get(f"{HLS}/{job_id}/{playlist.segments[0].uri}")).status == 200
        job = await get_job(client, job_id)
        assert (job["status"], job["phase"]) == ("Processing", "uploading")
        assert 0 < job["progress"] < 60
        assert job["received_bytes"] > 0
        assert (await upload.finish()).status == 200
    job = await ended(client, job_id)
    assert job["status"] == "Completed"
    live = await (await client.get(f"{HLS}/{job_id}/live.m3u8")).text()
    assert live.endswith("#EXT-X-ENDLIST\n")
    assert "PLAYLIST-TYPE:EVENT" in live


async def test_an_upload_that_pauses_early_is_worked_on(start: Start, song: Path) -> None:
    """A client that stops after its first half megabyte has sent enough to begin with, written or not."""
    client = await start()
    job_id = new_id()

    async def begun() -> bool:
        return await _exists(client, job_id) and (await get_job(client, job_id))["status"] == "Processing"

    async with half_sent(client, job_id, song, {"codec": "flac"}) as upload:
        await eventually(begun)
        assert (await upload.finish()).status == 200
    assert (await ended(client, job_id))["status"] == "Completed"


async def test_options_after_the_file_count(start: Start, song: Path) -> None:
    """An option that comes behind the file is as good as one before it, even when encoding has begun with another."""
    client = await start()
    data = FormData(quote_fields=False, default_to_multipart=True)
    data.add_field("quality_profile", "low")
    data.add_field("file", io.BytesIO(song.read_bytes()), filename="song.wav")
    data.add_field("codec", "opus")
    data.add_field("priority", "urgent")
    reply = await client.post("/v1/stream/transcode", data=data)
    job = await ended(client, (await reply.json())["job_id"])
    assert (job["status"], job["codec"], job["bitrate"], job["priority"]) == ("Completed", "opus", 96000, "urgent")
    playlist = m3u8.loads(await (await client.get(f"{HLS}/{job['id']}/index.m3u8")).text())
    assert all(segment.uri.endswith(".m4s") for segment in playlist.segments)
    assert (await client.get(f"{HLS}/{job['id']}/segment_00001.ts")).status == 404


@pytest.mark.thorough
@pytest.mark.usefixtures("patient")
async def test_options_after_a_file_that_is_encoded_already_count(start: Start, long_song: Path) -> None:
    """Segments were made and played when the bit rate came: all of them are made anew."""
    client = await start()
    job_id = new_id()
    async with half_sent(client, job_id, long_song, {"codec": "aac"}, behind=("bitrate", "64000")) as upload:
        await eventually(lambda: _exists(client, job_id))
        assert (await client.get(f"{HLS}/{job_id}/live.m3u8")).status == 200
        before = (await client.get(f"{HLS}/{job_id}/segment_00001.ts")).headers["ETag"]
        assert (await upload.finish()).status == 200
    job = await ended(client, job_id)
    assert (job["status"], job["bitrate"]) == ("Completed", 64000)
    assert (await client.get(f"{HLS}/{job_id}/segment_00001.ts")).headers["ETag"] != before


@pytest.mark.usefixtures("patient")
async def test_an_id_that_is_free_again_brings_no_old_sound(start: Start, long_song: Path, song: Path) -> None:
    """What was played of an upload that failed is not what the next job of that id has, though its name is the same."""
    client = await start()
    job_id = new_id()
    async with half_sent(client, job_id, long_song, {"codec": "aac"}):
        await eventually(lambda: _exists(client, job_id))
        assert (await client.get(f"{HLS}/{job_id}/live.m3u8")).status == 200
        before = await (await client.get(f"{HLS}/{job_id}/segment_00001.ts")).read()
    assert (await ended(client, job_id))["status"] == "Failed"

    async def unlisted() -> bool:
        return (await client.get(f"{HLS}/{job_id}/segment_00001.ts")).status == 404

    await eventually(unlisted)
    other = tone(song.parent / "other.wav", seconds=24, hertz=900)
    assert await submit(client, other, query=f"?job_id={job_id}", codec="aac") == job_id
    assert (await ended(client, job_id))["status"] == "Completed"
    reply = await client.get(f"{HLS}/{job_id}/segment_00001.ts")
    after = await reply.read()
    assert after != before
    assert reply.headers["ETag"] == f'"{hashlib.sha256(after).hexdigest()[:32]}"'


async def test_the_right_one_of_two_uploads_of_an_id_is_cancelled(start: Start, long_song: Path) -> None:
    """Another request that named the id before, and has sent no byte of its file, is in nobody's way."""
    client = await start()
    job_id = new_id()
    async with linked(client.port) as idle:
        await idle.post(f"/v1/stream/transcode?job_id={job_id}", closed())
        await asyncio.sleep(0.1)
        async with half_sent(client, job_id, long_song, {}) as upload:
            await eventually(lambda: _exists(client, job_id))
            assert (await client.delete(f"{JOB}/{job_id}")).status == 202
            async with asyncio.timeout(GONE_SECONDS):
                assert (await upload.reply()).status == 409
        assert (await idle.finish()).status == 400


async def test_a_bad_host_is_refused_before_there_is_a_job(start: Start, song: Path) -> None:
    """Whoever is told 400 has no job."""
    client = await start()
    reply = await client.post("/v1/stream/transcode", data=form(song), headers={"Host": "no/host"})
    assert reply.status == 400
    assert (await (await client.get("/v1/stream/jobs")).json())["jobs"] == []


async def test_a_tag_as_long_as_a_song_is_no_matter(start: Start, song: Path, tmp_path: Path) -> None:
    """A title of 20 MB: neither what ffprobe says of it nor the search behind it depends on its length."""
    client = await start()
    mp3 = tone(tmp_path / "song.mp3", seconds=8).read_bytes()
    mp3 = mp3[id3_length(mp3) :]
    size = 20 << 20
    length = bytes(size - 10 >> shift & 127 for shift in (21, 14, 7, 0))
    whole = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    tagged = b"ID3\x04\0\0" + whole + b"TIT2" + length + b"\0\0\0" + b"A" * (size - 11) + mp3
    for order in ({"codec": "flac"}, {}):
        job = await ended(client, await submit(client, tagged, name="song.mp3", **order))
        assert (job["status"], job["duration_seconds"]) == ("Completed", pytest.approx(8, abs=0.01))


@pytest.mark.parametrize("when", ["uploading", "live", "running", "queued"])
async def test_cancel_leaves_nothing(
    start: Start, long_song: Path, tmp_path: Path, own_children: Callable[[], set[int]], when: str
) -> None:
    """DELETE ends a job at once wherever it is: no file, no process, playlists gone, and the sender is told."""
    client = await start(jobs={"concurrency": 1})
    job_id = new_id()
    async with AsyncExitStack() as stack:
        if when in ("uploading", "live"):
            fields = {"codec": "aac"} if when == "live" else {}
            upload = await stack.enter_async_context(half_sent(client, job_id, long_song, fields))
            await eventually(lambda: _exists(client, job_id))
        else:
            first = await submit(client, long_song)
            job_id = await submit(client, long_song) if when == "queued" else first
        begun = time.monotonic()
        reply = await client.delete(f"{JOB}/{job_id}")
        assert reply.status == 202
        job = await ended(client, job_id)
        assert time.monotonic() - begun < GONE_SECONDS
        assert job["status"] == "Cancelled"
        if when in ("uploading", "live"):
            assert (await upload.reply()).status == 409
    assert (await client.get(f"{HLS}/{job_id}/live.m3u8")).status == 404

    async def gone() -> bool:
        return not [path for path in below(tmp_path / "data") if job_id in path.name]

    await eventually(gone, seconds=GONE_SECONDS)
    if when != "queued":
        assert not own_children()
    assert (await client.delete(f"{JOB}/{job_id}")).status == 204
    assert (await client.get(f"{JOB}/{job_id}")).status == 404


async def test_removing_a_finished_job_removes_its_files(start: Start, song: Path, tmp_path: Path) -> None:
    """The second DELETE of a job that ended finds nothing, nor does a player."""
    client = await start()
    job = await ended(client, await submit(client, song))
    segment = f"{HLS}/{job['id']}/segment_00001.ts"
    assert (await client.get(segment)).status == 200
    assert (await client.delete(f"{JOB}/{job['id']}")).status == 204
    assert (await client.delete(f"{JOB}/{job['id']}")).status == 404
    assert (await client.get(segment)).status == 404
    assert not [path for path in below(tmp_path / "data") if job["id"] in str(path)]


async def test_an_upload_is_not_kept_once_its_job_is_completed(start: Start, song: Path, tmp_path: Path) -> None:
    """Only what is played stays on disk."""
    client = await start()
    await ended(client, await submit(client, song))

    async def gone() -> bool:
        return not list((tmp_path / "data" / "files" / "uploads").iterdir())

    await eventually(gone)


async def test_a_taken_id_is_a_conflict_and_a_failed_upload_frees_it(start: Start, song: Path) -> None:
    """`?job_id=` names a job once; after an upload that didn't arrive the name can be used again."""
    client = await start()
    job_id = new_id()
    bad = await client.post(f"/v1/stream/transcode?job_id={job_id}", data=form(b"no sound at all, just words"))
    assert bad.status == 400
    job = await get_job(client, job_id)
    assert job["status"] == "Failed"
    assert "sound" in job["error"]
    assert await submit(client, song, query=f"?job_id={job_id}") == job_id
    again = await client.post(f"/v1/stream/transcode?job_id={job_id}", data=form(song))
    assert again.status == 409
    assert (await ended(client, job_id))["status"] == "Completed"


async def test_jobs_are_listed_newest_first_in_pages(start: Start, song: Path) -> None:
    """`next` leads through all of them, and a filter leaves out the others."""
    client = await start()
    made = [await submit(client, song) for _ in range(3)]
    for job_id in made:
        await ended(client, job_id)
    await client.post("/v1/stream/transcode", data=form(b"not a song" * 100))
    first = await (await client.get("/v1/stream/jobs?limit=2&status=completed")).json()
    rest = await (await client.get(f"/v1/stream/jobs?limit=2&status=completed&before={first['next']}")).json()
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["next"] is None
    failed = await (await client.get("/v1/stream/jobs?status=Failed")).json()
    assert [job["status"] for job in failed["jobs"]] == ["Failed"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=201",
        "status=Done",
        "before=nonsense",
        "colour=red",
        "limit=1&limit=2",
        f"limit={'9' * 5000}",
        "limit=\u0661",
        "limit=\uff11",
    ],
)
async def test_bad_list_parameters_are_refused(start: Start, query: str) -> None:
    """Each is a 400 that says what is possible."""
    client = await start()
    reply = await client.get(f"/v1/stream/jobs?{query}")
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/problem+json"


async def test_nothing_is_old_just_after_a_start(start: Start, song: Path, tmp_path: Path) -> None:
    """A server that comes up years later than it went, by its clock, removes nothing at once: that may be wrong."""
    client = await start(jobs={"retention_days": 1})
    job_id = await submit(client, song)
    await ended(client, job_id)
    await client.close()
    with closing(sqlite3.connect(tmp_path / "data" / "streamsrv.sqlite")) as database, database:
        database.execute("UPDATE jobs SET completed_at = completed_at - 1e9")
    client = await start(jobs={"retention_days": 1})
    await ended(client, await submit(client, song))  # the runner looks for what is old before it does that
    reply = await client.get(f"/v1/stream/job/{job_id}")
    assert (reply.status, (await reply.json())["status"]) == (200, "Completed")


async def test_waiting_jobs_know_their_place(start: Start, song: Path, tmp_path: Path) -> None:
    """The urgent one is first, and after some work has been done there is an estimate."""
    client = await start(jobs={"concurrency": 1})
    await ended(client, await submit(client, song))
    hours = tone(tmp_path / "hours.flac", seconds=7200, rate=8000, channels=1)
    running = await submit(client, hours)
    background = await submit(client, song, priority="background")
    normal = await submit(client, song)
    urgent = await submit(client, song, priority="urgent")
    jobs = {job_id: await get_job(client, job_id) for job_id in (urgent, normal, background)}
    assert [jobs[job_id]["queue_position"] for job_id in (urgent, normal, background)] == [1, 2, 3]
    assert all(jobs[job_id]["eta_seconds"] > 0 for job_id in jobs)
    assert (await get_job(client, running))["queue_position"] is None
    await client.delete(f"{JOB}/{running}")
    for job_id in (urgent, normal, background):
        assert (await ended(client, job_id))["status"] == "Completed"


async def test_events_tell_each_change_once(start: Start, long_song: Path) -> None:
    """The stream ends with the job; progress never goes back; Last-Event-ID leaves out what was seen."""
    client = await start()
    job_id = await submit(client, long_song)
    events = []
    async with client.get(f"{JOB}/{job_id}/events") as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        text = (await reply.read()).decode()
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event") == "job":
            events.append((int(fields["id"]), json.loads(fields["data"])))
    ids, states = [number for number, _ in events], [state for _, state in events]
    assert ids == sorted(set(ids))
    assert states[-1]["status"] == "Completed"
    progress = [state["progress"] for state in states]
    assert progress == sorted(progress)
    assert len(events) >= 3
    async with client.get(f"{JOB}/{job_id}/events", headers={"Last-Event-ID": str(ids[-1])}) as reply:
        assert b"event: job" not in await reply.read()
    # A page that saw more than there is watched another job, which had this id before.
    async with client.get(f"{JOB}/{job_id}/events", headers={"Last-Event-ID": str(ids[-1] + 99)}) as reply:
        assert b"event: job" in await reply.read()


async def test_a_playlist_without_a_segment_is_held_then_503(start: Start, song: Path, monkeypatch: Any) -> None:
    """A player that comes too early waits; a 4xx would send it away for good."""
    monkeypatch.setattr("streamsrv.hls.api._FIRST_SEGMENT_SECONDS", 0.3)
    client = await start()
    job_id = new_id()
    async with half_sent(client, job_id, song, {}) as upload:
        await eventually(lambda: _exists(client, job_id))
        reply = await client.get(f"{HLS}/{job_id}/live.m3u8")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        assert (await upload.finish()).status == 200


async def test_urls_follow_the_public_url(start: Start, song: Path) -> None:
    """Behind a proxy, `server.public_url` is what clients are told."""
    client = await start(server={"public_url": "https://audio.example.org/"})
    job = await ended(client, await submit(client, song))
    assert job["manifest_url"] == f"https://audio.example.org/v1/stream/hls/{job['id']}/index.m3u8"
