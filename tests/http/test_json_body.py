"""A request in JSON, received over HTTP by an application that does nothing else."""

import asyncio
import enum
import json
import math
import re
import socket
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator
from support.wire.ending import Ending
from support.wire.link import linked
from support.wire.messages import LAST_CHUNK, Reply, chunk, request_head

from streamsrv.errors import BadRequest, Problem
from streamsrv.web.json_body import JsonLimits, _read, read_json
from streamsrv.web.problems import answer_problems
from streamsrv.web.uploads import defer_continue

LIMITS = JsonLimits(max_bytes=100_000, idle_seconds=5)
JSON = "application/json"
WAIT_SECONDS = 5


class Kind(enum.StrEnum):
    FLAC = "flac"
    WAV = "wav"


class Clip(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    start: float = 0


class Order(BaseModel):
    """What the tests ask for. Strict and frozen, as a schema here is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    video_files: tuple[str, ...] = Field(min_length=1)
    track: int = Field(default=0, ge=0)
    format: Kind = Kind.FLAC
    clips: tuple[Clip, ...] = ()

    @field_validator("track")
    @classmethod
    def _no_odd_track(cls, value: int) -> int:
        if value == 13:
            raise ValueError("There is no thirteenth track.")
        return value


class Anything(BaseModel):
    value: Any


class Receiver(Ending):
    """The application: what it received, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = LIMITS
        self.order: Order | None = None
        self.app = web.Application()
        answer_problems(self.app)
        self.app.router.add_post("/", self._receive, expect_handler=defer_continue)

    async def _receive(self, request: web.Request) -> web.Response:
        with self.noted():
            self.order = await read_json(request, Order, limits=self.limits)
        return web.Response(text="received")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def client(receiver: Receiver) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(receiver.app)) as client:
        yield client


