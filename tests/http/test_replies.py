"""What goes over the wire, whatever the feature: ranges, conditions, problems, CORS, events, the page's files, ids.

A small application uses the web layer as a feature does, and is talked to through real sockets.
"""

import asyncio
import errno
import io
import json
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from support.deadline import eventually
from support.wire.link import linked
from support.wire.messages import Reply, request_head

from streamsrv import errors
from streamsrv.web.cors import allow_origins
from streamsrv.web.events import bound_events, last_event_id, send_events
from streamsrv.web.health import health
from streamsrv.web.methods import answer_options
from streamsrv.web.pages import Pages
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests, public_origin, read_query
from streamsrv.web.responses import bytes_reply, json_reply

BODY = bytes(range(256)) * 400
ORIGIN = "http://localhost:5176"
SECRET = "/srv/secret/song.mp3"
WAIT_SECONDS = 5


def subclasses(of: type[errors.Problem]) -> Iterator[type[errors.Problem]]:
    for found in of.__subclasses__():
        yield found
        yield from subclasses(found)


PROBLEMS = sorted(set(subclasses(errors.Problem)), key=lambda problem: problem.__name__)


class Parts:
    """The handlers under test. `closed` is set when a stream of events was closed; `left` when a reader was left."""

    def __init__(self) -> None:
        self.raises: Callable[[], Exception] = lambda: RuntimeError(SECRET)
        self.closed = asyncio.Event()
        self.reading = asyncio.Event()

    async def song(self, request: web.Request) -> web.Response:
        return bytes_reply(request, BODY, etag="v1", media_type="video/mp2t", cache_control="immutable")

    async def silence(self, request: web.Request) -> web.Response:
        return bytes_reply(request, b"", etag="v0", media_type="audio/mp4", cache_control="no-cache")

    async def fail(self, _request: web.Request) -> web.Response:
        raise self.raises()

    async def fail_late(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        if "length" in request.query:
            reply.content_length = 1000
        await reply.prepare(request)
        await reply.write(b"half")
        raise self.raises()

    async def read(self, request: web.Request) -> web.Response:
        self.reading.set()
        return json_reply({"bytes": len(await request.read())})

    async def events(self, request: web.Request) -> web.StreamResponse:
        async def changes() -> AsyncIterator[tuple[int, dict[str, Any]]]:
            try:
                for revision in range(last_event_id(request) + 1, 4):
                    yield revision, {"progress": revision, "title": "Ö\n\r"}
                if "fail" in request.query:
                    raise self.raises()
                if "endless" in request.query:
                    await asyncio.Event().wait()
            finally:
                self.closed.set()

        return await send_events(request, changes())

    async def origin(self, request: web.Request) -> web.Response:
        query = read_query(request, ["public_url", "other"])
        return json_reply({"origin": public_origin(request, query.get("public_url", ""))})


def make_app(parts: Parts, folder: Path, origins: tuple[str, ...] = (ORIGIN,)) -> web.Application:
    app = web.Application()
    name_requests(app)
    answer_problems(app)
    answer_options(app)
    bound_events(app, 1000)
    app.router.add_get("/song", parts.song)
    app.router.add_get("/silence", parts.silence)
    app.router.add_get("/fail", parts.fail)
    app.router.add_get("/fail-late", parts.fail_late)
    app.router.add_post("/read", parts.read)
    app.router.add_get("/events", parts.events)
    app.router.add_get("/origin", parts.origin)
    app.router.add_get("/health", health)
    app.router.add_routes(Pages(folder).routes())
    allow_origins(app, origins)
    return app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page's folder, with something beside it that nobody may read."""
    static = tmp_path / "static"
    for folder in ("vendor", "demo"):
        (static / folder).mkdir(parents=True)
    (static / "index.html").write_text("<title>page</title>")
    (static / "app.js").write_text("export {}")
    (static / "style.css").write_text("body {}")
    (static / "vendor" / "hls.min.js").write_text("var Hls")
    (static / "demo" / "song.mp3").write_text("a song")
    (static / ".hidden").write_text("secret")
    (static / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "static-secret").mkdir()
    (tmp_path / "static-secret" / "a.txt").write_text("secret")
    return static


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def client(parts: Parts, folder: Path) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(make_app(parts, folder))) as client:
        yield client


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(app)) as client:
        yield client


