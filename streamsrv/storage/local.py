"""Storage in a folder of this machine's disk."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from streamsrv.files import disk_errors, put_in_place
from streamsrv.storage.disk import empty_folder, remove_tree
from streamsrv.storage.storage import check_key


class LocalStorage:
    """A `Storage` below `root`: what lasts in `files`, one file for each key, and scratch folders in `scratch`."""

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._scratch = root / "scratch"

    async def put(self, key: str, source: Path) -> None:
        await self.put_all([(key, source)])

    async def put_all(self, files: Sequence[tuple[str, Path]]) -> None:
        placed = [(source, self._path(key)) for key, source in files]
        with disk_errors():
            await asyncio.to_thread(put_in_place, placed)

    async def read(self, key: str) -> bytes | None:
        return await asyncio.to_thread(_read, self._path(key))

    async def locate(self, key: str) -> Path | None:
        path = self._path(key)
        return path if await asyncio.to_thread(path.is_file) else None

    async def names(self, prefix: str) -> list[str]:
        return await asyncio.to_thread(_names, self._path(prefix))

    async def remove(self, prefix: str) -> None:
        await asyncio.to_thread(remove_tree, self._path(prefix))

    @asynccontextmanager
    async def scratch(self, name: str) -> AsyncIterator[Path]:
        prefix = check_key(name).replace("/", ".") + "."
        loop = asyncio.get_running_loop()
        making = loop.run_in_executor(None, self._make_scratch, prefix)
        try:
            with disk_errors():
                folder = Path(await asyncio.shield(making))
        except asyncio.CancelledError:
            # The thread makes it all the same.
            with suppress(OSError):
                await loop.run_in_executor(None, remove_tree, Path(await making))
            raise
        try:
            yield folder
        finally:
            # It goes even if the one who waits for that is cancelled before a thread is free for it.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, remove_tree, folder))

    async def sweep(self) -> None:
        """Remove the scratch folders that a killed server left. Call it once, before the first `scratch`."""
        await asyncio.to_thread(empty_folder, self._scratch)

    def _path(self, key: str) -> Path:
        return self._files / check_key(key)

    def _make_scratch(self, prefix: str) -> str:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix=prefix, dir=self._scratch)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return path.read_bytes()
    return None