async def post(client: TestClient[Any, Any], body: Any, **headers: str) -> tuple[int, str]:
    """Post the body; returns the status and, of a problem, what it says."""
    headers = {"Content-Type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post("/", data=body, headers=headers) as reply:
        text = await reply.text()
        return reply.status, json.loads(text)["detail"] if reply.status >= 400 else text


async def detail_of(client: TestClient[Any, Any], body: bytes, slug: str = "bad-request") -> str:
    """Post what must be refused with 400; returns what the refusal says."""
    async with client.post("/", data=body, headers={"Content-Type": JSON}) as reply:
        problem = json.loads(await reply.read())
    assert (reply.status, problem["type"]) == (400, f"/problems/{slug}"), problem
    detail: str = problem["detail"]
    return detail


async def exchange(client: TestClient[Any, Any], *pieces: bytes) -> Reply:
    """Send pieces as they are, and return what comes back."""
    async with linked(client.port) as link:
        for piece in pieces:
            await link.write(piece)
        return await link.reply()


def head(length: int | None, *more: str) -> bytes:
    return request_head("POST", "/", length, *more, content_type=JSON)


class TestTaken:
    @pytest.mark.parametrize(
        "content_type",
        [JSON, "application/json; charset=utf-8", "Application/JSON", "application/vnd.audio+json", "text/x+json"],
    )
    async def test_whole(self, client: TestClient[Any, Any], receiver: Receiver, content_type: str) -> None:
        """A JSON object becomes the model, by the rules of JSON: strict, with lists as tuples and names as choices."""
        body = '{"video_files": ["ö.mp4", "b"], "track": 2, "format": "wav", "clips": [{"start": 1}]}'.encode()
        assert await post(client, body, Content_Type=content_type) == (200, "received")
        assert receiver.order == Order(video_files=("ö.mp4", "b"), track=2, format=Kind.WAV, clips=(Clip(start=1.0),))

    async def test_byte_order_mark(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A mark at the beginning, which some clients send, is ignored."""
        assert (await post(client, b'\xef\xbb\xbf{"video_files": ["a"]}'))[0] == 200

    async def test_in_pieces(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A chunked body is taken whole, wherever it is cut."""
        body = '{"video_files": ["ö"]}'.encode()
        chunks = [chunk(body[at : at + 1]) for at in range(len(body))]
        reply = await exchange(client, head(None), *chunks, LAST_CHUNK)
        assert (reply.status, reply.body) == (200, b"received")
        assert receiver.order == Order(video_files=("ö",))

    async def test_large(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A body of just the size that is allowed is taken."""
        empty = b'{"video_files": [""]}'
        assert (await post(client, empty.replace(b'""', b'"%b"' % (b"x" * (100_000 - len(empty))))))[0] == 200

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="utf-8")),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
            max_leaves=20,
        )
    )
    def test_any_json(self, value: Any) -> None:
        """Whatever JSON can say comes through as it was, in either spelling of what isn't ASCII."""
        for ascii_only in (True, False):
            body = json.dumps({"value": value}, ensure_ascii=ascii_only).encode()
            assert _read(body, Anything).value == value

    @given(st.binary(max_size=60) | st.text('{}[]",:\\u0123dDe \n-NaI').map(str.encode))
    @example(b"{}")
    def test_any_bytes(self, body: bytes) -> None:
        """Whatever is sent is taken or refused in words, behind the name of what is wrong if that has one."""
        refused = None
        try:
            _read(body, Anything)
        except BadRequest as problem:
            refused = problem
        assert refused is None or re.fullmatch(r"(value: )?[A-Z].*\.", refused.detail, re.DOTALL)


class TestHeaders:
    @pytest.mark.parametrize(
        "content_type", ["application/x-www-form-urlencoded", "text/plain", "json", "multipart/form-data; boundary=a"]
    )
    async def test_wrong_type(self, client: TestClient[Any, Any], content_type: str) -> None:
        """What isn't called JSON is refused, with what has to be added."""
        status, detail = await post(client, b'{"video_files": ["a"]}', Content_Type=content_type)
        assert status == 415
        assert '-H "Content-Type: application/json"' in detail

    async def test_no_type(self, client: TestClient[Any, Any]) -> None:
        """The same holds where no type is named."""
        reply = await exchange(client, request_head("POST", "/", 2, content_type=None), b"{}")
        assert reply.status == 415

    async def test_encoding(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A compressed body is refused before it is unpacked."""
        status, detail = await post(client, zlib.compress(b'{"video_files": ["a"]}'), Content_Encoding="deflate")
        assert status == 415
        assert "Content-Encoding" in detail

    @pytest.mark.parametrize(
        ("length", "more", "status"), [(22, (), 100), (100_001, (), 413), (22, ("Content-Encoding: gzip",), 415)]
    )
    async def test_invitation(
        self, client: TestClient[Any, Any], length: int, more: tuple[str, ...], status: int
    ) -> None:
        """A client that waits to be asked is asked, or refused before it has sent anything."""
        async with linked(client.port) as link:
            await link.write(head(length, "Expect: 100-continue", *more))
            assert (await link.reply()).status == status
            if status == 100:
                await link.write(b'{"video_files": ["a"]}')
                reply = await link.reply()
                assert (reply.status, reply.body) == (200, b"received")


class TestSize:
    async def test_announced(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A body that is announced as too large is refused unread."""
        reply = await exchange(client, head(100_001))
        assert reply.status == 413
        assert "100000 bytes" in reply.detail

    async def test_unannounced(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A body that doesn't say how large it is gets refused at the first byte too many, though it never ends."""
        assert (await exchange(client, head(None), chunk(b" " * 100_001))).status == 413

    @pytest.mark.parametrize(
        "body", [b'{"video_files": [%b""]}' % (b'"",' * 30_000), b'{"clips": [%b{}]}' % (b"{}," * 30_000)]
    )
    async def test_too_many_values(self, client: TestClient[Any, Any], body: bytes) -> None:
        """A small body of very many values is refused before it takes a hundred times its size in memory."""
        status, detail = await post(client, body)
        assert status == 413
        assert "50000" in detail


class TestPatience:
    async def test_stalled(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A body that stops is ended."""
        receiver.limits = replace(LIMITS, idle_seconds=0.1)
        reply = await exchange(client, head(22), b'{"video')
        assert reply.status == 408
        assert "No byte came for 0.1 seconds." in reply.detail

    async def test_too_slow(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """A body that never stops and never gets anywhere is ended, too."""
        receiver.limits = replace(LIMITS, min_bytes_per_second=1000, grace_seconds=0.2)
        async with linked(client.port) as link:
            await link.post("/", b" " * 90_000, content_type=JSON)
            await link.send_slowly(1, until=receiver.done.is_set)
            reply = await link.reply()
        assert reply.status == 408
        assert "slower than 1000 bytes per second" in reply.detail

    async def test_client_gone(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """Where the client leaves in the middle, the request ends at once."""
        with socket.create_connection(("127.0.0.1", client.port)) as link:
            link.sendall(head(22) + b'{"video')
        async with asyncio.timeout(WAIT_SECONDS):
            await receiver.done.wait()
        assert isinstance(receiver.error, ConnectionError | asyncio.CancelledError)
        assert receiver.order is None

    async def test_broken_framing(self, client: TestClient[Any, Any], receiver: Receiver) -> None:
        """Chunks that aren't chunks are the client's fault."""
        reply = await exchange(client, head(None), chunk(b"{}"), b"nonsense\r\n")
        assert reply.status == 400


class TestNoJson:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", "The body is empty"),
            (b" \r\n\t", "The body is empty"),
            (b"{", "line 1, column 2: expecting property name enclosed in double quotes."),
            (b"video_files=a", "line 1, column 1: expecting value."),
            (b'{"video_files": ["a"],\n "track": }', "line 2, column 11: expecting value."),
            (b"{'video_files': []}", "line 1, column 2: expecting property name"),
            (b'{"video_files": ["a"]} {}', "line 1, column 24: extra data."),
            (b'{"video_files": ["a]}', "line 1, column 18: unterminated string."),
            (b'{"video_files": ["a\\', "line 1, column 18: unterminated string."),
            (b'{"video_files": ["a\n"]}', "line 1, column 20: invalid control character."),
            (b'{"video_files": ["\\x"]}', "line 1, column 19: invalid \\escape."),
            (b'{"video_files": ["\xe9"]}', "isn't UTF-8 from byte 18 on."),
            ('{"video_files": ["a"]}'.encode("utf-16"), "isn't UTF-8 from byte 0 on."),
            (b'{"video_files": ["\\ud800"]}', "line 1 column 25"),
            (b'{"track": NaN}', "it has no NaN."),
            (b'{"clips": [{"start": -Infinity}]}', "it has no -Infinity."),
            (b'{"clips": [{"start": 1e999}]}', "a number that is too large: 1e999."),
            (b'{"track": ' + b"9" * 5000 + b"}", "a number that is too long."),
            (b'{"track": 1, "track": 2}', "the name 'track' twice"),
            (b'{"clips": [{"start": 1, "st\\u0061rt": 2}]}', "the name 'start' twice"),
            (b'{"\\ud800": 1, "\\ud800": 2}', "the name '\\ud800' twice"),
            (b'["a"]', "must be a JSON object"),
            (b'"a"', "must be a JSON object"),
            (b"null", "must be a JSON object"),
            (b'{"a":\n' + b"[" * 90_000, "more than 32 deep at line 2, column 32."),
            (b'{"a":' * 15_000, "more than 32 deep at line 1, column 161."),
        ],
    )
    async def test_refused(self, client: TestClient[Any, Any], body: bytes, said: str) -> None:
        """What isn't JSON, or what two readers may take for different things, is refused in words, with its place."""
        assert said in await detail_of(client, body)

    async def test_brackets_in_strings(self, client: TestClient[Any, Any]) -> None:
        """What stands in a string doesn't nest."""
        assert (await post(client, json.dumps({"video_files": ['"\\[{' * 1000]}).encode()))[0] == 200


class TestModel:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({}, "video_files: Field required."),
            ({"video_files": ["a", "b", "c", 4]}, "video_files.3: Input should be a valid string."),
            ({"video_files": "a"}, "video_files: Input should be a valid array."),
            ({"video_files": ["a"], "track": "1"}, "track: Input should be a valid integer."),
            ({"video_files": ["a"], "track": -1}, "track: Input should be greater than or equal to 0."),
            ({"video_files": ["a"], "track": 13}, "track: There is no thirteenth track."),
            ({"video_files": ["a"], "format": "mp5"}, "format: Input should be 'flac' or 'wav'."),
            ({"video_files": ["a"], "clips": [{"start": None}]}, "clips.0.start: Input should be a valid number."),
            (
                {"video_files": ["a"], "trak": 1, "Format": "wav"},
                "There is no field trak, Format here. There are: video_files, track, format, clips.",
            ),
            ({"video_files": ["a"], "clips": [{"end": 1}]}, "There is no field clips.0.end here."),
            ({"video_files": ["a"], "x" * 5000: 1}, f"There is no field {'x' * 40} here. There are: video_files, "),
        ],
    )
    async def test_refused(self, client: TestClient[Any, Any], body: dict[str, Any], said: str) -> None:
        """What the model doesn't take is refused with the field's name and what is possible."""
        detail = await detail_of(client, json.dumps(body).encode(), "bad-parameter")
        assert detail.startswith(said)
        assert "http" not in detail

    async def test_many_mistakes(self, client: TestClient[Any, Any]) -> None:
        """Of many mistakes the first is named, and of many unknown fields a few."""
        body = {"video_files": [1] * 1000}
        assert await detail_of(client, json.dumps(body).encode(), "bad-parameter") == (
            "video_files.0: Input should be a valid string."
        )
        unknown = {f"x{number}": 1 for number in range(1000)}
        detail = await detail_of(client, json.dumps(unknown).encode(), "bad-parameter")
        assert detail.startswith("There is no field x0, x1, x2, x3, x4 here. There are: video_files")


def test_numbers_stay_finite() -> None:
    """The largest number that there is comes through."""
    assert math.isfinite(_read(b'{"value": 1.7976931348623157e308}', Anything).value)
    with pytest.raises(Problem):
        _read(b'{"value": 1.8e308}', Anything)
