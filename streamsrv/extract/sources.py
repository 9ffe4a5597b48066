"""Where videos come from: which addresses may be read, and how they become files of this disk.

ffmpeg never sees an address. What lies on a web server is downloaded by us, through the guard; files of this machine
are read below the configured roots only, links resolved.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from streamsrv.errors import Problem, RefusedAddress, UnusableFile
from streamsrv.extract.identity import Identity
from streamsrv.text import hides_something

_FILE = "file://"
_OUTSIDE = "Files of this server are read below its media roots only (extract.media_roots)."
_SCHEMES = "A video is named by an address that begins with http://, https:// or file://."

# The bytes that are there, and those there will be, if that is known.
Progress = Callable[[int, int | None], None]


class DownloadedFile(Protocol):
    """A copy of what lies on a web server."""

    @property
    def path(self) -> Path: ...

    @property
    def sha256(self) -> str: ...


class Web(Protocol):
    """Brings files here."""

    def check(self, url: str) -> object:
        """Refuse at once what needs no look at the network for that. Raises RefusedAddress."""

    def current(self, url: str, progress: Progress | None = None) -> AbstractAsyncContextManager[DownloadedFile]:
        """The file as it is there now, for the block."""

    def kept(self, url: str, progress: Progress | None = None) -> AbstractAsyncContextManager[DownloadedFile]:
        """The copy that is here already, of any age, or else as `current`."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A video as it lies on this disk. `sha256`, in hex, where somebody has read it through already.

    `held()` keeps it there for a block, and gives its path.
    """

    uri: str
    path: Path
    identity: Identity
    held: Callable[[], AbstractAsyncContextManager[Path]]
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The last part of its address."""
        return unquote(urlsplit(self.uri).path).rpartition("/")[2]

    @property
    def stamp(self) -> list[int] | None:
        """What JSON can hold of the identity of a file of this machine; None for a copy of another's."""
        return list(astuple(self.identity)) if self.sha256 is None else None


class Sources:
    """Opens videos by their addresses. Every method raises RefusedAddress for those that aren't read here."""

    def __init__(self, roots: Sequence[Path], web: Web, *, private: Path) -> None:
        """Nothing below `private` is read, even where that lies below a root."""
        self._roots = [root.resolve() for root in roots]
        self._private = private.resolve()
        self._web = web

    @property
    def roots(self) -> list[Path]:
        return list(self._roots)

    def check(self, uri: str) -> None:
        """Refuse at once what needs no look at the disk or the network for that."""
        if uri.lower().startswith(_FILE):
            path_of(uri)
            if not self._roots:
                raise RefusedAddress(_OUTSIDE)
        elif uri.lower().startswith(("http://", "https://")):
            self._web.check(uri)
        else:
            raise RefusedAddress(_SCHEMES)

    @asynccontextmanager
    async def current(self, uri: str, progress: Progress | None = None) -> AsyncIterator[SourceFile]:
        """The video as it is now. Raises UnusableFile where there is none, FailedDownload, DiskFull."""
        async with self._opened(uri, self._web.current, progress) as source:
            yield source

    @asynccontextmanager
    async def kept(self, uri: str, progress: Progress | None = None) -> AsyncIterator[SourceFile]:
        """The same, but what was downloaded before is taken as it is: for those who know which content they want."""
        async with self._opened(uri, self._web.kept, progress) as source:
            yield source

    async def are_as_before(self, uris: Sequence[str], stamps: Sequence[list[int] | None]) -> bool:
        """Are all files of this machine what they were when they got these stamps? Of others nothing is known."""
        return await asyncio.to_thread(lambda: all(map(self._is_as_before, uris, stamps)))

    def _is_as_before(self, uri: str, stamp: list[int] | None) -> bool:
        if stamp is None:
            return True
        try:
            return list(astuple(self._find_file(uri)[1])) == stamp
        except Problem:
            return False

    def find(self, uri: str) -> Path:
        """The file or folder that a file:// address names. Blocks. Raises UnusableFile where there is none."""
        wanted = path_of(uri)
        try:
            path = wanted.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            if self._is_below(Path(os.path.realpath(wanted))):
                raise UnusableFile("There is no such file.") from error
            raise RefusedAddress(_OUTSIDE) from error
        if not self._is_below(path):
            raise RefusedAddress(_OUTSIDE)
        return path

    @asynccontextmanager
    async def _opened(
        self,
        uri: str,
        download: Callable[[str, Progress | None], AbstractAsyncContextManager[DownloadedFile]],
        progress: Progress | None,
    ) -> AsyncIterator[SourceFile]:
        self.check(uri)
        if uri.lower().startswith(_FILE):
            path, identity = await asyncio.to_thread(self._find_file, uri)
            yield SourceFile(uri, path, identity, lambda: _there(path))
            return
        async with download(uri, progress) as copy:
            identity = Identity.of(await asyncio.to_thread(copy.path.stat))
            yield SourceFile(uri, copy.path, identity, lambda: self._copy_held(uri), copy.sha256)

    @asynccontextmanager
    async def _copy_held(self, uri: str) -> AsyncIterator[Path]:
        async with self._web.kept(uri) as copy:
            yield copy.path

    def _find_file(self, uri: str) -> tuple[Path, Identity]:
        """The file as it was opened: whoever swaps a link for it meanwhile is found out by its identity."""
        with readable():
            # Not to be held up by a pipe that nobody writes to.
            descriptor = os.open(self.find(uri), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            path, status = Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not self._is_below(path):
            raise RefusedAddress(_OUTSIDE)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFile("That isn't a file.")
        return path, Identity.of(status)

    def _is_below(self, path: Path) -> bool:
        return not path.is_relative_to(self._private) and any(path.is_relative_to(root) for root in self._roots)


def is_elsewhere(uri: str) -> bool:
    """Does what it names lie on another machine?"""
    return not uri.lower().startswith(_FILE)


@contextmanager
def readable() -> Iterator[None]:
    """Say in words of a file in the block that it can't be read."""
    try:
        yield
    except OSError as error:
        raise UnusableFile(f"The file can't be read: {(error.strerror or 'the disk failed').lower()}.") from error


@asynccontextmanager
async def _there(path: Path) -> AsyncIterator[Path]:
    """A file that is somebody else's stays where it is."""
    yield path


def path_of(uri: str) -> Path:
    """The path that a file:// address names (RFC 8089). Pure. Raises RefusedAddress, also for a file elsewhere."""
    if not uri.lower().startswith(_FILE):
        raise RefusedAddress("What lies on this server is named by an address that begins with file://.")
    if hides_something(uri):  # others are shown the address as it was sent
        raise RefusedAddress("In an address control characters, and those that turn text around, are written as %XX.")
    try:
        parts = urlsplit(uri)
        path = unquote(parts.path, errors="strict")
    except ValueError as error:
        raise RefusedAddress("The address is malformed.") from error
    if parts.netloc not in ("", "localhost"):
        raise RefusedAddress("An address that begins with file:// has three slashes: it names a file of this server.")
    if parts.query or parts.fragment:
        raise RefusedAddress("In an address that begins with file:// write ? as %3F and # as %23.")
    if not path.startswith("/") or "\0" in path:
        raise RefusedAddress("The address is malformed.")
    return Path(path)