async def raw(client: TestClient, request: bytes) -> Reply:
    """Send bytes as they are and return a reply of all that came back."""
    async with linked(client.port) as link:
        await link.write(request)
        return Reply(*await link.head(), await link.rest())


async def problem_of(reply: Any, status: int, slug: str) -> dict[str, Any]:
    """Check that the reply is a whole problem document, and return it."""
    document: dict[str, Any] = json.loads(await reply.read())
    assert reply.status == status, document
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert set(document) == {"type", "title", "status", "detail", "request_id"}
    assert document["status"] == status
    assert document["type"] == (f"/problems/{slug}" if slug != "about:blank" else slug)
    assert document["request_id"] == reply.headers["X-Request-ID"]
    assert document["title"]
    assert document["detail"]
    return document


class TestBytes:
    async def test_whole(self, client: TestClient) -> None:
        """GET sends all bytes with their length, type, tag and cache rule, and says that ranges work."""
        async with client.get("/song") as reply:
            assert (reply.status, await reply.read()) == (200, BODY)
        assert reply.headers["Content-Length"] == str(len(BODY))
        assert reply.headers["Content-Type"] == "video/mp2t"
        assert reply.headers["ETag"] == '"v1"'
        assert reply.headers["Cache-Control"] == "immutable"
        assert reply.headers["Accept-Ranges"] == "bytes"

    @pytest.mark.parametrize("path", ["/song", "/silence"])
    async def test_head_equals_get(self, client: TestClient, path: str) -> None:
        """HEAD has the headers of GET, Content-Length included, and no body; Range changes nothing."""
        async with client.get(path) as whole:
            await whole.read()
        async with client.head(path, headers={"Range": "bytes=5-9"}) as reply:
            assert await reply.read() == b""
        assert reply.status == 200
        ignored = {"Date", "X-Request-ID"}
        assert {name: value for name, value in reply.headers.items() if name not in ignored} == {
            name: value for name, value in whole.headers.items() if name not in ignored
        }

    @pytest.mark.parametrize(
        ("header", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=-7", -7, None), ("bytes=102390-", 102390, None)]
    )
    async def test_range(self, client: TestClient, header: str, start: int, stop: int | None) -> None:
        """206 sends the slice and says which it is."""
        async with client.get("/song", headers={"Range": header}) as reply:
            body = await reply.read()
        assert (reply.status, body) == (206, BODY[start:stop])
        first = start % len(BODY)
        assert reply.headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(BODY)}"
        assert reply.headers["Content-Length"] == str(len(body))
        assert reply.headers["ETag"] == '"v1"'

    async def test_range_beyond_the_end(self, client: TestClient) -> None:
        """416 is a problem that names the size."""
        async with client.get("/song", headers={"Range": "bytes=102400-"}) as reply:
            await problem_of(reply, 416, "range-not-satisfiable")
        assert reply.headers["Content-Range"] == "bytes */102400"

    @pytest.mark.parametrize("header", ["items=0-1", "bytes=0-1,5-6", "bytes=9-1", f"bytes=0-{'9' * 5000}"])
    async def test_range_that_is_ignored(self, client: TestClient, header: str) -> None:
        """A range that isn't understood gets the whole file, not an error."""
        async with client.get("/song", headers={"Range": header}) as reply:
            assert (reply.status, await reply.read()) == (200, BODY)

    @pytest.mark.parametrize(("tag", "status"), [('"v1"', 206), ('"v0"', 200), ('W/"v1"', 200)])
    async def test_if_range(self, client: TestClient, tag: str, status: int) -> None:
        """A resumed download of a file that has changed starts anew."""
        async with client.get("/song", headers={"Range": "bytes=0-9", "If-Range": tag}) as reply:
            assert (reply.status, await reply.read()) == (status, BODY[:10] if status == 206 else BODY)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("tags", ['"v1"', 'W/"v1"', "*", '"v0", "v1"'])
    async def test_if_none_match(self, client: TestClient, method: str, tags: str) -> None:
        """304 has no body, and the tag and cache rule of a 200."""
        async with client.request(method, "/song", headers={"If-None-Match": tags}) as reply:
            assert (reply.status, await reply.read()) == (304, b"")
        assert (reply.headers["ETag"], reply.headers["Cache-Control"]) == ('"v1"', "immutable")
        assert "Content-Range" not in reply.headers

    async def test_if_match(self, client: TestClient) -> None:
        """412 where another file was meant."""
        async with client.get("/song", headers={"If-Match": '"v0"'}) as reply:
            assert "another" in (await problem_of(reply, 412, "about:blank"))["detail"]
        async with client.get("/song", headers={"If-Match": '"v1"'}) as reply:
            assert reply.status == 200

    async def test_replies_without_body_leave_the_connection_in_step(self, client: TestClient) -> None:
        """After HEAD, 304 and an empty file the next reply on the connection begins where it should."""
        head = b"HEAD /song HTTP/1.1\r\nHost: a\r\n\r\n"
        not_modified = b'GET /song HTTP/1.1\r\nHost: a\r\nIf-None-Match: "v1"\r\n\r\n'
        empty = b"GET /silence HTTP/1.1\r\nHost: a\r\n\r\n"
        last = b"GET /song HTTP/1.1\r\nHost: a\r\nRange: bytes=65-67\r\nConnection: close\r\n\r\n"
        rest = (await raw(client, head + not_modified + empty + last)).body
        statuses = [line for line in rest.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        assert statuses == [b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 200 OK", b"HTTP/1.1 206 Partial Content"]
        assert rest.endswith(b"\r\n\r\nABC")

    async def test_json_is_not_cached(self, client: TestClient) -> None:
        """JSON replies are the state of this moment."""
        async with client.post("/read", data=b"1234") as reply:
            assert await reply.json() == {"bytes": 4}
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["Cache-Control"] == "no-store"

    async def test_health(self, client: TestClient) -> None:
        """`/health` is 200 with an empty body."""
        async with client.get("/health") as reply:
            assert (reply.status, await reply.read()) == (200, b"")


class TestProblems:
    @pytest.mark.parametrize("problem", PROBLEMS)
    async def test_every_problem(self, client: TestClient, parts: Parts, problem: type[errors.Problem]) -> None:
        """A problem becomes a document with its status, its title, and the detail that was given."""
        parts.raises = lambda: problem("In this very case.", headers={"X-Extra": "1"})
        async with client.get("/fail") as reply:
            document = await problem_of(reply, problem.status, problem().slug)
        assert document["title"] == problem().title
        assert document["detail"] == "In this very case."
        assert reply.headers["X-Extra"] == "1"
        assert ("Retry-After" in reply.headers) == (problem.status == 503)

    async def test_further_members(self, client: TestClient, parts: Parts) -> None:
        """A problem may say more in members of its own, but never other than it is in those that all have."""
        parts.raises = lambda: errors.MissingTrack("No.", members={"clip": 1, "tracks": [0, "ö"], "status": 200})
        async with client.get("/fail") as reply:
            document = await reply.json(content_type="application/problem+json")
        assert (reply.status, document["status"], document["detail"]) == (422, 422, "No.")
        assert (document["clip"], document["tracks"]) == (1, [0, "ö"])
        assert list(document)[:5] == ["type", "title", "status", "detail", "request_id"]

    @pytest.mark.parametrize("problem", PROBLEMS)
    def test_problems_cross_processes(self, problem: type[errors.Problem]) -> None:
        """A problem that was raised in another process arrives whole."""
        sent = problem("In words.", headers={"Retry-After": "7"}, members={"clip": 1, "tracks": [{"index": 0}]})
        for one in (sent, problem()):
            arrived = pickle.loads(pickle.dumps(one))
            assert type(arrived) is problem
            assert (vars(arrived), arrived.args) == (vars(one), one.args)

    async def test_unknown_address(self, client: TestClient) -> None:
        """No route: a problem like any other."""
        async with client.get("/nowhere") as reply:
            assert (await problem_of(reply, 404, "not-found"))["detail"] == errors.NotFound().title

    async def test_wrong_method(self, client: TestClient) -> None:
        """The wrong method: the reply names the right ones."""
        async with client.delete("/read") as reply:
            await problem_of(reply, 405, "method-not-allowed")
        assert "POST" in reply.headers["Allow"]

    async def test_unknown_expectation(self, client: TestClient) -> None:
        """Even an Expect that aiohttp refuses before any middleware is a problem."""
        request = b"GET /song HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nConnection: close\r\n\r\n"
        reply = await raw(client, request)
        assert (reply.status, reply.problem["status"]) == (417, 417)
        assert int(reply.headers["Content-Length"]) == len(reply.body)

    @pytest.mark.parametrize(
        ("raises", "status", "slug"),
        [
            (lambda: RuntimeError(SECRET), 500, "internal-error"),
            (lambda: OSError(errno.EACCES, "no", SECRET), 500, "internal-error"),
            (lambda: TimeoutError(SECRET), 500, "internal-error"),
            (lambda: BrokenPipeError(errno.EPIPE, SECRET), 500, "internal-error"),
            (lambda: OSError(errno.ENOSPC, "no", SECRET), 507, "disk-full"),
            (lambda: OSError(errno.EDQUOT, "no", SECRET), 507, "disk-full"),
            (lambda: ExceptionGroup(SECRET, [errors.TooLarge()]), 413, "too-large"),
            (lambda: ExceptionGroup(SECRET, [ValueError(SECRET), errors.TooLarge()]), 500, "internal-error"),
            (lambda: web.HTTPBadRequest(text="Words."), 400, "bad-request"),
            (lambda: web.HTTPRequestEntityTooLarge(1, 2), 413, "too-large"),
            (web.HTTPUnsupportedMediaType, 415, "wrong-content-type"),
            (web.HTTPInternalServerError, 500, "internal-error"),
            (web.HTTPForbidden, 403, "about:blank"),
            (web.HTTPGatewayTimeout, 504, "about:blank"),
        ],
    )
    async def test_foreign_errors(
        self, client: TestClient, parts: Parts, raises: Callable[[], Exception], status: int, slug: str
    ) -> None:
        """Whatever else is raised becomes a problem, and says nothing of paths or of our insides."""
        parts.raises = raises
        async with client.get("/fail") as reply:
            document = await problem_of(reply, status, slug)
        assert "secret" not in json.dumps(document)
        assert "Traceback" not in json.dumps(document)

    async def test_redirects_pass(self, client: TestClient, parts: Parts) -> None:
        """A redirect is no problem."""
        parts.raises = lambda: web.HTTPFound("/song")
        async with client.get("/fail", allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"]) == (302, "/song")
        assert reply.headers["Content-Type"] != "application/problem+json"

    async def test_body_beyond_the_limit(self, client: TestClient) -> None:
        """aiohttp's own limit on bodies that are read whole answers 413 as a problem."""
        async with client.post("/read", data=io.BytesIO(bytes(2 << 20))) as reply:
            await problem_of(reply, 413, "too-large")

    async def test_malformed_body(self, client: TestClient) -> None:
        """A body that isn't in the encoding it claims is the client's fault."""
        async with client.post("/read", data=b"no gzip", headers={"Content-Encoding": "gzip"}) as reply:
            await problem_of(reply, 400, "bad-request")

    async def test_head_has_no_body(self, client: TestClient) -> None:
        """The problem of a HEAD is in its headers only."""
        async with client.head("/nowhere") as reply:
            assert (reply.status, await reply.read()) == (404, b"")
        assert int(reply.headers["Content-Length"]) > 0

    @pytest.mark.parametrize("path", ["/fail-late", "/fail-late?length"])
    async def test_late_failure_cuts_the_connection(self, client: TestClient, path: str) -> None:
        """Once the reply has begun a failure cuts it, so that the client sees that something is missing."""
        with structlog.testing.capture_logs() as lines:
            async with client.get(path) as reply:
                assert reply.status == 200
                with pytest.raises((ClientPayloadError, ClientConnectionError)):
                    await reply.read()
        assert any(line["event"] == "reply_cut" for line in lines)
        async with client.get("/song") as reply:
            assert reply.status == 200

    async def test_unexpected_errors_are_logged(self, client: TestClient) -> None:
        """What the client isn't told is in the log, with its traceback and the request's id."""
        merge = structlog.contextvars.merge_contextvars
        with structlog.testing.capture_logs(processors=[merge]) as lines:
            async with client.get("/fail", headers={"X-Request-ID": "mine"}) as reply:
                await problem_of(reply, 500, "internal-error")
        (line,) = [line for line in lines if line["event"] == "request_failed"]
        assert (str(line["exc_info"]), line["request_id"]) == (SECRET, "mine")

    async def test_client_that_leaves_is_no_error(self, client: TestClient, parts: Parts) -> None:
        """A client gone in mid-upload ends the handler without an error in the log."""
        with structlog.testing.capture_logs() as lines:
            async with linked(client.port) as link:
                await link.write(request_head("POST", "/read", 100) + b"only this")
                await asyncio.wait_for(parts.reading.wait(), WAIT_SECONDS)
            await eventually(lambda: any(line["event"] == "request" for line in lines))
        assert [line["log_level"] for line in lines] == ["info"]
        assert lines[0]["status"] == 499


class TestCors:
    async def test_options_tell_the_methods(self, client: TestClient) -> None:
        """Who asks from no page is told what an address takes; what isn't there is 404."""
        async with client.options("/read") as reply:
            assert (reply.status, await reply.read()) == (204, b"")
        assert {"POST", "OPTIONS"} <= {method.strip() for method in reply.headers["Allow"].split(",")}
        async with client.options("/nowhere") as reply:
            await problem_of(reply, 404, "not-found")

    async def test_preflight(self, client: TestClient) -> None:
        """A page of an allowed origin may send what the API takes."""
        asks = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, x-api-key, range",
        }
        async with client.options("/read", headers=asks) as reply:
            assert reply.status == 200
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert reply.headers["Access-Control-Allow-Methods"] == "POST"
        assert "RANGE" in reply.headers["Access-Control-Allow-Headers"].upper()
        assert reply.headers["Vary"] == "Origin"

    @pytest.mark.parametrize(
        "asks",
        [
            {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
            {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"},
            {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-odd"},
            {"Origin": ORIGIN},
        ],
    )
    async def test_preflight_refused(self, client: TestClient, asks: dict[str, str]) -> None:
        """Another origin, method or header is refused, as a problem."""
        async with client.options("/read", headers=asks) as reply:
            await problem_of(reply, 403, "about:blank")

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/song", 200),
            ("HEAD", "/song", 200),
            ("GET", "/events", 200),
            ("GET", "/static/app.js", 200),
            ("GET", "/fail", 500),
            ("GET", "/nowhere", 404),
            ("GET", "/static/nowhere.js", 404),
            ("PUT", "/song", 405),
        ],
    )
    async def test_replies_can_be_read(self, client: TestClient, method: str, path: str, status: int) -> None:
        """Every reply may be read by an allowed page, errors, unknown addresses and wrong methods included."""
        async with client.request(method, path, headers={"Origin": ORIGIN}) as reply:
            assert reply.status == status
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = reply.headers["Access-Control-Expose-Headers"].split(",")
        assert {"Content-Range", "ETag", "Location", "Retry-After", "X-Request-ID"} <= set(exposed)
        assert reply.headers["Vary"] == "Origin"

    @pytest.mark.parametrize(
        ("header", "value", "status"),
        [("Range", "bytes=999999-", 416), ("If-Match", '"v0"', 412), ("If-None-Match", '"v1"', 304)],
    )
    async def test_conditional_replies_can_be_read(
        self, client: TestClient, header: str, value: str, status: int
    ) -> None:
        """So may those to ranges and conditions."""
        async with client.get("/song", headers={"Origin": ORIGIN, header: value}) as reply:
            assert reply.status == status
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN

    @pytest.mark.parametrize("path", ["/song", "/fail", "/nowhere"])
    async def test_other_origins(self, client: TestClient, path: str) -> None:
        """Another origin gets no leave; a request without one gets none either, but caches learn that it matters."""
        for headers in ({"Origin": "http://evil.example"}, {}):
            async with client.get(path, headers=headers) as reply:
                assert "Access-Control-Allow-Origin" not in reply.headers
                assert reply.headers["Vary"] == "Origin"

    @pytest.mark.parametrize("origins", [("*",), ("http://a.example", "*")])
    async def test_star(self, parts: Parts, folder: Path, origins: tuple[str, ...]) -> None:
        """`*` allows every page, preflights and errors included."""
        async with served(make_app(parts, folder, origins)) as client:
            origin = {"Origin": "https://anywhere.example"}
            for path in ("/song", "/fail", "/nowhere"):
                async with client.get(path, headers=origin) as reply:
                    assert reply.headers["Access-Control-Allow-Origin"] == "https://anywhere.example"
            async with client.options("/song", headers=origin | {"Access-Control-Request-Method": "GET"}) as reply:
                assert reply.status == 200

    async def test_no_origins(self, parts: Parts, folder: Path) -> None:
        """Without allowed origins there is no CORS at all."""
        async with (
            served(make_app(parts, folder, ())) as client,
            client.get("/song", headers={"Origin": ORIGIN}) as reply,
        ):
            assert reply.status == 200
            assert "Access-Control-Allow-Origin" not in reply.headers


class TestEvents:
    async def test_stream(self, client: TestClient) -> None:
        """Each change is an event "job" whose id is the revision; the reply ends with the changes."""
        async with client.get("/events") as reply:
            text = (await reply.read()).decode()
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert reply.headers["X-Request-ID"]
        first, second, third = text.strip().split("\r\n\r\n")
        assert first.split("\r\n") == ["id: 1", "event: job", 'data: {"progress":1,"title":"Ö\\n\\r"}']
        assert [event.split("\r\n")[0] for event in (second, third)] == ["id: 2", "id: 3"]

    async def test_only_what_was_missed(self, client: TestClient) -> None:
        """A client that comes back names the last event it saw."""
        async with client.get("/events", headers={"Last-Event-ID": "2"}) as reply:
            assert (await reply.text()).startswith("id: 3\r\n")

    @pytest.mark.parametrize("value", ["", "-1", "x", "1.5", "9" * 5000, "²"])
    async def test_senseless_last_event(self, client: TestClient, value: str) -> None:
        """An id that we never sent counts as none."""
        request = f"GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {value}\r\nConnection: close\r\n\r\n"
        assert b"id: 1\r\n" in (await raw(client, request.encode())).body

    async def test_client_gone(self, client: TestClient, parts: Parts) -> None:
        """When the client goes, the changes are no longer watched."""
        async with client.get("/events?endless") as reply:
            assert await reply.content.readline() == b"id: 1\r\n"
            reply.close()
            await asyncio.wait_for(parts.closed.wait(), WAIT_SECONDS)

    async def test_shutdown(self, parts: Parts, folder: Path) -> None:
        """A server that stops ends its streams instead of waiting for their clients."""
        server = TestServer(make_app(parts, folder))
        await server.start_server()
        async with ClientSession() as session, session.get(server.make_url("/events?endless")) as reply:
            assert await reply.content.readline() == b"id: 1\r\n"
            await asyncio.wait_for(server.close(), WAIT_SECONDS)
            assert (await reply.read()).endswith(b"\r\n\r\n")
        assert parts.closed.is_set()

    async def test_failure_cuts_the_stream(self, client: TestClient, parts: Parts) -> None:
        """A failure in mid-stream cuts the connection: the client will come back and ask for the rest."""
        async with client.get("/events?fail") as reply:
            with pytest.raises((ClientPayloadError, ClientConnectionError)):
                await reply.read()
        assert parts.closed.is_set()


class TestPages:
    @pytest.mark.parametrize(
        ("path", "media_type", "text"),
        [
            ("/", "text/html; charset=utf-8", "<title>page</title>"),
            ("/static/app.js", "text/javascript; charset=utf-8", "export {}"),
            ("/static/style.css", "text/css; charset=utf-8", "body {}"),
            ("/static/vendor/hls.min.js", "text/javascript; charset=utf-8", "var Hls"),
            ("/static/demo/song.mp3", "audio/mpeg", "a song"),
        ],
    )
    async def test_files(self, client: TestClient, path: str, media_type: str, text: str) -> None:
        """The page and its files come with their type, and may load from this server only."""
        async with client.get(path) as reply:
            assert (reply.status, await reply.text()) == (200, text)
        assert reply.headers["Content-Type"] == media_type
        assert reply.headers["Referrer-Policy"] == "same-origin"
        policy = reply.headers["Content-Security-Policy"].split("; ")
        assert policy[:3] == ["default-src 'self'", "media-src 'self' blob:", "worker-src 'self' blob:"]
        assert not any("unsafe" in rule for rule in policy)

    async def test_etag(self, client: TestClient) -> None:
        """A browser that has the file is told so."""
        async with client.get("/static/app.js") as reply:
            tag = reply.headers["ETag"]
        async with client.get("/static/app.js", headers={"If-None-Match": tag}) as reply:
            assert (reply.status, reply.headers["Cache-Control"]) == (304, "no-cache")

    async def test_edited_file(self, client: TestClient, folder: Path) -> None:
        """A file edited while the server runs is served as it is now, and one that went is gone."""
        async with client.get("/static/app.js") as reply:
            tag = reply.headers["ETag"]
        (folder / "app.js").write_text("export 1")
        os.utime(folder / "app.js", (1, 1))
        async with client.get("/static/app.js", headers={"If-None-Match": tag}) as reply:
            assert (reply.status, await reply.text()) == (200, "export 1")
        (folder / "app.js").unlink()
        async with client.get("/static/app.js") as reply:
            await problem_of(reply, 404, "not-found")

    @pytest.mark.parametrize(
        "path", ["a" * 256, "vendor/" + "a" * 300 + ".js", "a" * 300 + "/app.js", "a/" * 3000 + "b"]
    )
    async def test_a_name_that_no_disk_takes(self, client: TestClient, path: str) -> None:
        """What is longer than a name or a path can be isn't there, as anything else that isn't."""
        async with client.get(f"/static/{path}") as reply:
            await problem_of(reply, 404, "not-found")

    async def test_a_link_to_itself(self, client: TestClient, folder: Path) -> None:
        """It leads to no file."""
        (folder / "round.js").symlink_to("round.js")
        async with client.get("/static/round.js") as reply:
            await problem_of(reply, 404, "not-found")

    async def test_what_is_missing(self, folder: Path) -> None:
        """Lines of HTML that need what isn't there are left out, and a browser that has them is told that it is new."""
        (folder / "index.html").write_text('<p>\n<a data-needs="one">1</a>\n<a data-needs="two">2</a>\n</p>\n')
        seen = []
        for missing in ((), ("two",)):
            app = web.Application()
            app.router.add_routes(Pages(folder, missing=missing).routes())
            async with served(app) as client, client.get("/") as reply:
                seen.append((await reply.text(), reply.headers["ETag"]))
        (whole, tag), (less, other_tag) = seen
        assert whole == (folder / "index.html").read_text()
        assert less == '<p>\n<a data-needs="one">1</a>\n</p>\n'
        assert tag != other_tag

    @pytest.mark.parametrize(
        "path",
        [
            "/static/../secret.txt",
            "/static/..%2fsecret.txt",
            "/static/%2e%2e/secret.txt",
            "/static/%2e%2e%2fsecret.txt",
            "/static/%252e%252e%252fsecret.txt",
            "/static/vendor/../../secret.txt",
            "/static/vendor/..%2f..%2fsecret.txt",
            "/static/..%5csecret.txt",
            "/static/..\\secret.txt",
            "/static//etc/passwd",
            "/static/%2fetc%2fpasswd",
            "/static/../static-secret/a.txt",
            "/static/./app.js/../../../secret.txt",
            "/static/link.txt",
            "/static/.hidden",
            "/static/%2ehidden",
            "/static/app.js%00.txt",
            "/static/app.js/",
            "/static/app.js/more",
            "/static/vendor",
            "/static/vendor/",
            "/static/",
            "/static",
            "/..%2fsecret.txt",
            "/static/app%2ejs/%2e%2e/%2e%2e/secret.txt",
        ],
    )
    async def test_no_way_out(self, client: TestClient, path: str) -> None:
        """No path leads out of the folder, to a hidden file or to a directory, however it is written."""
        request = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode()
        reply = await raw(client, request)
        assert reply.problem["status"] == 404
        assert b"secret" not in reply.body
        assert b"root:" not in reply.body


class TestRequests:
    async def test_ids(self, client: TestClient) -> None:
        """Each reply has an id of its own."""
        names = set()
        for _ in range(3):
            async with client.get("/song") as reply:
                names.add(reply.headers["X-Request-ID"])
        assert len(names) == 3

    @pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 64])
    async def test_id_of_the_client(self, client: TestClient, name: str) -> None:
        """A client may name its request, and finds the name in the problem."""
        async with client.get("/nowhere", headers={"X-Request-ID": name}) as reply:
            assert (await problem_of(reply, 404, "not-found"))["request_id"] == name

    @pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä", 'a"', "<b>", "a\tb"])
    async def test_bad_id_of_the_client(self, client: TestClient, name: str) -> None:
        """A name that could do harm in a log or a page is replaced."""
        async with client.get("/song", headers={"X-Request-ID": name}) as reply:
            assert reply.headers["X-Request-ID"] not in ("", name)

    @pytest.mark.parametrize(
        ("method", "path", "level", "status"),
        [
            ("GET", "/song", "debug", 200),
            ("HEAD", "/song", "debug", 200),
            ("GET", "/nowhere", "info", 404),
            ("POST", "/read", "info", 200),
            ("GET", "/static/%0afake", "info", 404),
        ],
    )
    async def test_log_line(self, client: TestClient, method: str, path: str, level: str, status: int) -> None:
        """One line for each request; a read that went well is for debugging only."""
        with structlog.testing.capture_logs() as lines:
            async with client.request(method, path) as reply:
                await reply.read()
        (line,) = [line for line in lines if line["event"] == "request"]
        assert (line["method"], line["status"], line["log_level"]) == (method, status, level)
        assert "\n" not in line["path"]
        assert line["ms"] >= 0
        assert line["bytes"] > 0

    async def test_origin(self, client: TestClient) -> None:
        """URLs in replies follow the public address, or else the one that the client used."""
        async with client.get("/origin") as reply:
            assert await reply.json() == {"origin": f"http://127.0.0.1:{client.port}"}
        async with client.get("/origin?public_url=https://audio.example.org/") as reply:
            assert await reply.json() == {"origin": "https://audio.example.org"}
        async with client.get("/origin", headers={"Host": "[::1]:8080"}) as reply:
            assert await reply.json() == {"origin": "http://[::1]:8080"}
        async with client.get("/origin", headers={"Host": 'a"><b>'}) as reply:
            await problem_of(reply, 400, "bad-request")

    @pytest.mark.parametrize(
        ("query", "status"),
        [("other=", 200), ("other=1", 200), ("other=&other=1", 200), ("other=1&other=2", 400), ("odd=1", 400)],
    )
    async def test_query(self, client: TestClient, query: str, status: int) -> None:
        """An empty parameter counts as absent; an unknown or repeated one is refused by name."""
        async with client.get(f"/origin?{query}") as reply:
            assert reply.status == status
            if status == 400:
                document = await problem_of(reply, 400, "bad-parameter")
                assert query.split("=", maxsplit=1)[0] in document["detail"]
