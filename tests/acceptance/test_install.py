"""The server as it is installed: a wheel in an environment of its own, and the command line that people meet first."""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from support.checkout import ROOT, copy_kept
from support.deadline import until
from support.server import free_port

from streamsrv.config import Config

# What a wheel is made of; all other files of the checkout can be missing.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "streamsrv", "config", "static")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Dockerfile")
EX_CONFIG = 78


def run(*argv: str | Path) -> None:
    done = subprocess.run([str(word) for word in argv], capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment where the wheel is installed; other packages are borrowed from this one."""
    folder = tmp_path_factory.mktemp("install")
    copy_kept(folder / "sources", *SOURCES)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder / "wheels", folder / "sources")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    installed = folder / "venv" / "bin" / "python"
    (wheel,) = (folder / "wheels").glob("*.whl")
    run(*pip, "--python", installed, "install", "--no-deps", "--no-index", wheel)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return installed


def streamsrv(
    python: Path, folder: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    argv = [str(python), "-m", "streamsrv", *map(str, arguments)]
    environ = clean_environment(environment)
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, check=False, text=True, timeout=30)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of a server, and with `extra`."""
    ours = ("STREAMSRV_", "ALLOWED_ORIGINS", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | dict(extra or {})


@contextmanager
def serving(python: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A server that is told everything by variables; it has begun to listen."""
    log = folder / "server.log"
    with log.open("wb") as output:
        argv = [str(python), "-m", "streamsrv", "serve"]
        child = subprocess.Popen(argv, cwd=folder, env=clean_environment(environment), stdout=output, stderr=output)
    try:
        until(lambda: child.poll() is not None or '"listening"' in log.read_text(), what=log.read_text)
        assert child.poll() is None, log.read_text()
        yield
    finally:
        child.terminate()
        child.wait(20)


def test_wheel_brings_settings_and_page(python: Path, tmp_path: Path) -> None:
    """Installed from a wheel, the program, its defaults and its page come from the environment, not from a checkout."""
    code = "import streamsrv.config as c; print(c.__file__, c.shipped('config'), c.shipped('static'), sep='\\n')"
    argv = [str(python), "-c", code]
    found = subprocess.run(argv, cwd=tmp_path, env=clean_environment(), capture_output=True, check=True, text=True)
    program, config, static = map(Path, found.stdout.splitlines())
    venv = python.parents[1]
    assert all(path.is_relative_to(venv) for path in (program, config, static))
    assert (config / "default.toml").read_bytes() == (ROOT / "config" / "default.toml").read_bytes()
    page = {path.name for path in (ROOT / "static").iterdir() if path.is_file()}
    assert {path.name for path in static.iterdir() if path.is_file()} == page
    assert (static / "demo" / "song.mp3").read_bytes() == (ROOT / "static" / "demo" / "song.mp3").read_bytes()
    assert (venv / "bin" / "streamsrv").is_file()


def test_wheel_brings_the_built_in_model(python: Path, tmp_path: Path) -> None:
    """The model that needs no download comes out of the wheel as it went in, with its card."""
    code = "from streamsrv.separate.catalog import built_in_file; print(built_in_file())"
    argv = [str(python), "-c", code]
    found = subprocess.run(argv, cwd=tmp_path, env=clean_environment(), capture_output=True, check=True, text=True)
    file = Path(found.stdout.strip())
    assert file.is_relative_to(python.parents[1])
    for name in (file.name, f"{file.stem}.md"):
        ours = ROOT / "streamsrv" / "separate" / "built_in" / name
        assert (file.parent / name).read_bytes() == ours.read_bytes()


def test_installed_server_obeys_variables(python: Path, tmp_path: Path) -> None:
    """It serves the page on each port of a comma-separated list, for the origins that ALLOWED_ORIGINS names."""
    ports = [free_port(), free_port()]
    environment = {
        "STREAMSRV_SERVER__HOSTS": '["127.0.0.1"]',
        "STREAMSRV_SERVER__PORTS": f"{ports[0]}, {ports[1]}",
        "STREAMSRV_SERVER__DATA_DIR": "kept",
        "STREAMSRV_LOG__FORMAT": "json",
        "ALLOWED_ORIGINS": "https://one.example, https://two.example",
    }
    with serving(python, tmp_path, environment):
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        pages = [requests.get(url, timeout=10).content for url in urls]
        replies = {
            name: requests.get(f"{urls[0]}/health", headers={"Origin": f"https://{name}.example"}, timeout=10)
            for name in ("one", "two", "three")
        }
    assert pages == [(ROOT / "static" / "index.html").read_bytes()] * 2
    allowed = {name: reply.headers.get("Access-Control-Allow-Origin") for name, reply in replies.items()}
    assert allowed == {"one": "https://one.example", "two": "https://two.example", "three": None}
    assert (tmp_path / "kept" / "streamsrv.sqlite").is_file()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), ("doctor", "serve", "STREAMSRV_JOBS__CONCURRENCY")),
        (("serve",), ("--config FILE", "--host", "--port", "--data-dir DIR", "http://localhost:8080")),
    ],
)
def test_help_tells_what_there_is(
    python: Path, tmp_path: Path, command: tuple[str, ...], said: tuple[str, ...]
) -> None:
    """--help names every command and option, and no line of it is cut short."""
    told = streamsrv(python, tmp_path, *command, "--help")
    assert told.returncode == 0, told.stderr
    assert [words for words in said if words not in told.stdout] == []
    assert "..." not in told.stdout.replace("[ARGS]...", "")


def test_wrong_settings_are_named_line_by_line(python: Path, tmp_path: Path) -> None:
    """Each wrong setting gets one line with its key, wherever it came from, and the exit status is 78."""
    (tmp_path / "own.toml").write_text('[server]\nport = 80\n[hls]\nsegment_seconds = "long"\n')
    environment = {"STREAMSRV_SERVER__PORTS": "8080,99999", "STREAMSRV_LOG__LEVEL": "loud"}
    ended = streamsrv(python, tmp_path, "serve", "--config", "own.toml", environment=environment)
    assert ended.returncode == EX_CONFIG
    first, *lines = ended.stderr.splitlines()
    assert first == "These settings can't be used:"
    keys = [line.strip().partition(":")[0] for line in lines]
    assert sorted(keys) == ["hls.segment_seconds", "log.level", "server.port", "server.ports.1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config", "missing.toml"), "missing.toml: No such file"),
        (("--data-dir", "broken.toml"), "data directory broken.toml"),
    ],
)
def test_start_that_fails_says_why_in_a_line(
    python: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """A file of settings or a data directory that can't be used ends with status 78 and one line that names it."""
    (tmp_path / "broken.toml").write_text("[server\n")
    ended = streamsrv(python, tmp_path, "serve", *arguments)
    assert ended.returncode == EX_CONFIG
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_doctor_says_what_is_missing(python: Path, tmp_path: Path) -> None:
    """doctor ends with 0 where all is there, else with 1 and how to mend it."""
    assert streamsrv(python, tmp_path, "doctor").returncode == 0
    sick = streamsrv(python, tmp_path, "doctor", environment={"STREAMSRV_FFMPEG__FFMPEG": "no-such-ffmpeg"})
    assert sick.returncode == 1
    assert "BAD  no-such-ffmpeg can't be found. Install it" in sick.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_what_exists(document: str) -> None:
    """Each variable and each linked file that a document names is really there."""
    text = (ROOT / document).read_text(encoding="utf-8")
    keys = {
        f"STREAMSRV_{section}__{key}".upper()
        for section, field in Config.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    }
    assert set(re.findall(r"STREAMSRV_[A-Z]+__[A-Z_]+[A-Z]", text)) <= keys | {"STREAMSRV_SECTION__KEY"}
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [name for name in linked if not (ROOT / name).exists()] == []
