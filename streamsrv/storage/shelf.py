"""A folder of things that can be made again: so many bytes of them, and what was used longest ago goes first."""

import asyncio
import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from streamsrv.files import disk_errors
from streamsrv.storage.disk import empty_folder, remove_tree, tree_bytes

# When entries were last used is written down at most so often, and at the end. A server that is killed forgets so much.
MARK_SECONDS = 5.0

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
# What lies in the folder beside entries begins with a dot, as no entry does.
_DOOMED = ".doomed."
_BOOT_NOTE = ".boot"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = structlog.stdlib.get_logger()


class Shelf:
    """At most `max_bytes` of entries, files or folders directly below `folder`. `async with` it.

    Whoever makes, changes or reads an entry holds it meanwhile; what is held stays, even where it is more than
    `max_bytes`. Sizes are those that were told or measured, in bytes of files. The next server finds all entries, also
    those that were being made when this one died. If `survives_reboot` is False, whose files needn't be synced, it
    finds them only under the same run of the kernel.
    """

    def __init__(self, folder: Path, *, max_bytes: int, survives_reboot: bool = True) -> None:
        self.size = 0
        self._folder = folder
        self._max_bytes = max_bytes
        self._survives_reboot = survives_reboot
        self._sizes: dict[str, int] = {}
        self._idle: dict[str, None] = {}  # those of them that nobody holds, used longest ago first
        self._holds: Counter[str] = Counter()
        self._unmeasured: set[str] = set()
        self._unwanted: set[str] = set()
        self._leaving: str | None = None
        self._renaming = threading.Lock()
        self._used_ns: dict[str, int] = {}  # what isn't written down yet
        self._last_ns = 0
        self._marked_at = float("-inf")
        self._tasks = asyncio.TaskGroup()
        self._due = asyncio.Event()
        self._changed = asyncio.Event()
        self._rounds_begun = 0
        self._rounds_ended = 0
        self._closing = False
        self._closed = False

    async def __aenter__(self) -> Self:
        with disk_errors():
            stock = await asyncio.to_thread(self._take_stock)
        for name, size in stock:
            self._set_size(name, size)
        await self._tasks.__aenter__()
        self._tasks.create_task(self._keep())
        try:
            await self.make_room()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._due.set()
        await self._tasks.__aexit__(None, None, None)

    @contextmanager
    def hold(self, name: str) -> Iterator[Path]:
        """Give the path of the entry, which may be there or not; within the block it isn't removed.

        Leaving the block marks it as used now. Any number may hold the same entry.
        """
        self._take(name)
        try:
            yield self._folder / name
        finally:
            self._let_go(name)
            if name not in self._sizes:
                self._unmeasured.add(name)
            if not self._used_ns or name not in self._sizes:
                self._due.set()
            self._last_ns = self._used_ns[name] = max(time.time_ns(), self._last_ns + 1)

    async def measure(self, name: str) -> None:
        """Learn the size of an entry that was made or has changed, and make room."""
        await self._learn(name)
        if self._is_too_full():
            await self.make_room()

    async def grow(self, name: str, count: int) -> None:
        """Count so many bytes that were added to an entry, and make room. Costs next to nothing while there is room."""
        if name in self._sizes:
            self._sizes[name] += count
            self.size += count
        else:
            await self._learn(name)
        if self._is_too_full():
            await self.make_room()

    async def remove(self, name: str) -> None:
        """Remove the entry; if somebody holds it, as soon as it is let go. Missing is fine."""
        self._unwanted.add(_check(name))
        if name not in self._holds:
            await self.make_room()

    async def clear(self) -> int:
        """Remove all that nobody holds, and tell how many bytes that were."""
        count = sum(self._sizes[name] for name in self._idle)
        self._unwanted.update(self._idle)
        await self.make_room()
        return count

    async def make_room(self) -> None:
        """Wait until all is gone that should be and isn't held."""
        wanted = self._rounds_begun + 1
        self._due.set()
        while self._rounds_ended < wanted and not self._closed:
            await self._changed.wait()

    def _take(self, name: str) -> None:
        self._holds[_check(name)] += 1
        self._idle.pop(name, None)
        if name == self._leaving:
            # The thread that removes it looks, under this lock, whether it is held. So afterwards it is gone, or
            # it stays. That takes one renaming at most.
            with self._renaming:
                pass

    def _let_go(self, name: str) -> None:
        self._holds[name] -= 1
        if self._holds[name] > 0:
            return
        del self._holds[name]
        if name in self._sizes:
            self._idle[name] = None
        if self._is_too_full() or name in self._unwanted:
            self._due.set()

    def _is_too_full(self) -> bool:
        return self.size > self._max_bytes and bool(self._idle)

    def _set_size(self, name: str, size: int | None) -> None:
        """None where there is no such entry."""
        self.size -= self._sizes.pop(name, 0)
        self._idle.pop(name, None)
        if size is not None:
            self._sizes[name] = size
            self.size += size
            if name not in self._holds:
                self._idle[name] = None

    async def _learn(self, name: str) -> None:
        self._take(name)
        try:
            self._set_size(name, await asyncio.to_thread(tree_bytes, self._folder / name))
        except OSError as error:  # it counts as it did; whoever reads it hears of the disk
            log.warning("shelf_entry_not_measured", name=name, folder=self._folder.name, reason=repr(error))
        finally:
            self._let_go(name)

    # What follows is the one task that removes, so that nobody who is cancelled leaves the books half written.

    async def _keep(self) -> None:
        try:
            while not self._closing:
                await self._wait_until_due()
                await self._tidy()
                if asyncio.get_running_loop().time() >= self._marked_at + MARK_SECONDS:
                    await self._mark_used()
            await self._mark_used()
        finally:
            self._closed = True
            self._notify()

    async def _wait_until_due(self) -> None:
        wait_seconds = None
        if self._used_ns:
            wait_seconds = max(0.0, self._marked_at + MARK_SECONDS - asyncio.get_running_loop().time())
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._due.wait()
        self._due.clear()

    async def _tidy(self) -> None:
        """One round: whoever asked for room before it began has got it when it ends."""
        self._rounds_begun += 1
        while self._unmeasured:
            await self._learn(self._unmeasured.pop())
        while (name := self._next_to_go()) is not None:
            await self._remove(name)
        self._rounds_ended = self._rounds_begun
        self._notify()

    def _next_to_go(self) -> str | None:
        for name in self._unwanted:
            if name not in self._holds:
                return name
        return next(iter(self._idle)) if self._is_too_full() else None

    async def _remove(self, name: str) -> None:
        size, unwanted = self._sizes.get(name), name in self._unwanted
        self._set_size(name, None)
        self._unwanted.discard(name)
        self._leaving = name
        try:
            removed = await asyncio.to_thread(self._remove_unheld, name)
        except OSError as error:  # no more to be done now; the next server tries again
            log.warning("shelf_entry_stays", name=name, folder=self._folder.name, reason=repr(error))
            return
        finally:
            self._leaving = None
        if removed:
            log.info("shelf_entry_removed", name=name, folder=self._folder.name, bytes=size)
            return
        if name not in self._sizes:
            self._set_size(name, size)
        if unwanted:
            self._unwanted.add(name)

    async def _mark_used(self) -> None:
        used_ns, self._used_ns = self._used_ns, {}
        self._marked_at = asyncio.get_running_loop().time()
        try:
            await asyncio.to_thread(_write_times, self._folder, used_ns)
        except OSError as error:  # the order of removal suffers, nothing else
            log.warning("shelf_not_marked", folder=self._folder.name, reason=repr(error))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # What follows runs in threads.

    def _remove_unheld(self, name: str) -> bool:
        """Remove the entry, first by name, so that nobody sees half of it; False where somebody holds it."""
        doomed = self._folder / f"{_DOOMED}{uuid.uuid4().hex}"
        with self._renaming:
            if name in self._holds:
                return False
            with suppress(FileNotFoundError):  # it never was there
                (self._folder / name).rename(doomed)
        remove_tree(doomed)
        return True

    def _take_stock(self) -> list[tuple[str, int]]:
        """Give the entries that a former server left, used longest ago first, with their sizes."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._survives_reboot:
            _empty_after_reboot(self._folder)
        found: list[tuple[int, str, int]] = []
        for path in list(self._folder.iterdir()):
            if _NAME.fullmatch(path.name):
                found.append((path.lstat().st_mtime_ns, path.name, tree_bytes(path) or 0))
            elif path.name != _BOOT_NOTE or self._survives_reboot:
                remove_tree(path)
        return [(name, size) for _, name, size in sorted(found)]


def _check(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name for an entry: {name!r}")
    return name


def _empty_after_reboot(folder: Path) -> None:
    """Nothing was synced: only the kernel that took the bytes vouches for them."""
    note = folder / _BOOT_NOTE
    boot_id = _BOOT_ID.read_bytes() if _BOOT_ID.exists() else b""
    if boot_id and note.is_file() and note.read_bytes() == boot_id:
        return
    empty_folder(folder)
    with suppress(OSError):  # a full disk must not keep the server from starting; the next one begins empty, too
        note.write_bytes(boot_id)


def _write_times(folder: Path, used_ns: dict[str, int]) -> None:
    for name, at_ns in used_ns.items():
        with suppress(FileNotFoundError):  # removed meanwhile, or never made
            os.utime(folder / name, ns=(at_ns, at_ns), follow_symlinks=False)
