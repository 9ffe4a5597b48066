"""The Dockerfile: read, and where it builds the server done as docker would, in a folder of the test's."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path, PurePath

import pytest
import requests
from support.checkout import ROOT, copy_kept, kept_files
from support.deadline import until
from support.server import free_port
from support.sound import tone

INSTALLS_SYSTEM_PACKAGES = "apt-get install"


@dataclass(frozen=True)
class Instruction:
    word: str
    words: str


def read_dockerfile() -> list[Instruction]:
    """Its instructions, each in one line, without comments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line]


INSTRUCTIONS = read_dockerfile()


def all_of(word: str) -> list[str]:
    return [instruction.words for instruction in INSTRUCTIONS if instruction.word == word]


def copied() -> list[str]:
    """The files and folders of the checkout that go into the image's making."""
    return [name for words in all_of("COPY") if not words.startswith("--from") for name in words.split()[:-1]]


RULES = [
    rule
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if rule and not rule.startswith("#")
]


def is_sent(file: Path) -> bool:
    """Is the file let in by .dockerignore, whose last rule that fits the file or a folder above it counts?"""
    path = PurePath(file.relative_to(ROOT))
    sent = True
    for rule in RULES:
        pattern = rule.lstrip("!")
        if any(fnmatch(str(each), pattern) or fnmatch(f"/{each}", f"/{pattern}") for each in (path, *path.parents)):
            sent = rule.startswith("!")
    return sent


@pytest.mark.parametrize("name", copied())
def test_what_is_copied_is_there(name: str) -> None:
    """Each file and folder that is copied is one of the project's, and is sent to docker with all that is in it."""
    files = kept_files(name)
    assert files != []
    assert [file for file in files if not is_sent(file)] == []


def test_nothing_else_is_sent() -> None:
    """All is hidden from docker but what is copied."""
    assert RULES[0] == "*"
    assert {rule[1:] for rule in RULES if rule.startswith("!")} == set(copied())


