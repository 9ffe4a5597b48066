"""Forms of any shape, on the real application: however they are cut and whatever the file is called, one result."""

import asyncio
import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from aiohttp.test_utils import TestServer
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support.deadline import eventually
from support.sound import tone
from support.traces.files import below
from support.wire.link import linked
from support.wire.messages import LAST_CHUNK, Reply, chunk, closed, file_part, request_head, text_part

from streamsrv.app import create_app
from streamsrv.config import load_config
from streamsrv.media.tools import find_tools

OPTIONS = {"format": "wav", "sample_rate": "11025", "channels": "2", "start": "0.05", "metadata": "drop"}
# What the part's headers may have (web/multipart), with the line ends around them.
MOST_HEAD_BYTES = 4096
GONE_SECONDS = 10.0
# Each example is a conversion: to look for a smaller one that fails would take minutes.
WITHOUT_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]
HEADER = re.compile(
    r'attachment; filename="([ !#-\[\]-~]*)"; filename\*=UTF-8\'\'((?:%[0-9A-F]{2}|[A-Za-z0-9!#$&+.^_`|~-])*)'
)


@dataclass(frozen=True)
class Service:
    """The application, and an event loop in which it and its clients run for as long as one of them is asked."""

    runner: asyncio.Runner
    port: int
    data: Path

    def send(self, pieces: Sequence[bytes], *, chunked: bool = False, query: str = "") -> Reply:
        """Send a form in these pieces and give the reply, once nothing is left of the conversion."""
        return self.runner.run(self._send(pieces, chunked, query))

    async def _send(self, pieces: Sequence[bytes], chunked: bool, query: str) -> Reply:
        length = None if chunked else sum(map(len, pieces))
        async with linked(self.port) as link:
            await link.write(request_head("POST", f"/convert{query}", length))
            for piece in pieces:
                await link.write(chunk(piece) if chunked else piece)
                await asyncio.sleep(0)
            await link.write(LAST_CHUNK if chunked else b"")
            reply = await link.reply()
        await eventually(lambda: not self._left(), seconds=GONE_SECONDS, what=self._left)
        return reply

    def _left(self) -> list[Path]:
        return [path for name in ("spool", "scratch") for path in below(self.data / name)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("forms") / "data"
    data.mkdir()
    with asyncio.Runner() as runner:
        server = runner.run(started(data))
        assert server.port is not None
        yield Service(runner, server.port, data)
        runner.run(server.close())


async def started(data: Path) -> TestServer:
    # Many small files: without a sandbox each is a little faster.
    config = load_config(flags={"server": {"data_dir": data}, "ffmpeg": {"sandbox": "off"}})
    server = TestServer(create_app(config, await find_tools("ffmpeg", "ffprobe", "off")))
    await server.start_server()
    return server


class Sound:
    """A file, and what becomes of it by OPTIONS. No dataclass: hypothesis would print every byte of it."""

    def __init__(self, data: bytes, made: bytes) -> None:
        self.data = data
        self.made = made


@pytest.fixture(scope="module")
def sounds(service: Service, tmp_path_factory: pytest.TempPathFactory) -> list[Sound]:
    """One that is too short to be encoded while it arrives, and one that is, format first."""
    folder, found = tmp_path_factory.mktemp("sound"), []
    for name, seconds, rate in (("short.wav", 0.2, 8000), ("longer.wav", 25.0, 44100)):
        data = tone(folder / name, seconds=seconds, rate=rate, channels=1).read_bytes()
        texts = [text_part(*option) for option in OPTIONS.items()]
        answer = service.send([closed(*texts, file_part("a.wav", data))])
        assert answer.status == 200, answer.body
        found.append(Sound(data, answer.body))
    assert len(found[0].data) < 64 << 10 < 2 << 20 < len(found[1].data)
    return found


@settings(max_examples=12, deadline=None, phases=WITHOUT_SHRINKING)
@given(
    longer=st.booleans(),
    order=st.permutations([*OPTIONS, "file"]),
    in_query=st.sets(st.sampled_from(list(OPTIONS))),
    cuts=st.lists(st.integers(0, 700) | st.integers(-700, -1) | st.integers(0, 80_000), max_size=15),
    chunked=st.booleans(),
)
def test_any_cut_and_any_order_give_the_same_file(
    service: Service,
    sounds: list[Sound],
    longer: bool,
    order: list[str],
    in_query: set[str],
    cuts: list[int],
    chunked: bool,
) -> None:
    """However the body is cut and wherever each option stands, the same bytes come back."""
    sound = sounds[longer]
    parts = {name: text_part(name, text) for name, text in OPTIONS.items() if name not in in_query}
    parts["file"] = file_part("a.wav", sound.data)
    body = closed(*(parts[name] for name in order if name in parts))
    edges = [0, *sorted(cut % len(body) for cut in cuts), len(body)]
    query = "&".join(f"{name}={OPTIONS[name]}" for name in in_query)
    answer = service.send([body[a:b] for a, b in itertools.pairwise(edges)], chunked=chunked, query=f"?{query}")
    assert (answer.status, answer.body == sound.made) == (200, True), answer.body[:300]


def as_browsers_write(name: str) -> bytes:
    """The WHATWG's rule for names in forms: what would end the quoted string is percent-encoded, all else is sent."""
    for letter in '\n\r"':
        name = name.replace(letter, f"%{ord(letter):02X}")
    return name.encode()


def as_curl_writes(name: str) -> bytes:
    """With backslashes, as RFC 9110 quotes; a line end can't be written so."""
    return re.sub(r'(["\\])', r"\\\1", re.sub(r"[\r\n]", " ", name)).encode()


def is_utf8(name: bytes) -> bool:
    return name.decode(errors="ignore").encode() == name


LETTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u202e\u2066\u200f\r\n\t\0\x7f/\\\";=%'?*. é日🎵")
NAMES = (
    st.text(LETTERS, max_size=60).map(as_browsers_write)
    | st.text(LETTERS, max_size=60).map(as_curl_writes)
    | st.binary(max_size=80).map(lambda name: re.sub(rb'[\r\n"\\]', b"", name))
    | st.builds(
        lambda letter, count: (letter * count).encode(),
        LETTERS.filter(lambda a: a not in '\r\n"\\'),
        st.integers(200, 10_000),
    )
)


