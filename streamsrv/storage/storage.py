"""The port: files that last, under keys. Features know this and not where the files are."""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

_PART = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class Storage(Protocol):
    """Keys are "a/b/c"; their parts consist of letters, digits and `_.-`. Another key is a ValueError everywhere."""

    async def put(self, key: str, source: Path) -> None:
        """Take the file over under `key`, durably and all at once, in place of what was there.

        `source` is on the disk of `scratch` and is gone afterwards. Raises DiskFull.
        """

    async def put_all(self, files: Sequence[tuple[str, Path]]) -> None:
        """`put` for each (key, source), in order, for less than they would cost one by one."""

    async def read(self, key: str) -> bytes | None:
        """Give the whole file, None where there is none."""

    async def locate(self, key: str) -> Path | None:
        """Give a path on this machine where the file can be read, None where there is none."""

    async def names(self, prefix: str) -> list[str]:
        """List what lies directly below `prefix`, by the next part of its key; nothing where there is none."""

    async def remove(self, prefix: str) -> None:
        """Remove the file of this key and all files whose keys begin with it and a slash. Missing is fine."""

    def scratch(self, name: str) -> AbstractAsyncContextManager[Path]:
        """Lend a new, empty, private folder whose name begins with `name`; it goes with all in it. Raises DiskFull."""


def check_key(key: str) -> str:
    """Give the key back, or raise ValueError: no key leads out of where files are kept."""
    if not all(_PART.fullmatch(part) and part.strip(".") for part in key.split("/")):
        raise ValueError(f"not a storage key: {key!r}")
    return key
