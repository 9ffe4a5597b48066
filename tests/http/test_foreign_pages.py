"""What web pages of others may ask of the server: nothing, whatever the browser that shows them adds to a request."""

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from support.wire.link import linked, read
from support.wire.messages import Reply

Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]

ALLOWED = "http://localhost:5176"
EVIL = "http://evil.example"
JOBS = "/v1/stream/jobs"
NO_JOB = "/v1/stream/job/550e8400-e29b-41d4-a716-446655440000"
SOUND = "/static/demo/song.mp3"
REMOVE = f"/apiv1/remove/{'a' * 64}/drums"
SERVER = {"public_url": "https://audio.example.org", "hosts_allowed": ["Music.lan", "*.SVC.cluster.local"]}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"}
# What browsers add where the address is that of a page, of a picture, and of what a script asks for.
LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FRAME = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
PICTURE = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


async def asked(client: Client, method: str, path: str, headers: dict[str, str]) -> Reply:
    async with client.request(method, path, headers=headers) as reply:
        return await read(reply)


async def sent(client: Client, request: str) -> Reply:
    """Send a request as it is, which asks for the end of the connection."""
    async with linked(client.port) as link:
        await link.write(request.replace("\n", "\r\n").encode())
        return Reply(*await link.head(), await link.rest())


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            *("127.0.0.1", "127.0.0.1:9", "[::1]:8080", "192.168.1.5", "[fd00::5]", "[::ffff:127.0.0.1]"),
            *("0.0.0.0:8080", "[::]", "localhost", "LOCALHOST:8080", "localhost.", "app.localhost"),
            *("nas", "NAS:8080", "nas.", "my_nas", "2130706433"),
            *("audio.example.org", "Audio.Example.org:8443", "music.lan:8080"),
            *("audio.svc.cluster.local", "streamsrv.default.svc.Cluster.local:8080"),
        ],
    )
    async def test_its_own(self, start: Start, host: str) -> None:
        """Addresses, localhost, names without a dot, the public address's and allowed ones are good, by any port."""
        client = await start(server=SERVER)
        assert (await asked(client, "GET", JOBS, {"Host": host})).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "x.ylocalhost"),
            *("audio.example.org.evil.example", "127.1", "svc.cluster.local", "a.svc.cluster.local.evil.example"),
            *("asvc.cluster.local", "music.lan.evil.example", "xmusic.lan", ".", "[dead]"),
        ],
    )
    @pytest.mark.parametrize(
        ("method", "path"), [("GET", JOBS), ("GET", "/"), ("GET", "/health"), ("DELETE", NO_JOB), ("OPTIONS", JOBS)]
    )
    async def test_others(self, start: Start, host: str, method: str, path: str) -> None:
        """By another name nothing is answered, be it harmless: 421 says what to set."""
        client = await start(server=SERVER)
        reply = await asked(client, method, path, {"Host": host, "Origin": f"http://{host}"})
        assert (reply.status, reply.problem["type"]) == (421, "/problems/misdirected")
        assert "server.hosts_allowed" in reply.detail
        assert "server.public_url" in reply.detail
        assert "Access-Control-Allow-Origin" not in reply.headers

    @pytest.mark.parametrize("host", ["", " ", "a b", "a/b", "[::1", "me@localhost", "localhost:x", "ä", "localhost,a"])
    async def test_what_is_no_host(self, start: Start, host: str) -> None:
        """A Host that is none is 400."""
        reply = await sent(await start(), f"GET / HTTP/1.1\nHost: {host}\nConnection: close\n\n")
        assert reply.status == 400

    async def test_two_hosts(self, start: Start) -> None:
        """Two of them are 400, be they the same."""
        reply = await sent(await start(), "GET / HTTP/1.1\nHost: localhost\nhost: localhost\nConnection: close\n\n")
        assert reply.status == 400

    async def test_no_host(self, start: Start) -> None:
        """HTTP/1.0, which no browser speaks, needs none; HTTP/1.1 does."""
        client = await start()
        assert (await sent(client, "GET / HTTP/1.0\n\n")).status == 200
        assert (await sent(client, "GET / HTTP/1.1\nConnection: close\n\n")).status == 400

    async def test_a_whole_address(self, start: Start) -> None:
        """Where the first line has a host, as proxies are sent it, that one counts (RFC 9112 section 3.2.2)."""
        client, more = await start(), "HTTP/1.1\nHost: localhost\nConnection: close\n\n"
        assert (await sent(client, f"GET http://evil.example{JOBS} {more}")).status == 421
        assert (await sent(client, f"GET http://localhost:9{JOBS} {more}")).status == 200

    async def test_all(self, start: Start) -> None:
        """Who sets * is called by any name."""
        client = await start(server={"hosts_allowed": ["*"]})
        assert (await asked(client, "GET", JOBS, {"Host": "any.example"})).status == 200

    async def test_the_machine(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server goes by its machine's names."""
        monkeypatch.setattr("socket.gethostname", lambda: "box.example.org")
        client = await start()
        told = {"box:8080": 200, "box.local": 200, "Box.example.org": 200, "box.evil.example": 421, "example.org": 421}
        for host, status in told.items():
            assert (await asked(client, "GET", JOBS, {"Host": host})).status == status


class TestChanges:
    @pytest.mark.parametrize(
        "origin", [ALLOWED, "http://localhost:3000", "https://audio.example.org", "http://{host}", "https://{host}"]
    )
    async def test_good_origins(self, start: Start, origin: str) -> None:
        """Its own page, by whichever address, and pages of allowed origins may change things."""
        client = await start(server=SERVER)
        headers = {"Origin": origin.format(host=f"127.0.0.1:{client.port}")}
        assert (await asked(client, "DELETE", NO_JOB, headers)).status == 404
        assert (await asked(client, "DELETE", NO_JOB, headers | {"Sec-Fetch-Site": "cross-site"})).status == 404

    @pytest.mark.parametrize(
        "origin",
        [
            EVIL,
            "null",
            "",
            "http://localhost:5177",
            "http://127.0.0.1",
            "https://localhost:5176",
            "file://",
            "x" * 5000,
        ],
    )
    async def test_foreign_origins(self, start: Start, origin: str) -> None:
        """A page of another origin, or of one that it hides, is refused in words, whatever it sends."""
        client = await start(server=SERVER)
        for method, path in (("DELETE", NO_JOB), ("POST", "/extract_audio"), ("PUT", JOBS), ("POST", "/nowhere")):
            reply = await asked(client, method, path, {"Origin": origin})
            assert (reply.status, reply.problem["type"]) == (403, "/problems/foreign-page")
            assert "ALLOWED_ORIGINS" in reply.detail
            assert len(reply.detail) < 300

    async def test_nothing_comes_of_it(self, start: Start) -> None:
        """A form that a foreign page sends makes no job, and is refused before its file."""
        client = await start()
        form = FormData({"quality_profile": "low"})
        form.add_field("file", io.BytesIO(bytes(1 << 20)), filename="a.wav")
        async with client.post("/v1/stream/transcode", data=form, headers={"Origin": EVIL}) as reply:
            assert (reply.status, reply.headers["Connection"]) == (403, "close")
        assert (await asked(client, "GET", JOBS, {})).document["jobs"] == []

    async def test_a_browser_says_where_it_comes_from(self, start: Start) -> None:
        """Behind a proxy that hides the server's name, what the browser itself says of its page is enough."""
        client, headers = await start(), {"Origin": "https://audio.example.org"}
        assert (await asked(client, "DELETE", NO_JOB, headers)).status == 403
        assert (await asked(client, "DELETE", NO_JOB, headers | {"Sec-Fetch-Site": "same-origin"})).status == 404

    async def test_programs(self, start: Start) -> None:
        """Who sends neither an Origin nor what a browser adds is no page: curl may do all."""
        client = await start()
        assert (await asked(client, "DELETE", NO_JOB, {})).status == 404
        assert (await asked(client, "DELETE", NO_JOB, {"Referer": f"{EVIL}/redirect"})).status == 404

    async def test_all_origins(self, start: Start) -> None:
        """Who allows all pages has them all in."""
        client = await start(server={"allowed_origins": ["*"]})
        for origin in (EVIL, "null"):
            headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
            assert (await asked(client, "DELETE", NO_JOB, headers)).status == 404


class TestReads:
    @pytest.mark.parametrize(
        "headers",
        [
            *(
                {"Sec-Fetch-Site": site, **more}
                for site in ("cross-site", "odd")
                for more in (FRAME, PICTURE, SCRIPT, {})
            ),
            *({"Sec-Fetch-Site": "cross-site", by: f"{EVIL}/"} for by in ("Referer", "Origin")),
            *({"Sec-Fetch-Site": "same-site", by: "http://localhost:5177"} for by in ("Referer", "Origin")),
            *({"Origin": origin} for origin in (EVIL, "null", "http://localhost:5177", "")),
            {"Origin": EVIL, "Sec-Fetch-Site": "none"},
        ],
    )
    async def test_foreign_pages(self, start: Start, headers: dict[str, str]) -> None:
        """A page of another origin reads nothing: no list, no sound, no page of ours, as a picture or in a frame."""
        client = await start()
        for path in (
            JOBS,
            NO_JOB,
            f"{NO_JOB}/events",
            "/v1/formats",
            f"/apiv1/track/{'a' * 64}/vocals.mp3",
            "/nowhere",
            "/",
            "/static/main.js",
        ):
            reply = await asked(client, "GET", path, headers)
            assert (reply.status, reply.problem["type"]) == (403, "/problems/foreign-page")

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("more", [LINK, FRAME, PICTURE, SCRIPT, {"Origin": EVIL}])
    async def test_the_health_is_for_everybody(self, start: Start, method: str, more: dict[str, str]) -> None:
        """Whoever asks for the health is answered."""
        reply = await asked(await start(), method, "/health", {"Sec-Fetch-Site": "cross-site", **more})
        assert (reply.status, reply.headers["Cross-Origin-Resource-Policy"]) == (200, "same-site")

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
    async def test_links(self, start: Start, site: str) -> None:
        """A link on another's page leads to whatever is only read, as an address that somebody types."""
        client = await start()
        for path in (JOBS, "/"):
            assert (await asked(client, "GET", path, {"Sec-Fetch-Site": site, **LINK})).status == 200

    @pytest.mark.parametrize(
        "more",
        [{}, {"Sec-Fetch-Site": "same-origin", **SCRIPT}, {"Sec-Fetch-Site": "none"}, BROWSER, {"Referer": EVIL}],
    )
    async def test_its_own_page_and_programs(self, start: Start, more: dict[str, str]) -> None:
        """Its own page reads all, and so do programs, and browsers that say nothing, whose pages can't read replies."""
        assert (await asked(await start(), "GET", JOBS, more)).status == 200

    async def test_elements_beside_it(self, start: Start) -> None:
        """An element of a page of the same site may read where its page hides itself: it may be an allowed one."""
        assert (await asked(await start(), "GET", JOBS, {"Sec-Fetch-Site": "same-site", **PICTURE})).status == 200

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    @pytest.mark.parametrize("by", [{"Origin": ALLOWED, **SCRIPT}, {"Referer": f"{ALLOWED}/", **PICTURE}])
    async def test_allowed_pages(self, start: Start, site: str, by: dict[str, str]) -> None:
        """A page of an allowed origin reads by scripts, and plays by its elements, of which a Referer alone tells."""
        reply = await asked(await start(), "GET", JOBS, {"Sec-Fetch-Site": site, **by})
        assert (reply.status, reply.headers["Cross-Origin-Resource-Policy"]) == (200, "same-site")
        assert reply.headers.get("Access-Control-Allow-Origin") == by.get("Origin")

    @pytest.mark.parametrize(
        "referer", [f"{ALLOWED}.evil.example/", f"{EVIL}/{ALLOWED}", "http://[", f"{ALLOWED}@evil/"]
    )
    async def test_no_allowed_page(self, start: Start, referer: str) -> None:
        """A Referer that only looks like an allowed page is none."""
        headers = {"Sec-Fetch-Site": "cross-site", "Referer": referer, **PICTURE}
        assert (await asked(await start(), "GET", JOBS, headers)).status == 403

    async def test_allowed_preflights(self, start: Start) -> None:
        """What a browser asks before it sends is answered as ever: yes to allowed pages, 403 to others."""
        client = await start()
        asks = {"Access-Control-Request-Method": "DELETE", "Sec-Fetch-Site": "cross-site", **SCRIPT}
        assert (await asked(client, "OPTIONS", NO_JOB, {"Origin": ALLOWED, **asks})).status == 200
        assert (await asked(client, "OPTIONS", NO_JOB, {"Origin": EVIL, **asks})).status == 403


class TestMedia:
    """Here a file of the page's stands for what was made: it is sound, and so is its type."""

    @pytest.mark.parametrize(
        ("headers", "policy"),
        [
            ({}, "same-site"),
            ({"Sec-Fetch-Site": "same-origin", **PICTURE}, "same-site"),
            ({"Referer": f"{ALLOWED}/", "Sec-Fetch-Site": "cross-site", **PICTURE}, "cross-origin"),
            ({"Referer": f"{ALLOWED}/", **BROWSER}, "cross-origin"),
            ({"Referer": f"{EVIL}/", **BROWSER}, "same-site"),
        ],
    )
    async def test_pages_of_this_machine(self, start: Start, headers: dict[str, str], policy: str) -> None:
        """Pages of localhost, which are allowed unless others are named, play it from another site when they say so."""
        reply = await asked(await start(), "GET", SOUND, headers)
        assert (reply.status, reply.headers["Cross-Origin-Resource-Policy"]) == (200, policy)

    @pytest.mark.parametrize(
        ("headers", "policy"),
        [
            ({}, "cross-origin"),
            ({"Referer": "https://app.example/", "Sec-Fetch-Site": "cross-site"}, "cross-origin"),
            ({"Referer": f"{EVIL}/"}, "same-site"),
            (BROWSER, "same-site"),
            ({"Sec-Fetch-Site": "same-origin"}, "same-site"),
        ],
    )
    async def test_pages_of_another_site(self, start: Start, headers: dict[str, str], policy: str) -> None:
        """Where another site's pages are allowed it is theirs, too, but no browser's that doesn't name its page."""
        client = await start(server={"allowed_origins": ["https://app.example"]})
        reply = await asked(client, "GET", SOUND, headers)
        assert (reply.status, reply.headers["Cross-Origin-Resource-Policy"]) == (200, policy)
        known = await asked(client, "GET", SOUND, headers | {"If-None-Match": reply.headers["ETag"]})
        assert (known.status, known.headers["Cross-Origin-Resource-Policy"]) == (304, policy)
        other = await asked(client, "GET", "/static/main.js", headers)
        assert other.headers["Cross-Origin-Resource-Policy"] == "same-site"


class TestRemovingByGet:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site", **LINK},
            {"Sec-Fetch-Site": "cross-site", **PICTURE},
            {"Sec-Fetch-Site": "same-site", "Referer": "http://localhost:5177/", **PICTURE},
            {"Origin": EVIL},
            {"Origin": EVIL, "Sec-Fetch-Site": "none"},
        ],
    )
    async def test_foreign_pages(self, start: Start, headers: dict[str, str]) -> None:
        """The documented GET that removes a track is for no foreign page, not even by a link."""
        assert (await asked(await start(), "GET", REMOVE, headers)).status == 403

    @pytest.mark.parametrize(
        "headers",
        [
            BROWSER,
            {"User-Agent": "Opera/9.80 (X11; Linux x86_64)"},
            {"Accept": "image/avif,image/webp,*/*;q=0.8"},
            {"Accept": "text/html,application/xhtml+xml"},
            {"Referer": f"{EVIL}/"},
        ],
    )
    async def test_browsers_that_say_nothing(self, start: Start, headers: dict[str, str]) -> None:
        """A browser that doesn't say which page asks, as to plain http on a network, is told to send DELETE instead."""
        client = await start()
        reply = await asked(client, "GET", REMOVE, headers)
        assert (reply.status, reply.problem["type"]) == (403, "/problems/foreign-page")
        assert "DELETE" in reply.detail
        assert (await asked(client, "DELETE", REMOVE, headers)).status == 404

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Sec-Fetch-Site": "none", **LINK},
            {"Sec-Fetch-Site": "same-origin", **SCRIPT},
            {"Origin": ALLOWED, "Sec-Fetch-Site": "same-site", **SCRIPT},
            {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
            {"User-Agent": "VLC/3.0.20 LibVLC/3.0.20", "Accept": "*/*"},
            {"Accept": "application/json"},
            {"Referer": f"{ALLOWED}/page", **BROWSER},
            {"Referer": "http://{host}/", **BROWSER},
        ],
    )
    async def test_others(self, start: Start, headers: dict[str, str]) -> None:
        """Programs, who types the address, its own page and allowed ones are told whether there is such a track."""
        client = await start()
        told = {name: value.format(host=f"127.0.0.1:{client.port}") for name, value in headers.items()}
        assert (await asked(client, "GET", REMOVE, told)).status == 404