@settings(max_examples=12, deadline=None, phases=WITHOUT_SHRINKING)
@example(name=b"")
@example(name=b"../../etc/passwd.wav")
@example(name=as_browsers_write('a"b\r\nSet-Cookie: c\\d.wav'))
@example(name="evil\u202evaw.exe".encode())
@example(name=b"\xff\xfe\x80.wav")
@example(name=b"J\xf3ga.wav")
@example(name=b"x" * 10_000)
@example(name=b"x" * 3000 + b".wav")
@example(name="é日🎵.wav".encode())
@example(name=b"=?utf-8?q?a=0D=0Ab?=.wav")
@given(name=NAMES)
def test_any_file_name_gives_the_same_file_and_a_legal_header(
    service: Service, sounds: list[Sound], name: bytes
) -> None:
    """Whatever a file is called, it comes back under a safe name, or is a 400 in words: too long, or no text."""
    options = [text_part(*option) for option in OPTIONS.items()]
    answer = service.send([closed(*options, file_part(name, sounds[0].data))])
    if answer.status == 400:
        too_long = len(name) > MOST_HEAD_BYTES - 100
        assert too_long or not is_utf8(name)
        words = f"are longer than {MOST_HEAD_BYTES} bytes" if too_long else "can't be read"
        assert json.loads(answer.body)["detail"] == f"The headers of a part {words}."
        return
    assert (answer.status, answer.body == sounds[0].made) == (200, True), answer.body[:300]
    assert len(name) < MOST_HEAD_BYTES
    match = HEADER.fullmatch(answer.headers["Content-Disposition"])
    assert match is not None, answer.headers
    plain, saved = match[1], unquote_to_bytes(match[2]).decode()
    for spelling in (plain, saved):
        assert spelling.endswith(".wav")
        assert not spelling.startswith((".", " "))
        assert not set(spelling) & set('/\\"')
    assert len(saved.encode()) <= 255
    assert all(unicodedata.category(letter) != "Cc" for letter in saved)
    assert "\u202e" not in saved


@pytest.mark.parametrize(
    ("sent", "saved"),
    [
        ("song.flac", "song.wav"),
        ("my song.tar.gz", "my song.tar.wav"),
        ("Jóga – 日本 🎵.mp3", "Jóga – 日本 🎵.wav"),
        ("/music/me/song.mp3", "song.wav"),
        (".hidden", "hidden.wav"),
        ("no suffix", "no suffix.wav"),
        ("", "audio.wav"),
        ("..", "audio.wav"),
        ("a\nb.mp3", "a%0Ab.wav"),
    ],
)
def test_a_file_comes_back_under_the_name_that_it_had(
    service: Service, sounds: list[Sound], sent: str, saved: str
) -> None:
    """The name of the file, as a browser sends it, with the suffix of the new format."""
    answer = service.send([closed(file_part(as_browsers_write(sent), sounds[0].data))], query="?format=wav")
    match = HEADER.fullmatch(answer.headers["Content-Disposition"])
    assert match is not None
    assert unquote_to_bytes(match[2]).decode() == saved
