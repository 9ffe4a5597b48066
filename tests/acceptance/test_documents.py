"""The documents' code, word for word, against the server process on the streaming document's port.

The snippets are in `snippets/`. The job id that the document names as an example is given to a real job, so that even
those snippets run as they are. The port of the conversion document is our default, on which somebody may be serving on
this machine: curl is told to connect to the other one. The browser's snippets run as modules of a page on
http://localhost:5176; what they take for given (`audioFile`, `audioElement`, `jobId`) is set up before them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import m3u8
import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from support.checkout import ROOT
from support.neighbours.answering import Answer, Asked, answering
from support.page.chromium import CHROMIUM, FLAGS
from support.player import play
from support.server import Server, free_port, serving
from support.snippets import claim_port, read_snippets
from support.sound import decode, loudest_hertz, tone
from support.traces.tidy import assert_tidy

SNIPPETS = read_snippets("streaming.md", "conversion.md")

URL = "http://localhost:8082"
# Where a page is developed with Vite, and where with React.
PAGE, REACT_PAGE = "http://localhost:5176", "http://localhost:3000"
JOB_ID = "550e8400-e29b-41d4-a716-446655440000"
UNKNOWN_ID = "650e8400-e29b-41d4-a716-446655440000"
FAILED_ID = "750e8400-e29b-41d4-a716-446655440000"
SECONDS, HERTZ, RATE = 14.0, 523.0, 44100


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server on the document's port, and on another one: several ports may be given."""
    claim_port(8082)
    also = ("--host", "::1", "--port", str(free_port()))
    with serving(tmp_path_factory.mktemp("documents") / "data", *also, port=8082) as server:
        yield server
        assert_tidy(server)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone(tmp_path_factory.mktemp("song") / "audio.wav", seconds=SECONDS, hertz=HERTZ, rate=RATE)


@pytest.fixture(scope="module")
def job(documented: Server, song: Path) -> str:
    """A completed job that has the document's id and its default options."""
    assert documented.submit(song, query=f"?job_id={JOB_ID}") == JOB_ID
    assert documented.ended(JOB_ID)["status"] == "Completed"
    return JOB_ID


@pytest.fixture
def folder(tmp_path: Path, song: Path) -> Path:
    """A working directory with the audio.wav that the document speaks of."""
    shutil.copy(song, tmp_path / "audio.wav")
    return tmp_path


def run(folder: Path, *argv: str, **environment: str) -> str:
    """Run a program to its good end and return what it printed."""
    env = {**os.environ, **environment}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_plays(url: str, folder: Path) -> None:
    """The playlist leads to the whole song."""
    played = play(url, folder)
    assert played.playlist.is_endlist
    assert len(played.sound) == pytest.approx(SECONDS * RATE, abs=2048)
    assert loudest_hertz(played.sound, RATE) == pytest.approx(HERTZ, abs=2)


def assert_submitted(reply: dict[str, str]) -> None:
    """The reply has the document's fields and words; only the job's id is its own."""
    example = json.loads(SNIPPETS["submit reply"])
    assert reply == {**example, "job_id": reply["job_id"]}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", reply["job_id"])


def test_all_snippets_are_here() -> None:
    """The documents have fifteen and two blocks of code; each of them is used below."""
    assert len(SNIPPETS) == 15 + 2
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in SNIPPETS if f'SNIPPETS["{name}"]' not in source] == []


def test_curl_submits(documented: Server, folder: Path) -> None:
    """The first curl submits audio.wav; its reply is the documented one, and the job completes."""
    reply = json.loads(run(folder, "bash", "-c", SNIPPETS["submit with curl"]))
    assert_submitted(reply)
    job = documented.ended(reply["job_id"])
    assert (job["status"], job["track_id"], job["quality_profile"]) == ("Completed", "audio", "high")
    assert_plays(documented.playlist(reply["job_id"]), folder)


def test_curl_reads_the_job(job: str, folder: Path) -> None:
    """The second curl shows the job with each of the document's fields."""
    reply = json.loads(run(folder, "bash", "-c", SNIPPETS["job with curl"]))
    assert set(json.loads(SNIPPETS["job reply"])) <= set(reply)
    assert (reply["id"], reply["track_id"], reply["status"], reply["progress"]) == (job, "audio", "Completed", 100)
    assert reply["error"] is None
    assert reply["created_at"] <= reply["started_at"] <= reply["completed_at"]


