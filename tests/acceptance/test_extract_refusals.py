"""What extraction refuses to read: addresses inside, files outside the roots, lists that name others. Loopback only.

The application runs in this process, with names that lead where a test wants, so that every connection can be seen; the
requests of the tests themselves go out by threads, which the watch doesn't count. A canary listens wherever a refused
address would lead.
"""

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import requests
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.neighbours.canary import Canary, FakeNames, watch_connections
from support.sound import tone

from streamsrv.app import create_app
from streamsrv.config import load_config
from streamsrv.media.tools import find_tools
from streamsrv.outbound.guard import Guard
from streamsrv.outbound.urls import UNREACHABLE

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEGMENT, WHOLE, TRACKS = "/extract_audio_segment", "/extract_audio", "/v1/extract/tracks"
ROUTES = (SEGMENT, WHOLE, TRACKS)
WAIT_SECONDS = 30
# Open by its name alone: the address that it leads to is as closed as ever.
OPEN_NAME = "media.example"
# Open by address, as a public one would be.
OPEN_ADDRESS = "127.0.0.2"


@dataclass
class House:
    """The application, what it may read, and all who would see it go astray."""

    url: str
    root: Path
    outside: Path
    data: Path
    canary: Canary
    names: FakeNames
    tried: list[str]
    commands: Path

    def forget(self) -> None:
        self.canary.requests.clear()
        self.tried.clear()
        self.names.asked.clear()

    def uri(self, host: str = OPEN_NAME, path: str = "/film.mkv") -> str:
        return self.canary.url(path, host)

    async def ask(self, route: str, *uris: str) -> requests.Response:
        send = partial(requests.post, f"{self.url}{route}", json={"video_files": list(uris)}, timeout=WAIT_SECONDS)
        return await asyncio.to_thread(send)

    async def get(self, url: str) -> requests.Response:
        return await asyncio.to_thread(partial(requests.get, url, timeout=WAIT_SECONDS))

    async def outcome(self, route: str, *uris: str) -> tuple[int, str]:
        """Status and words of a refusal; a job that is Failed has no status but its words."""
        reply = await self.ask(route, *uris)
        if reply.status_code != 202:
            assert reply.headers["Content-Type"] == "application/problem+json", reply.text
            self.check_words(reply.text)
            return reply.status_code, reply.json()["detail"]
        assert "event: job" in (await self.get(f"{reply.headers['Location']}/events")).text  # it ends with the job
        told = (await self.get(reply.headers["Location"])).json()
        assert (told["status"], told["audio_file"], told["phase"]) == ("Failed", None, "ended"), told
        self.check_words(told["error"])
        return 0, told["error"]

    def check_words(self, words: str) -> None:
        """They tell nothing of this machine."""
        for secret in (self.root, self.outside, self.data, "Traceback", "root:"):
            assert str(secret) not in words, words

    def command_lines(self) -> list[str]:
        return self.commands.read_text().splitlines()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def open_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house").resolve()
    root, outside, data, commands = (folder / name for name in ("films", "outside", "data", "commands.log"))
    for made in (root, outside, data):
        made.mkdir()
    names = FakeNames({OPEN_NAME: [["127.0.0.1"]]})
    config = load_config(
        flags={
            "server": {"data_dir": data},
            "extract": {"media_roots": [root, Path("/dev")], "fresh_seconds": 0.0},
            "outbound": {"allow": [OPEN_NAME, OPEN_ADDRESS]},
            "ffmpeg": {"sandbox": "off", **noted_programs(folder / "bin", commands)},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        tried = watch_connections(patch)
        patch.setattr("streamsrv.app.house.Guard", partial(Guard, resolver=names))
        tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
        async with (
            Canary().serve("127.0.0.1", OPEN_ADDRESS, "127.0.0.3", "::1") as canary,
            TestServer(create_app(config, tools)) as server,
        ):
            url = str(server.make_url("")).rstrip("/")
            yield House(url, root, outside, data, canary, names, tried, commands)


def cells(text: str) -> list[str]:
    """The cells of a table, many on a line."""
    return text.split()


def noted_programs(folder: Path, commands: Path) -> dict[str, str]:
    """The real programs, each behind a script that notes its command line."""
    folder.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        program = folder / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$0 $*\" >>'{commands}'\nexec '{shutil.which(name)}' \"$@\"\n")
        program.chmod(0o755)
    return {name: str(folder / name) for name in ("ffmpeg", "ffprobe")}


@pytest.fixture
def house(open_house: House) -> House:
    open_house.forget()
    return open_house


@pytest.fixture(scope="module")
def song(open_house: House) -> Path:
    """A song below the root, and one outside."""
    shutil.copy(tone(open_house.root / "song.flac", seconds=1, rate=8000, channels=1), open_house.outside / "song.flac")
    return open_house.root / "song.flac"


LITERALS = cells("""
    127.0.0.1 127.1 127.0.1 127.0.0.3 127.255.255.254 2130706433 0x7f000001 0x7f.1 0x7F.0.0.1 0177.0.0.1 017700000001
    0 0.0.0.0 00.0.0.0 127.0.0.1. 0127.0.0.1 127.0.0.01 127.0.0.257
    10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 169.254.0.1 100.64.0.1 100.127.255.255
    100.100.100.200 168.63.129.16 192.0.0.1 192.0.2.1 198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    [::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [::127.0.0.1] [::1%25lo] [::1%25]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:0:127.0.0.1] [::FFFF:169.254.169.254] [::ffff:10.0.0.1]
    [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::7f00:1]
    [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:7f00:1::1] [2001:db8::1]
    [fe80::1] [fe80::1%25eth0] [febf::1] [fec0::1] [fc00::1] [fd00:ec2::254] [ff02::1]
    ①②⑦.⓪.⓪.① １２７.０.０.１ 127。0。0。1 127．0．0．1 127｡0｡0｡1 127.0.0.１ ①⑥⑨。254。169。254
    %31%32%37.0.0.1 127%2e0%2e0%2e1 %5b::1%5d 127.0.0.1%00.media.example 127.0.0.1%2f.media.example
    user@127.0.0.1 user:word@127.0.0.1 user@media.example 127.0.0.1@media.example media.example@127.0.0.1
    :@media.example a%40media.example@127.0.0.1 media.example:80@127.0.0.1
""")


@pytest.mark.parametrize("host", LITERALS)
async def test_hosts_inside_are_refused_at_once(house: House, host: str) -> None:
    """An address of this machine or network, however it is written, is a 400; nobody is asked, nothing is connected."""
    for uri in (house.uri(host), house.uri(host).replace("http", "HTTPS", 1), f"http://{host}/latest/meta-data/"):
        for route in ROUTES:
            status, words = await house.outcome(route, uri)
            assert (status, uri in words) == (400, False), uri
    assert house.tried == house.names.asked == []
    assert house.canary.hits == 0


NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1", "::1"],
    "LOCALHOST": ["127.0.0.1"],
    "app.localhost": ["127.0.0.1"],
    "localhost.localdomain": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "this.example": ["0.0.0.0"],
    "six.example": ["::1"],
    "none.example": ["::"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "link.example": ["fe80::1"],
    "private.example": ["10.0.0.1", "192.168.0.1", "fd00::1"],
    "carrier.example": ["100.64.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "6to4.example": ["2002:7f00:1::1"],
    "nowhere.example": [],
    "١٢٧.٠.٠.١": [],  # a name like others: no standard makes digits of ours of these
}


@pytest.mark.parametrize("name", NAMES)
async def test_names_that_lead_inside_are_refused(house: House, name: str) -> None:
    """A name is refused for where it leads: a 400, or a job that is Failed, in the words for what doesn't answer.

    Those that always lead to whoever asks (RFC 6761) are refused at once, and nobody is asked where they lead.
    """
    is_own = name.lower().rstrip(".").endswith("localhost")
    for spelling in {name, name.lower()}:
        if NAMES[name]:
            house.names.hosts[spelling] = [NAMES[name]]
    for route, status in ((SEGMENT, 400), (TRACKS, 400), (WHOLE, 400 if is_own else 0)):
        assert await house.outcome(route, house.uri(name)) == (status, UNREACHABLE)
    assert len(house.names.asked) == (0 if is_own else 3)
    assert house.tried == []
    assert house.canary.hits == 0


async def test_a_refused_clip_is_named_among_others(house: House, song: Path) -> None:
    """Of several clips the one that was refused is named by its number."""
    house.names.hosts["inside.example"] = [["127.0.0.1"]]
    uris = (song.as_uri(), house.uri("inside.example"))
    for route, status in ((SEGMENT, 400), (TRACKS, 400), (WHOLE, 0)):
        assert await house.outcome(route, *uris) == (status, f"Clip 2: {UNREACHABLE}")
    assert house.tried == []


LOCATIONS = cells("""
    http://127.0.0.1:{port}/inner http://127.0.0.3:{port}/inner //127.0.0.3:{port}/inner http://0:{port}/inner
    http://2130706433:{port}/inner http://[::1]:{port}/inner http://[::ffff:127.0.0.1]:{port}/inner
    http://inside.example:{port}/inner http://localhost:{port}/inner http://user@media.example:{port}/inner
    https://169.254.169.254/latest/meta-data/ http://127。0。0。3:{port}/inner file://{root}/song.flac
    file:///etc/passwd data:audio/wav;base64,UklGRg== ftp://media.example:{port}/inner gopher://media.example:{port}/inner
    concat:http://media.example:{port}/inner javascript:alert(1)
""")


@pytest.mark.parametrize("location", LOCATIONS)
async def test_redirects_inside_are_refused(house: House, song: Path, location: str) -> None:
    """A host that may be asked can't lead to one that may not, nor to another scheme; only its own reply is read."""
    house.names.hosts |= {"inside.example": [["127.0.0.1"]], "localhost": [["127.0.0.1"]]}
    target = location.format(port=house.canary.port, root=house.root)
    house.canary.answer = leading_to(target)
    for route, statuses in ((SEGMENT, {400, 422}), (TRACKS, {400, 422}), (WHOLE, {0})):
        status, words = await house.outcome(route, house.uri(path="/hop"))
        assert status in statuses
        assert target not in words
    assert {request.path for request in house.canary.requests} == {"/hop"}
    assert set(house.tried) == {"127.0.0.1"}


def leading_to(location: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        if request.path != "/hop":
            return web.Response(body=b"found")
        return web.Response(status=302, headers={"Location": location})

    return answer


async def test_a_name_that_changes_its_mind_is_refused(house: House, song: Path) -> None:
    """Each look at a server asks anew where its name leads, and is refused once that is inside (DNS rebinding)."""
    house.names.hosts["rebind.example"] = [[OPEN_ADDRESS], ["127.0.0.1"], ["::1"], ["169.254.169.254"]]
    house.canary.answer = serving(song.read_bytes())
    uri = house.uri("rebind.example")
    assert (await house.ask(SEGMENT, uri)).status_code == 200
    assert await house.outcome(SEGMENT, uri) == (400, UNREACHABLE)
    assert await house.outcome(TRACKS, uri) == (400, UNREACHABLE)
    assert await house.outcome(WHOLE, uri) == (0, UNREACHABLE)
    assert house.tried == [OPEN_ADDRESS]
    assert house.canary.hits == 1


def serving(body: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        found = request.path != "/inner"
        return web.Response(body=body if found else b"inner", headers={"ETag": '"one"'})

    return answer


# {0} is a file that could be had, {1} where the canary listens.
OTHER_SCHEMES = cells("""
    data:audio/wav;base64,UklGRg== data:,x concat:{0}|{0} concat:file://{0} concatf:{0} pipe: pipe:0 fd:0 - tee:{0}
    md5:{0} lavfi:sine lavfi:movie={0} subfile:,,start,0,end,0,,:{0} subfile,,start,0,end,0,,:{0} crypto+file://{0}
    ftp://{1}/x ftp://127.0.0.1/x gopher://{1}/x javascript:alert(1) ws://{1}/x tcp://{1} udp://{1} rtmp://{1}/x
    rtsp://{1}/x rtp://{1} srt://{1} sftp://{1}/x smb://{1}/x unix:{0} icecast://{1}/x cache:http://{1}/x
    async:http://{1}/x crypto:http://{1}/x hls+http://{1}/x httpproxy://{1}/x view-source:http://{1}/x blob:http://{1}/x
    jar:http://{1}/x!/y file:http://{1}/x http:{1}/x http:/{1}/x http//{1}/x httpx://{1}/x ｈttp://{1}/x http：//{1}/x
    https+http://{1}/x {0} song.flac ./song.flac ~/song.flac C:\\song.flac //{1}/x \\\\{1}\\x file:{0} file:/song.flac
""")
# What a URL library would put right, or take for the name of a file.
OTHER_SCHEMES += [
    " file://{0}",
    "\tfile://{0}",
    "\nhttp://{1}/x",
    " http://{1}/x",
    "\0http://{1}/x",
    "ht\ttp://{1}/x",
    " ",
]


@pytest.mark.parametrize("text", OTHER_SCHEMES)
async def test_other_schemes_are_refused_at_once(house: House, song: Path, text: str) -> None:
    """Whatever else ffmpeg, a browser or a shell would open is a 400 in every route, and nothing is run or asked."""
    before = house.command_lines()
    uri = text.format(song, f"{OPEN_NAME}:{house.canary.port}")
    for route in ROUTES:
        assert (await house.outcome(route, uri))[0] == 400
        assert (await house.outcome(route, song.as_uri(), uri))[0] == 400
    assert house.tried == house.names.asked == []
    assert house.command_lines() == before


@pytest.mark.parametrize(
    "path",
    [
        "/x\r\nHost: 127.0.0.1",
        "/x\ny",
        "/\0x",
        "/x\x7f",
        "/" + "a" * 5000,
        ":0/x",
        ":99999/x",
        ":-1/x",
        ":x/y",
        "\\@127.0.0.1/",
    ],
)
async def test_malformed_addresses_are_refused_at_once(house: House, path: str) -> None:
    """What two programs could read as two addresses, or what would put words into a request, is a 400."""
    for route in ROUTES:
        assert (await house.outcome(route, f"http://{OPEN_NAME}{path}"))[0] == 400
    assert house.tried == house.names.asked == []


# {root}, {outside} and {data} are folders. All of these are refused: the address is one that isn't read.
FILES_OUTSIDE = cells("""
    file://{outside}/song.flac file://{root}/../outside/song.flac file://{root}/%2e%2e/outside/song.flac
    file://{root}/%2e%2e%2foutside%2fsong.flac file://{root}/.%2e/outside/song.flac file://{root}/a/../../outside/
    file://{root}/folder/../../outside/song.flac file://{root}/out.flac file://{root}/outlet/song.flac
    file://{root}/chain.flac file://{root}-private/song.flac file://{root}/.. file://{root}/../films-private/x
    file:/// file:///.. file:///etc/passwd file:///etc/ file:///proc/self/environ file:///proc/self/mem
    file:///proc/self/root/etc/passwd file:///nowhere/at/all
    file://{outside}/none.flac file:////etc/passwd file://{data}/secret
    file://{data}/streamsrv.sqlite file://{data}/files/ file://{data}/cache/clips/ file://{root}/song.flac%00
    file://{root}/song.flac%00.mkv file://{root}/%ff%fe.flac file://{root}/%80 file://127.0.0.1{root}/song.flac
    file://media.example{root}/song.flac file://./song.flac file://~/song.flac file://user@localhost{root}/song.flac
    file://localhost:80{root}/song.flac file://%6cocalhost{root}/song.flac file://[::1]{root}/song.flac file://[/x
    file:// file://{root}/song.flac?x file://{root}/song.flac#x
""")


@pytest.fixture(scope="module")
def links(open_house: House, song: Path) -> None:
    """Links below the root that lead out, at once or by way of another, and a folder beside it with a similar name."""
    root, outside = open_house.root, open_house.outside
    (root / "folder").mkdir()
    (root / "out.flac").symlink_to(outside / "song.flac")
    (root / "outlet").symlink_to(outside)
    (root / "chain.flac").symlink_to("out.flac")
    (root / "inner.flac").symlink_to("folder/../song.flac")
    private = root.with_name(f"{root.name}-private")
    private.mkdir()
    shutil.copy(song, private)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("pattern", FILES_OUTSIDE)
async def test_files_outside_the_roots_are_refused(house: House, pattern: str) -> None:
    """A file that isn't below a root, by its name or by where a link leads, is refused, and isn't opened."""
    uri = pattern.format(root=house.root, outside=house.outside, data=house.data)
    before = house.command_lines()
    for route in ROUTES:
        status, words = await house.outcome(route, uri)
        assert status == 400 or (route, status) == (WHOLE, 0), words
        assert re.search(r"media roots|malformed|three slashes|%3F", words), words
    assert house.command_lines() == before


@pytest.mark.usefixtures("links")
async def test_nobody_learns_what_lies_outside(house: House) -> None:
    """Outside the roots a file that is there and one that isn't are refused in the same words, behind links as well."""
    for there, missing in (
        ("{outside}/song.flac", "{outside}/none.flac"),
        ("{root}/outlet/song.flac", "{root}/outlet/no"),
    ):
        uris = [f"file://{text.format(root=house.root, outside=house.outside)}" for text in (there, missing)]
        assert await house.outcome(SEGMENT, uris[0]) == await house.outcome(SEGMENT, uris[1])


@pytest.mark.usefixtures("links")
async def test_files_below_the_roots_are_read(house: House) -> None:
    """The same song by its address, by one with localhost, in other spellings, and by a link that stays inside."""
    for name in ("song.flac", "%73ong.flac", "folder/../song.flac", "./song.flac", "inner.flac"):
        for scheme in ("file://", "file:///", "file://localhost", "FILE://"):
            reply = await house.ask(TRACKS, f"{scheme}{house.root}/{name}")
            assert reply.status_code == 200, reply.text
    assert house.tried == []


@pytest.fixture(scope="module")
def oddities(open_house: House) -> Iterator[None]:
    """Things below the root that are no files."""
    root = open_house.root
    os.mkfifo(root / "fifo.mkv")
    (root / "folder.mkv").mkdir()
    (root / "circle.mkv").symlink_to("circle.mkv")
    (root / "empty.mkv").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "socket.mkv"))  # its name may have a hundred letters
        yield


ODD_FILES = {
    "{root}": "That isn't a file.",
    "{root}/folder.mkv": "That isn't a file.",
    "{root}/fifo.mkv": "That isn't a file.",
    "{root}/socket.mkv": "The file can't be read: ",
    "/dev/zero": "That isn't a file.",
    "/dev/null": "That isn't a file.",
    "{root}/circle.mkv": "There is no such file.",
    "{root}/none.mkv": "There is no such file.",
    "{root}/%252e%252e/outside/song.flac": "There is no such file.",
    "{root}/song.flac/": None,
    "{root}/song.flac/x": "There is no such file.",
    "{root}/" + "a" * 300: "There is no such file.",
    "{root}/empty.mkv": "The file isn't sound that can be read.",
}


@pytest.mark.usefixtures("oddities", "song")
@pytest.mark.parametrize("pattern", ODD_FILES)
async def test_what_is_no_file_is_refused(house: House, pattern: str) -> None:
    """A pipe, a device, a socket or a folder below a root is told apart and never opened; each is 422, at once."""
    before = house.command_lines()
    uri, expected = f"file://{pattern.format(root=house.root)}", ODD_FILES[pattern]
    if expected is None:
        assert (await house.ask(TRACKS, uri)).status_code == 200
        return
    for route, status in ((SEGMENT, 422), (TRACKS, 422), (WHOLE, 0)):
        told, words = await house.outcome(route, uri)
        assert (told, words.startswith(expected)) == (status, True), words
    assert house.command_lines() == before or "empty" in pattern


# Texts that make a player open another address: {} is one.
LISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:8\n#EXTINF:7.0,\n{}\n#EXT-X-ENDLIST\n",
    "master.m3u8": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="{0}"\n'
    "#EXT-X-STREAM-INF:BANDWIDTH=1\n{0}\n",
    "keyed.m3u8": '#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n'
    '#EXT-X-MAP:URI="{0}"\n#EXTINF:7,\n{0}\n',
    "list.ffconcat": "ffconcat version 1.0\nfile '{}'\nduration 5\n",
    "list.mpd": (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT7S"><BaseURL>{0}</BaseURL><Period><AdaptationSet mimeType="audio/mp4">'
        '<Representation id="a" bandwidth="1"><BaseURL>{0}</BaseURL><SegmentTemplate media="{0}" initialization="{0}"/>'
        "</Representation></AdaptationSet></Period></MPD>\n"
    ),
    "session.sdp": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{}\n"
        "m=audio 5004 RTP/AVP 97\na=rtpmap:97 opus/48000/2\n"
    ),
    "picture.svg": (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9">'
        '<image xlink:href="{0}" href="{0}" width="9" height="9"/></svg>\n'
    ),
    "list.asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>\n',
    "list.pls": "[playlist]\nFile1={}\nNumberOfEntries=1\n",
    "list.ram": "RTSP://127.0.0.1\n{}\n",
    "list.imf": '<?xml version="1.0"?>\n<CompositionPlaylist><Id>{0}</Id><Path>{0}</Path></CompositionPlaylist>\n',
    "list.smil": '<smil><body><audio src="{}"/></body></smil>\n',
}
DISGUISES = ("{}", "{}.mkv", "{}.mp3")
PADDING = {"short": "", "long": "#\n" * 100_000}
NO_SOUND = (
    r"isn't sound that can be read|isn't sound\.|playlist, a script, a picture|ends before any sound"
    r"|of a kind that isn't known"
)


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("name", LISTS)
async def test_lists_that_name_others_are_refused(house: House, song: Path, name: str, padding: str) -> None:
    """A list, script or picture that names an address or a file is no film, however it is called; nobody follows it."""
    inner = (house.uri(path="/inner"), house.uri("127.0.0.1", "/inner"), str(house.outside / "song.flac"))
    for target, disguise in zip(inner, DISGUISES, strict=True):
        path = house.root / padding / disguise.format(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(LISTS[name].format(target) + PADDING[padding])
        status, words = await house.outcome(SEGMENT, path.as_uri())
        assert status == 422, words
        assert re.search(NO_SOUND, words), words
    status, words = await house.outcome(WHOLE, song.as_uri(), path.as_uri())
    assert (status, words.startswith("Clip 2: ")) == (0, True), words
    assert house.canary.hits == 0
    assert house.tried == []


@pytest.mark.parametrize("name", LISTS)
async def test_lists_from_the_network_are_refused(house: House, name: str) -> None:
    """The same for one that was downloaded: its own address was asked, and none that it names."""
    for target in (house.uri(path="/inner"), house.uri("127.0.0.1", "/inner")):
        house.canary.answer = serving(LISTS[name].format(target).encode())
        for number, (route, status) in enumerate(((SEGMENT, 422), (TRACKS, 422), (WHOLE, 0))):
            told, words = await house.outcome(route, house.uri(path=f"/{number}/{name}"))
            assert told == status, words
            assert re.search(NO_SOUND, words), words
    assert "/inner" not in {request.path for request in house.canary.requests}
    assert set(house.tried) == {"127.0.0.1"}


async def test_ffmpeg_never_sees_an_address(house: House, song: Path) -> None:
    """A film from the network is read from the disk: no program's command line has an address, in this or any test."""
    house.canary.answer = serving(song.read_bytes())
    uri = house.uri(path="/a/very%20secret/film.flac?token=hidden")
    before = len(house.command_lines())
    for route in (SEGMENT, TRACKS):
        assert (await house.ask(route, uri)).status_code == 200
    begun = await house.ask(WHOLE, uri)
    assert "event: job" in (await house.get(f"{begun.headers['Location']}/events")).text
    told: dict[str, Any] = (await house.get(begun.headers["Location"])).json()
    assert told["status"] == "Completed", told
    assert told["video_files"] == [uri.partition("?")[0]]
    assert len(house.command_lines()) > before
    for line in house.command_lines():
        assert not re.search(r"https?:|ftp:|://|media\.example|token|" + str(house.canary.port), line), line
