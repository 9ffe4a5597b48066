"""Somebody who tries a document's examples from top to bottom, word for word, in a folder of theirs.

What differs with everybody is put in: ids are those of the replies that came (the document shows others), and folders
that the document takes for given are others here. The document's port is our default, on which somebody may be serving
on this machine, so who connects to it is led to another one. What nobody could run in a test has a stand-in: `make`
installs nothing but says what it would do, and `ffplay` needs no screen.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamsrv.config import load_config
from support import commands
from support.blocks import Block, Command, typed_in
from support.checkout import ROOT
from support.songs import WORLD

# What is the same in each answer: names in JSON, the first line and names of headers, tags of playlists, and so on.
_SHOWN = re.compile(r'"\w+":|^HTTP/1.1 \d+|^[A-Z][\w-]+:|^#EXT[\w-]+|"/problems/[\w-]+"|^ok +\D{6}', re.MULTILINE)
_ID = re.compile(r'"(?:job_id|hash|cursor)":"([^"]+)"|^Location: \S+/(\w+)', re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Z]+=\S+\n")

# The true make, which only plans; settings are read by what would read them.
_MAKE = """#!/bin/sh -e
{make} --dry-run --no-print-directory -C {root} "$@"
exec {python} -c 'from streamsrv.config import load_config; load_config()'
"""
_FFPLAY = """#!/bin/sh
exec ffmpeg -nostdin -v error -i "$(echo "$1" | sed s/localhost:8080/127.0.0.1:{port}/)" -f null -
"""


@dataclass
class Reader:
    """Tries examples in `folder`. `ours` is what stands here for what the document names."""

    folder: Path
    variables: Mapping[str, str]
    ours: dict[str, str]
    _assigned: list[str] = field(default_factory=list)

    def put_in(self, text: str) -> str:
        for theirs, mine in self.ours.items():
            text = text.replace(theirs, mine)
        return text

    def run(self, block: Block, *, status: int = 0) -> None:
        """Run all of it to its end. AssertionError, or ValueError, where it doesn't do what the document says."""
        if block.language == "toml":
            (self.folder / "own.toml").write_text(block.code)
            load_config(self.folder / "own.toml")
        elif block.language == "python":
            self._end(Command(block.code), status, sys.executable, "-c", self.put_in(block.code))
        else:
            self._type_in(block, status)

    def _type_in(self, block: Block, status: int) -> None:
        for command in typed_in(block):
            typed = self.put_in(command.typed)
            if _ASSIGNMENT.fullmatch(typed):
                self._assigned.append(typed)
            else:
                script = "".join([*self._assigned, typed])
                self._end(command, status, "bash", "-e", "-o", "pipefail", "-c", script)

    def _end(self, command: Command, status: int, *argv: str) -> None:
        """It has to end so, to say what is shown, and no problem that isn't shown."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=110,
        )
        said = f"{argv[-1]}\n{done.stdout}"
        assert done.returncode == status, said
        assert "curl: (" not in done.stdout, said
        shown, came = set(_SHOWN.findall(command.shown)), set(_SHOWN.findall(done.stdout))
        assert shown <= came, f"{said}\nThe document shows {sorted(shown - came)}, too."
        assert {word for word in came - shown if "/problems/" in word} == set(), said
        if status:
            assert done.stdout == command.shown
        examples, ids = (["".join(groups) for groups in _ID.findall(text)] for text in (command.shown, done.stdout))
        self.ours.update(zip(examples, ids, strict=False))
        _assert_starts(done.stdout)


def _assert_starts(plan: str) -> None:
    """The flags with which `make` would start the server are flags of it."""
    for words in re.findall(r"-m streamsrv (serve.*)$", plan, re.MULTILINE):
        asked = commands.run(*shlex.split(words), "--help")
        assert asked.returncode == 0, f"{words}\n{asked.stderr}"


def at_home(folder: Path, port: int) -> dict[str, str]:
    """Make `folder` one in which the examples find what they name; the variables with which they find `port`, too.

    As in a checkout the environment is in `.venv`. No setting of this process, or of a `make` that began it, is theirs.
    """
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".curlrc").write_text(f'connect-to = "localhost:8080:127.0.0.1:{port}"\n')
    programs = folder / "programs"
    programs.mkdir()
    make = _MAKE.format(make=shutil.which("make"), root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable))
    for name, text in {"make": make, "ffplay": _FFPLAY.format(port=port)}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    ours = ("STREAMSRV_", "ALLOWED_ORIGINS", "MAKE", "MFLAGS", "ARGS", "EXTRAS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CURL_HOME": str(folder),
        "PYTHONPATH": str(WORLD),
        "STREAMSRV_TEST_MOVED_PORT": f"8080:{port}",
    }