def test_curl_reads_the_playlist(job: str, folder: Path) -> None:
    """The third curl shows a playlist with the tags and the names of the document's example."""
    text = run(folder, "bash", "-c", SNIPPETS["playlist with curl"])
    example, reply = (m3u8.loads(words) for words in (SNIPPETS["playlist reply"], text))
    assert (reply.version, reply.target_duration) == (example.version, example.target_duration)
    assert [segment.uri for segment in reply.segments] == [segment.uri for segment in example.segments]
    assert text.splitlines()[0] == "#EXTM3U"
    assert text.splitlines()[-1] == "#EXT-X-ENDLIST"


def test_curl_fetches_a_segment(job: str, folder: Path) -> None:
    """The fourth curl saves a segment in which the tone is heard."""
    run(folder, "bash", "-c", SNIPPETS["segment with curl"])
    sound = decode(folder / "segment_00001.ts")
    assert len(sound) / RATE == pytest.approx(6, abs=0.1)
    assert loudest_hertz(sound, RATE) == pytest.approx(HERTZ, abs=2)


def test_python_example(documented: Server, folder: Path) -> None:
    """The Python program prints how far the job is and at last a playlist that plays."""
    (folder / "example.py").write_text(SNIPPETS["Python"])
    lines = run(folder, sys.executable, "-W", "ignore", "example.py").splitlines()
    assert all(
        re.fullmatch(r"Statut: (Pending|Processing|Completed), Progression: [\d.]+%", line) for line in lines[:-1]
    )
    assert lines[-2] in ("Statut: Completed, Progression: 100.0%", "Statut: Completed, Progression: 100%")
    assert_plays(lines[-1].removeprefix("Manifest HLS: "), folder)


def test_node_example(documented: Server, folder: Path) -> None:
    """The Node.js program prints a playlist that plays."""
    (folder / "example.js").write_text(SNIPPETS["Node.js"])
    modules = ROOT / "node_modules"
    assert (modules / "form-data").is_dir(), "form-data and node-fetch are missing: run `make setup`"
    printed = run(folder, "node", "example.js", NODE_PATH=str(modules))
    assert printed.startswith(f"Manifest: {URL}/v1/stream/hls/")
    assert_plays(printed.removeprefix("Manifest: ").strip(), folder)


Files = dict[str, tuple[str, bytes]]


@pytest.fixture(scope="module")
def page_files(song: Path) -> Iterator[Files]:
    """What Vite and React serve while somebody develops a page: the page, its one module, hls.js and the song."""
    claim_port(5176)
    claim_port(3000)
    hls = (ROOT / "node_modules" / "hls.js" / "dist" / "hls.mjs").read_bytes()
    files: Files = {
        "/favicon.ico": ("image/x-icon", b""),
        "/hls.mjs": ("text/javascript", hls),
        "/audio.wav": ("audio/wav", song.read_bytes()),
        "/": (
            "text/html; charset=utf-8",
            b'<!doctype html><script type="importmap">{"imports": {"hls.js": "/hls.mjs"}}</script>'
            b'<audio id="audio"></audio><script type="module" src="/snippet.mjs"></script>',
        ),
    }

    def answer(asked: Asked) -> Answer:
        media_type, body = files.get(asked.path, ("text/plain", b""))
        return Answer(200 if asked.path in files else 404, {"Content-Type": media_type}, body)

    with answering(answer, port=5176), answering(answer, port=3000):
        yield files


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Tab:
    """A browser's tab that runs a snippet, with all that it wrote to its console."""

    page: Page
    files: Files
    said: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        (self.errors if message.type == "error" else self.said).append(message.text)

    def run(self, *lines: str, at: str = PAGE) -> None:
        """Load the page with these lines as its module, and wait until the last of them has run."""
        code = "\n".join([*lines, "window.finished = true;"])
        self.files["/snippet.mjs"] = ("text/javascript; charset=utf-8", code.encode())
        self.page.goto(at)
        self.page.wait_for_function("window.finished", timeout=30_000)
        assert self.errors == []

    def plays(self) -> None:
        """The song is heard: its time goes on, and it has its whole length."""
        self.page.wait_for_function("document.getElementById('audio').currentTime > 1", timeout=20_000)
        assert self.page.evaluate("document.getElementById('audio').duration") == pytest.approx(SECONDS, abs=0.2)


@pytest.fixture
def tab(browser: Browser, page_files: Files) -> Iterator[Tab]:
    context = browser.new_context()
    tab = Tab(context.new_page(), page_files)
    tab.page.on("console", tab.note)
    tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
    yield tab
    context.close()


