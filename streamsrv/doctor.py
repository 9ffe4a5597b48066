"""What `doctor` looks at: all that a server with these settings needs, and how to mend what isn't there."""

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from streamsrv.app.house import database_file
from streamsrv.app.orphans import find_orphans
from streamsrv.app.separation import model_catalog
from streamsrv.config import Config, shipped
from streamsrv.errors import Problem
from streamsrv.jobs.inspection import inspect
from streamsrv.jobs.schema import UnusableDatabase
from streamsrv.media.tools import find_tools
from streamsrv.separate.catalog import NOT_INSTALLED, Entry, hub_silence, is_installed
from streamsrv.separate.choice import AUTO, PREFERRED, Choice, choose
from streamsrv.server import CannotStart, check_devices, check_outbound
from streamsrv.storage.privacy import find_open

# What is with that model where nobody knows of a server that fetches it.
IS_TO_COME = f"{PREFERRED} isn't here yet, and the server downloads it when it starts"
# Less is filled by one long song.
_LEAST_GIB = 2.0

# Is it good, and in a line for people, what is.
Finding = tuple[bool, str]


async def examine(config: Config) -> list[Finding]:
    """Look at all that the settings name; each finding is one line for people, and how to mend what isn't good."""
    return [
        *await _examine_ffmpeg(config),
        *_examine_data_dir(config.server.data_dir),
        _examine_database(config.server.data_dir.resolve()),
        _examine_ports(config),
        *_examine_media_roots(config.extract.media_roots),
        _examine_outbound(config),
        *_examine_separation(config),
        _examine_page(),
    ]


async def _examine_ffmpeg(config: Config) -> list[Finding]:
    try:
        tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
    except Problem as problem:
        return [(False, problem.detail)]
    sandbox = "under bubblewrap" if tools.sandboxed else "without bubblewrap (not installed, or forbidden here)"
    return [(True, f"ffmpeg {tools.version} runs {sandbox}."), *((False, line) for line in tools.shortcomings())]


def _examine_data_dir(data_dir: Path) -> list[Finding]:
    folder = data_dir.resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with TemporaryDirectory(prefix=".doctor-", dir=existing):
            pass  # who may write by the modes of files may still be kept from it: by the kernel, or by a full disk
    except OSError as error:
        words = f"The data directory {folder} can't be used: {error.strerror}. Choose another with --data-dir."
        return [(False, words)]
    line = find_open(folder, database_file(folder))
    opened = [] if line is None else [(True, line)]  # somebody may want it so
    return [(True, f"The data directory is {folder}."), *opened, _examine_space(folder, existing)]


def _examine_space(folder: Path, existing: Path) -> Finding:
    free = shutil.disk_usage(existing).free / (1 << 30)
    if free < _LEAST_GIB:
        return False, f"There are only {free:.1f} GiB free on the disk of {folder}. Remove what isn't needed there."
    return True, f"There are {free:.0f} GiB free on its disk."


def _examine_database(data: Path) -> Finding:
    file = database_file(data)
    in_use = _is_served(data)
    try:
        found = inspect(file, in_use=in_use)
    except UnusableDatabase as error:
        if not in_use and _is_served(data):
            return _examine_database(data)  # a server has begun to write meanwhile
        return False, f"{error} Copy it back from a backup of the data directory, or move it away and lose its jobs."
    if not found.has_history and (orphans := find_orphans(data)) is not None:
        return False, orphans
    if not found.step:
        return True, "The job database isn't there yet; the first start makes it."
    old = "" if found.step == found.steps else ", and is brought up to date by the next start"
    return True, f"The job database is whole, at step {found.step} of {found.steps}{old}."


def _examine_ports(config: Config) -> Finding:
    """A server of this data directory that runs has its ports, which is as it should be."""
    server = config.server
    if _is_served(server.data_dir):
        return True, "A server of this data directory is running."
    taken = [port for port in server.ports if any(_is_taken(host, port) for host in server.hosts)]
    if taken:
        return False, f"Port {taken[0]} is in use by another program. Choose another with --port."
    return True, f"The server can listen on port {', '.join(map(str, server.ports))}."


def _is_served(data_dir: Path) -> bool:
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # nobody ever served from there
    return False


def _is_taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _examine_media_roots(roots: Sequence[Path]) -> list[Finding]:
    if not roots:
        return [(True, "Videos are extracted from web servers only: there are no media roots (extract.media_roots).")]
    return [_examine_media_root(root) for root in roots]


def _examine_media_root(root: Path) -> Finding:
    if not root.is_dir():
        return False, f"The media root {root} isn't a folder. Make it, or name another in extract.media_roots."
    if not os.access(root, os.R_OK | os.X_OK):
        return False, f"The media root {root} can't be read by this user."
    return True, f"Videos below {root} can be extracted from."


def _examine_outbound(config: Config) -> Finding:
    try:
        check_outbound(config)
    except CannotStart as error:
        return False, str(error)
    more = f", and {', '.join(config.outbound.allow)}" if config.outbound.allow else ""
    return True, f"Videos are downloaded from the public internet{more}."


def _examine_separation(config: Config) -> list[Finding]:
    settings = config.separate
    try:
        names = ", ".join(device.name for device in check_devices(config))
        findings = [(True, f"Songs are separated on {names}.")]
    except CannotStart as error:
        findings = [(False, str(error))]
    if not is_installed():  # which is good: all the rest works
        return [
            *(finding for finding in findings if not finding[0]),
            (True, f"Songs aren't separated: {NOT_INSTALLED}."),
        ]
    entries = model_catalog(config).models()
    choice = choose(settings.model, entries, is_coming=IS_TO_COME)
    return [*findings, _examine_model(choice, entries), *_examine_hub(settings.model, entries)]


def _examine_hub(wanted: str, entries: Sequence[Entry]) -> list[Finding]:
    """Can the model be fetched that is wanted and isn't here? Without it songs get the built-in one, if any will do."""
    name = PREFERRED if wanted == AUTO else wanted
    entry = next((entry for entry in entries if entry.name == name), None)
    if entry is None or entry.state != "needs download":
        return []
    silence = hub_silence()
    if silence is None:
        return [(True, f"The hub that has {entry.name} answers.")]
    return [(wanted == AUTO, f"{entry.name} can't be downloaded now: {silence}.")]


def _examine_model(choice: Choice, entries: Sequence[Entry]) -> Finding:
    known = {entry.name: entry for entry in entries}
    entry, preferred = known.get(choice.model), known.get(PREFERRED)
    if entry is None:
        return False, f"There is no model {choice.model}, which separate.model names."
    if entry.state == "missing":
        return False, f"The model {entry.name} is missing. {entry.detail}"
    if choice.why is not None:
        mend = f" {preferred.detail}" if preferred is not None and preferred.state == "missing" else ""
        return True, f"Songs get the small built-in model {entry.name}: {choice.why}.{mend}"
    words = {"available": "is here", "needs download": "will be downloaded by the first song that needs it"}
    return True, f"The model {entry.name} {words[entry.state]}."


def _examine_page() -> Finding:
    if (shipped("static") / "vendor" / "hls.min.js").is_file():
        return True, "The page plays through hls.js."
    return True, "hls.js isn't installed; the page uses the browser's own HLS. `make setup` installs it, where npm is."