class TestReplies:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/", 200),
            ("GET", "/static/main.js", 200),
            ("GET", "/health", 200),
            ("GET", JOBS, 200),
            ("OPTIONS", JOBS, 204),
            ("GET", NO_JOB, 404),
            ("GET", "/nowhere", 404),
            ("PUT", JOBS, 405),
            ("POST", "/convert", 415),
        ],
    )
    async def test_every_reply_is_isolated(self, start: Start, method: str, path: str, status: int) -> None:
        """Each reply is what its type says, and for this site alone; caches learn what that depends on."""
        reply = await asked(await start(), method, path, {})
        assert reply.status == status
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Server"] == "streamsrv"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-site"
        assert {"Origin", "Referer, Sec-Fetch-Site"} == set(reply.headers.getall("Vary"))

    async def test_refusals_are_isolated(self, start: Start) -> None:
        """So are those that never came to a handler, an unknown Expect among them."""
        client = await start()
        for headers, status in (({"Host": "evil.example"}, 421), ({"Origin": EVIL}, 403), ({"Expect": "wonders"}, 417)):
            reply = await asked(client, "DELETE", NO_JOB, headers)
            assert reply.status == status
            assert reply.headers["Server"] == "streamsrv"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Cross-Origin-Resource-Policy"] == "same-site"