def test_its_system_packages_are_known() -> None:
    """What is installed by apt is what the Makefile installs, too."""
    known = set(re.findall(r"=([a-z0-9][a-z0-9.+-]+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for line in all_of("RUN"):
        for words in re.findall(rf"{INSTALLS_SYSTEM_PACKAGES} ([^&]+)", line):
            assert {word for word in words.split() if not word.startswith("-")} <= known


def own_folders(folder: Path, text: str) -> str:
    """The image's folders, in ours."""
    return re.sub(r"(?<![\w./])/(?=(?:wheels|opt/streamsrv|data)\b)", f"{folder}/", text)


def build(folder: Path, **variables: str) -> None:
    """Do what the Dockerfile does to make the server, but for system packages and users, with these variables."""
    source = folder / "source"
    copy_kept(source, *copied())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line in all_of("RUN"):
        if INSTALLS_SYSTEM_PACKAGES not in line:
            argv = ["sh", "-c", own_folders(folder, line)]
            env = {**os.environ, "PATH": path, **variables}
            done = subprocess.run(argv, cwd=source, env=env, capture_output=True, check=False, text=True, timeout=400)
            assert done.returncode == 0, done.stdout + done.stderr


def image_variables(folder: Path) -> dict[str, str]:
    """Those that the image sets, on addresses and ports of this test."""
    path = os.environ["PATH"]
    told = [shlex.split(own_folders(folder, words).replace("$PATH", path)) for words in all_of("ENV")]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMSRV_", "PYTHONPATH"))}
    variables = ours | dict(word.split("=", 1) for words in told for word in words)
    assert {"STREAMSRV_SERVER__HOSTS", "STREAMSRV_SERVER__PORTS", "STREAMSRV_SERVER__DATA_DIR"} <= set(variables)
    ports = f"{free_port()},{free_port()}"
    return variables | {"STREAMSRV_SERVER__HOSTS": "127.0.0.1", "STREAMSRV_SERVER__PORTS": ports}


@contextmanager
def running(folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """The image's command, until the end of the block; it has to end well."""
    log = folder / "server.log"
    (folder / "data").mkdir()
    program, *arguments = json.loads(all_of("CMD")[0])
    with log.open("wb") as output:
        argv = [shutil.which(program, path=variables["PATH"]) or program, *arguments]
        child = subprocess.Popen(argv, cwd=folder / "data", env=variables, stdout=output, stderr=output)
    try:
        until(lambda: child.poll() is not None or '"listening"' in log.read_text(), what=log.read_text)
        yield
    finally:
        child.terminate()
        assert child.wait(20) == 0, log.read_text()


def is_healthy(variables: Mapping[str, str]) -> bool:
    """What the image's health check says."""
    program, *arguments = json.loads(all_of("HEALTHCHECK")[0].partition(" CMD ")[2])
    argv = [shutil.which(program, path=variables["PATH"]) or program, *arguments]
    return subprocess.run(argv, env=variables, capture_output=True, check=False, timeout=20).returncode == 0


def documented_flags() -> list[str]:
    """Those with which README runs the image."""
    (command,) = re.findall(r"^docker run (.+?[^\\])$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return shlex.split(command.replace("\\\n", " "))


def test_it_is_run_with_few_rights() -> None:
    """README runs it on a system that it can't write to, without capabilities, within bounds; what is written lies in
    the volume or in memory."""
    flags = documented_flags()
    assert {"--read-only", "--memory", "--pids-limit"} <= {*flags}
    pairs = {*pairwise(flags)}
    assert {("--tmpfs", "/tmp"), ("--cap-drop", "ALL"), ("--security-opt", "no-new-privileges")} <= pairs
    (volume,) = all_of("VOLUME")
    variables = dict(word.split("=", 1) for words in all_of("ENV") for word in shlex.split(words))
    assert [variables["HOME"], variables["STREAMSRV_SERVER__DATA_DIR"], *all_of("WORKDIR")[-1:]] == [volume] * 3
    assert [user for user in all_of("USER") if user != "root"]
    assert int(min(variables["STREAMSRV_SERVER__PORTS"].split(","), key=int)) >= 1024


def test_it_needs_to_write_to_its_data_only(tmp_path: Path) -> None:
    """On such a system, all of which can only be read but /tmp and the data, a server starts and converts a song."""
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    song = tone(tmp_path / "a.wav", seconds=1)
    binds = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")
    back = (*("--ro-bind", str(ROOT), str(ROOT)), *("--bind", str(data), str(data), "--chdir", str(data)))
    rights = ("--cap-drop", "ALL", "--die-with-parent")
    argv = [sys.executable, "-m", "streamsrv", "serve", "--port", str(port), "--data-dir", str(data)]
    env = {**os.environ, "HOME": str(data)}
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        child = subprocess.Popen(["bwrap", *binds, *back, *rights, *argv], env=env, stdout=output, stderr=output)
    try:
        until(lambda: child.poll() is not None or '"listening"' in log.read_text(), what=log.read_text)
        with song.open("rb") as file:
            url = f"http://127.0.0.1:{port}/convert?format=mp3"
            reply = requests.post(url, files={"file": file}, timeout=60)
        assert (reply.status_code, len(reply.content) > 1000) == (200, True), reply.text
    finally:
        child.kill()
        child.wait(20)
    assert (data / "streamsrv.sqlite").is_file()


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_it_builds_a_server(tmp_path: Path) -> None:
    """Built without separation, the server starts as the image does, has the page with hls.js, and is healthy."""
    build(tmp_path, EXTRAS="")
    variables = image_variables(tmp_path)
    assert shutil.which("python", path=variables["PATH"]) == str(tmp_path / "opt/streamsrv/bin/python")
    assert not is_healthy(variables)
    with running(tmp_path, variables):
        for port in variables["STREAMSRV_SERVER__PORTS"].split(","):
            page = requests.get(f"http://127.0.0.1:{port}/", timeout=10)
            assert (page.status_code, "separate-tab" in page.text) == (200, False)
        assert requests.get(f"http://127.0.0.1:{port}/static/vendor/hls.min.js", timeout=10).status_code == 200
        assert is_healthy(variables)
    assert (tmp_path / "data" / "streamsrv.sqlite").is_file()


@pytest.mark.thorough
def test_it_builds_one_that_separates(tmp_path: Path) -> None:
    """With what it installs unless told otherwise its commands end well; here without what others wrote."""
    (told,) = [words for words in all_of("ARG") if words.startswith("EXTRAS=")]
    build(tmp_path, EXTRAS=told.partition("=")[2], PIP_NO_DEPS="1")
    assert list(
        (tmp_path / "opt/streamsrv").glob("lib/python*/site-packages/streamsrv/separate/built_in/*.safetensors")
    )