AUDIO_FILE = "const audioFile = new File([await (await fetch('/audio.wav')).blob()], 'audio.wav', {type: 'audio/wav'});"
AUDIO_ELEMENT = "const audioElement = document.getElementById('audio');"


def test_browser_submits(documented: Server, tab: Tab, tmp_path: Path) -> None:
    """The page of another origin may submit: it reads the job's id and status."""
    tab.run(AUDIO_FILE, SNIPPETS["submit in the browser"], "window.answer = {job_id, status};")
    answer = tab.page.evaluate("window.answer")
    assert answer["status"] == "queued"
    assert documented.ended(answer["job_id"])["status"] == "Completed"
    assert_plays(documented.playlist(answer["job_id"]), tmp_path)


def test_browser_reads_the_job(job: str, tab: Tab) -> None:
    """The page reads the status of a job and says that it is done."""
    tab.run(f"const jobId = '{job}';", SNIPPETS["job in the browser"])
    assert tab.said == ["Job terminé!"]


def test_browser_reads_a_failed_job(documented: Server, tab: Tab) -> None:
    """Of a job that failed the page shows the words in which the server says why."""
    query = f"?job_id={FAILED_ID}"
    refused = requests.post(f"{URL}/v1/stream/transcode{query}", files={"file": ("a.wav", b"no sound")}, timeout=30)
    assert refused.status_code == 400
    code = f"const jobId = '{FAILED_ID}';\nconsole.error = (...words) => console.log(...words);\n"
    tab.run(code, SNIPPETS["job in the browser"])
    assert tab.said == [f"Erreur: {refused.json()['detail']}"]


@pytest.mark.parametrize("origin", [PAGE, REACT_PAGE])
def test_browser_plays_the_playlist(job: str, tab: Tab, origin: str) -> None:
    """hls.js, imported as in the document, loads the playlist into the audio element of a page of either origin."""
    code = (f"const jobId = '{job}';", AUDIO_ELEMENT, SNIPPETS["playlist in the browser"], "await audioElement.play();")
    tab.run(*code, at=origin)
    tab.plays()


@pytest.mark.parametrize("policy", ["strict-origin-when-cross-origin", "no-referrer"])
@pytest.mark.parametrize("origin", [PAGE, REACT_PAGE])
def test_browser_plays_by_itself(documented: Server, job: str, tab: Tab, origin: str, policy: str) -> None:
    """As the document's `audio.src` a browser that knows HLS plays it, also where the page never names itself."""
    code = f"""
        const referrer = document.createElement('meta');
        Object.assign(referrer, {{name: 'referrer', content: '{policy}'}});
        document.head.append(referrer);
        audioElement.src = '{URL}/v1/stream/hls/{job}/index.m3u8';
        await audioElement.play();"""
    tab.run(AUDIO_ELEMENT, code, at=origin)
    tab.plays()


def test_browser_workflow(documented: Server, tab: Tab) -> None:
    """The three steps of the workflow, one after the other in one module, end with the song being heard."""
    tab.run(
        *(AUDIO_FILE, AUDIO_ELEMENT, SNIPPETS["workflow 1"], "const jobId = job_id;"),
        *(SNIPPETS["workflow 2"], "window.job = completedJob;", SNIPPETS["workflow 3"]),
    )
    tab.plays()
    job = tab.page.evaluate("window.job")
    assert job["status"] == "Completed"
    submitted, *polls, loaded = tab.said
    assert (submitted, loaded) == (f"Job soumis: {job['id']}", "Manifest chargé, prêt à jouer")
    assert polls[-1] == "Statut: Completed, Progression: 100%"


def test_replies_have_the_documented_types(job: str) -> None:
    """Playlists are application/vnd.apple.mpegurl, segments video/mp2t."""
    types = {"index.m3u8": "application/vnd.apple.mpegurl", "segment_00001.ts": "video/mp2t"}
    for name, media_type in types.items():
        reply = requests.get(f"{URL}/v1/stream/hls/{job}/{name}", timeout=30)
        assert (reply.status_code, reply.headers["Content-Type"]) == (200, media_type)


@pytest.mark.parametrize(
    "path", [f"job/{UNKNOWN_ID}", f"hls/{UNKNOWN_ID}/index.m3u8", f"hls/{JOB_ID}/segment_99999.ts", "job/no-uuid"]
)
def test_what_is_not_there_is_404(job: str, path: str) -> None:
    """An unknown job, the playlist of one, a segment that doesn't exist: 404, with words."""
    reply = requests.get(f"{URL}/v1/stream/{path}", timeout=30)
    assert reply.status_code == 404
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["detail"]


