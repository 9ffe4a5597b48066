"""README's examples, as somebody tries them who reads it from top to bottom with a few songs at hand.

Each section has a folder of its own; all have one server.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import pytest
import requests
from support.blocks import Block, read_blocks
from support.checkout import ROOT, copy_kept
from support.deadline import until
from support.models import save_bag, save_pickle, small_model
from support.neighbours.answering import Answer, Asked, answering
from support.reader import Reader, at_home
from support.server import Server, free_port, serving
from support.songs import RATE, WORLD, get_song, music
from support.sound import FFMPEG, decode
from support.spread import thoroughly

BLOCKS = read_blocks(ROOT / "README.md")
# Each block is run or read as its language says, or its reason stands here, by its heading.
RUN = {"sh", "console", "python", "toml"}
READ = {"json"}
NOT_RUN = {
    ("Behind a proxy", "nginx"): "a part of nginx's settings, which only nginx can judge",
    ("In a container", "sh"): "there is no docker in the tests; test_dockerfile does what it would",
}
# What ends otherwise, as the sentence above it says.
STATUS = {("Settings", "console"): 78}
# It installs torch, and serves until somebody ends it.
PACKAGE = "As a package"
SOURCES = ("setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "streamsrv", "config", "static")
BLANKS = {"<FILE_PATH>": "interview.wav", "<DESIRED_FORMAT>": "mp3", "<OUTPUT_FILE>": "interview.mp3"}


def kind(block: Block) -> tuple[str, str]:
    return block.heading, block.language


def blocks_to_run(section: str) -> list[Block]:
    return [
        block for block in BLOCKS if block.section == section and block.language in RUN and kind(block) not in NOT_RUN
    ]


@dataclass
class Callbacks:
    """What came to example.com."""

    calls: list[Asked] = field(default_factory=list)

    def note(self, asked: Asked) -> Answer:
        self.calls.append(asked)
        return Answer(HTTPStatus.NO_CONTENT)


@pytest.fixture(scope="module")
def example() -> Iterator[tuple[Callbacks, int]]:
    found = Callbacks()
    with answering(found.note) as address:
        yield found, int(address.rpartition(":")[2])


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of videos: the first one in two languages, and both together longer than a segment."""
    folder = tmp_path_factory.mktemp("media")
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=20", "-map", "0:v", "-c:v", "mpeg4"]
    sound = ["-f", "lavfi", "-i", "sine=duration=20", "-map", "1:a", "-ac:a:0", "2", "-c:a", "aac"]
    second = ["-map", "1:a", "-ac:a:1", "1", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"]
    inputs, outputs = [*picture[:4], *sound[:4]], [*picture[4:], *sound[4:]]
    subprocess.run([*FFMPEG, *inputs, *outputs, *second, str(folder / "one.mp4")], check=True, timeout=60)
    subprocess.run([*FFMPEG, *inputs, *outputs, str(folder / "two.mkv")], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, as a machine has one that can't reach Demucs's hub: a small `htdemucs`."""
    folder = tmp_path_factory.mktemp("models")
    save_pickle(folder, "7e570001", small_model())
    save_bag(folder, "htdemucs", ["7e570001"])
    return folder


SECTIONS = [name for name in dict.fromkeys(each.section for each in BLOCKS) if blocks_to_run(name) and name != PACKAGE]
QUICK = "Convert by curl"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, example: tuple[Callbacks, int], media: Path, repo: Path
) -> Iterator[Server]:
    variables = {
        "PYTHONPATH": str(WORLD),
        "STREAMSRV_TEST_EXAMPLE_PORT": str(example[1]),
        "STREAMSRV_EXTRACT__MEDIA_ROOTS": str(media),
        "STREAMSRV_HLS__SEGMENT_SECONDS": "2",  # who plays what still grows looks again after so long
        "STREAMSRV_SEPARATE__MODEL_REPO": str(repo),
    }
    with serving(tmp_path_factory.mktemp("readme") / "data", environment=variables) as server:
        yield server


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What README speaks of as there: an interview, which takes its time to be sent slowly, and songs."""
    folder = tmp_path_factory.mktemp("songs")
    music(folder / "interview.wav", seconds=20)
    music(folder / "song.wav", seconds=8, seed=1)
    music(folder / "song.mp3", seconds=3, seed=2)
    return folder


@pytest.fixture
def reader(server: Server, songs: Path, media: Path, repo: Path, tmp_path: Path) -> Reader:
    """Somebody who has those songs, and names the folder of models and another port in the settings."""
    shutil.copytree(songs, tmp_path, dirs_exist_ok=True)
    settings = {"SERVER__PORTS": str(free_port()), "SEPARATE__MODEL_REPO": str(repo)}
    variables = at_home(tmp_path, int(server.url.rpartition(":")[2]))
    variables |= {f"STREAMSRV_{name}": value for name, value in settings.items()}
    return Reader(tmp_path, variables, {"/srv/media": str(media), **BLANKS})


def test_each_block_has_a_verdict() -> None:
    """What is neither run nor read has a reason, each block its own."""
    without = [block for block in BLOCKS if block.language not in RUN | READ or kind(block) in NOT_RUN]
    assert Counter(map(kind, without)) == Counter(NOT_RUN.keys())


@pytest.mark.parametrize("section", [QUICK, *thoroughly(*(name for name in SECTIONS if name != QUICK))])
def test_examples_run_to_their_end(reader: Reader, section: str) -> None:
    """Each command of a section ends well, one after the other, says what README shows, and what it saves is sound."""
    theirs = set(reader.folder.iterdir())
    for block in blocks_to_run(section):
        reader.run(block, status=STATUS.get(kind(block), 0))
        saved = {file for file in reader.folder.iterdir() if file.suffix in {".mp3", ".flac", ".wav"}} - theirs
        assert all(len(decode(file)) > RATE for file in saved)


def names(document: object) -> set[str]:
    return set(re.findall(r'"(\w+)":', json.dumps(document)))


def test_shown_json_is_what_comes(reader: Reader, server: Server, example: tuple[Callbacks, int]) -> None:
    """The JSON that README shows is JSON, and has the names of what comes once README's program has sent a song."""
    calls = example[0].calls
    before = len(calls)
    for block in BLOCKS:
        if block.language == "python":
            reader.run(block)
    told = json.loads(until(lambda: calls[before:])[0].body)
    came = {"Which model separates it": get_song(server, told["data"]["hash"]), "Callbacks": told}
    shown = {block.heading: json.loads(block.code) for block in BLOCKS if block.language in READ}
    assert {heading: names(document) - names(came.get(heading)) for heading, document in shown.items()} == {
        heading: set() for heading in came
    }


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("sh", "curl -f http://localhost:8080/nothing\n"),
        ("sh", "curl http://localhost:8080/nothing &\n"),
        ("sh", "false\ntrue\n"),
        ("sh", "make nothing\n"),
        ("sh", 'make serve ARGS="--nothing"\n'),
        ("sh", "STREAMSRV_SERVER__PORTS=99999 make serve\n"),
        ("console", '$ curl http://localhost:8080/v1/stream/jobs\n{"nothing": 1}\n'),
        ("python", "import requests\nrequests.get('http://localhost:8080/nothing').raise_for_status()\n"),
        ("toml", "[server]\nnothing = 1\n"),
    ],
    ids=["error", "problem", "not the last", "target", "flag", "setting", "answer", "program", "key"],
)
def test_what_is_wrong_is_noticed(reader: Reader, language: str, code: str) -> None:
    """An example that doesn't end well, a target, flag or setting that isn't there, and another answer fail."""
    with pytest.raises((AssertionError, ValueError)):
        reader.run(Block("", "", language, 1, code))


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_it_installs_as_a_package(reader: Reader, tmp_path: Path) -> None:
    """README's way of installing leads to a server that separates, and that ends well when it is interrupted."""
    (block,) = blocks_to_run(PACKAGE)
    copy_kept(tmp_path, *SOURCES)
    reader.ours |= {"/opt/streamsrv": f"{tmp_path}/opt", "/var/lib/streamsrv": f"{tmp_path}/kept"}
    url, log = f"http://127.0.0.1:{reader.variables['STREAMSRV_SERVER__PORTS']}", tmp_path / "server.log"
    argv = ["bash", "-e", "-c", reader.put_in(block.code)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            argv, cwd=tmp_path, env=reader.variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until(lambda: child.poll() is not None or '"listening"' in log.read_text(), seconds=400, what=log.read_text)
        assert child.poll() is None, log.read_text()
        models = requests.get(f"{url}/apiv1/models", timeout=30).json()["models"]
        assert {model["state"] for model in models} == {"available"}
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)  # as by Ctrl+C
            child.wait(30)
        shutil.rmtree(tmp_path / "opt", ignore_errors=True)  # a gigabyte
    assert child.returncode == 0, log.read_text()
    assert (tmp_path / "kept" / "streamsrv.sqlite").is_file()