@pytest.mark.parametrize(
    "fields",
    [
        {"quality_profile": (None, "high")},
        {"file": ("empty.wav", b"")},
        {"file": ("a.wav", b"no sound")},
        {"quality_profile": (None, "best"), "file": ("a.wav", b"no sound")},
        {"bitrate": (None, "192k"), "file": ("a.wav", b"no sound")},
    ],
    ids=["missing file", "empty file", "not sound", "unknown profile", "bitrate with letters"],
)
def test_bad_submissions_are_400(documented: Server, fields: dict[str, tuple[str | None, bytes]]) -> None:
    """A missing or invalid file and invalid parameters are 400."""
    assert requests.post(f"{URL}/v1/stream/transcode", files=fields, timeout=30).status_code == 400


def test_playlist_is_400_until_completed(documented: Server, tmp_path: Path) -> None:
    """While a job isn't finished, index.m3u8 is 400; once it is Completed, 200."""
    long_song = tone(tmp_path / "long.wav", seconds=120)
    job_id = documented.submit(long_song)
    early = requests.get(documented.playlist(job_id), timeout=30)
    assert documented.job(job_id)["status"] in ("Pending", "Processing"), "the job was done before it was asked for"
    assert early.status_code == 400
    assert early.json()["type"] == "/problems/not-finished"
    assert documented.ended(job_id)["status"] == "Completed"
    assert requests.get(documented.playlist(job_id), timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("origin", "allowed"), [(PAGE, True), ("http://localhost:3000", True), ("http://localhost:5177", False)]
)
def test_documented_origins_are_allowed(job: str, origin: str, allowed: bool) -> None:
    """Pages of the document's two origins may read replies, those of others may not."""
    reply = requests.get(f"{URL}/v1/stream/job/{job}", headers={"Origin": origin}, timeout=30)
    assert reply.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)


def test_origins_come_from_the_environment(tmp_path: Path) -> None:
    """ALLOWED_ORIGINS, as the document writes it, takes the place of the two origins."""
    with serving(tmp_path / "data", environment={"ALLOWED_ORIGINS": "https://a.example,https://b.example"}) as server:
        for origin, allowed in {"https://b.example": "https://b.example", PAGE: None}.items():
            reply = requests.get(f"{server.url}/v1/stream/jobs", headers={"Origin": origin}, timeout=30)
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed


def convert_by_curl(folder: Path, command: str) -> None:
    """Run a command of the conversion document as it is; where its curl connects to is said in curl's own settings."""
    (folder / ".curlrc").write_text('connect-to = "localhost:8080:localhost:8082"\n')
    run(folder, "bash", "-c", command, CURL_HOME=str(folder))


@pytest.mark.parametrize("form", ["mp3", "wav", "flac", "ogg", "m4a"])
def test_curl_converts(documented: Server, folder: Path, form: str) -> None:
    """The conversion document's curl, its blanks filled in, saves the song in the format that was asked for."""
    words = {"<FILE_PATH>": "audio.wav", "<DESIRED_FORMAT>": form, "<OUTPUT_FILE>": f"output.{form}"}
    command = SNIPPETS["convert with curl"]
    for blank, word in words.items():
        command = command.replace(blank, word)
    convert_by_curl(folder, command)
    sound = decode(folder / f"output.{form}")
    assert len(sound) == pytest.approx(SECONDS * RATE, abs=2048)
    assert loudest_hertz(sound, RATE) == pytest.approx(HERTZ, abs=2)


def test_the_conversion_example_is_answered_with_what_it_lacks(documented: Server, folder: Path) -> None:
    """The document's example sends the words "interview.wav": what is saved is no song, but says how to send one."""
    (folder / "audio.wav").rename(folder / "interview.wav")
    convert_by_curl(folder, SNIPPETS["convert the interview"])
    problem = json.loads((folder / "interview.mp3").read_bytes())
    assert (problem["status"], problem["type"]) == (422, "/problems/unusable-file")
    assert "with curl, write file=@NAME" in problem["detail"]


def test_the_conversion_example_with_what_it_lacks(documented: Server, folder: Path) -> None:
    """With the sign that it lacks the document's example saves the interview as MP3."""
    (folder / "audio.wav").rename(folder / "interview.wav")
    convert_by_curl(folder, SNIPPETS["convert the interview"].replace("file=", "file=@"))
    sound = decode(folder / "interview.mp3")
    assert len(sound) == pytest.approx(SECONDS * RATE, abs=1152)
    assert loudest_hertz(sound, RATE) == pytest.approx(HERTZ, abs=2)
