"""What was made for which request, so that nothing is made twice."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from sqlite3 import Row
from typing import Any, Protocol

from streamsrv.jobs.database import Database, uninterrupted
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.rows import to_json

SECONDS_BETWEEN_NOTES = 3600.0
_REMEMBERED_FILES = 10_000  # some 2 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One file that answers one request. Times are Unix seconds, `request` and `facts` hold what JSON can.

    `key` names the request and all that its answer depends on. `cursor` is the step that was asked for, if there is
    one. `facts` are what the answer says of the file. `file` is a storage key; one file may answer several requests.
    """

    key: str
    kind: JobKind
    subject: str
    request: Mapping[str, Any]
    cursor: str | None
    facts: Mapping[str, Any]
    file: str
    size: int
    created_at: float
    used_at: float


class ResultStore(Protocol):
    """Results by their keys. One method is one transaction; it is done, and lasts, when the method returns.

    A change runs to its end also when its caller is cancelled. A full disk raises DiskFull, a broken store
    InternalError. A result says that its file was stored once: whoever removes a file forgets it here first.
    """

    async def find(self, key: str) -> Result | None:
        """Give the result; that is no use of it yet."""

    async def record(self, result: Result) -> Result:
        """Write a result, in the place of one with the same key, whose `created_at` stays. Returns what is written.

        Raises TypeError or ValueError for a request or facts that JSON can't hold.
        """

    async def use(self, file: str, now: float) -> None:
        """Note that a file is used at a Unix time. Call it as often as you like.

        Written at most once an hour for each file, so `used_at` may lie an hour behind the last use.
        """

    async def unused_files(self, before: float, limit: int) -> dict[str, int]:
        """Give files none of whose results was used at or after a Unix time, and their sizes in bytes.

        Those that were unused for longest come first.
        """

    async def total_bytes(self) -> int:
        """Sum up the sizes of all files."""

    async def forget(self, file: str, before: float) -> bool:
        """Forget all results whose file this is, unless one of them was used at or after a Unix time; say if so."""

    async def is_known(self, file: str) -> bool:
        """Say whether any result is in this file."""


class SqliteResults:
    """A ResultStore in the database of the jobs, usable while that is open. See ResultStore for promises.

    It remembers when it wrote the last use of `remembered_files` files; of others a use is written again.
    """

    def __init__(self, database: Database, *, remembered_files: int = _REMEMBERED_FILES) -> None:
        self._database = database
        self._remembered_files = remembered_files
        self._noted: dict[str, float] = {}  # by file, the one that was noted first comes first

    async def find(self, key: str) -> Result | None:
        rows = await self._database.read("get_result", {"key": key})
        return _read_result(rows[0]) if rows else None

    @uninterrupted
    async def record(self, result: Result) -> Result:
        values = {"request": to_json(result.request), "facts": to_json(result.facts)}
        rows = await self._database.change("record_result", asdict(result) | values)
        self._noted.pop(result.file, None)  # the rows that were noted may be others than this one
        return _read_result(rows[0])

    async def use(self, file: str, now: float) -> None:
        noted = self._noted.get(file)
        if noted is not None and 0 <= now - noted < SECONDS_BETWEEN_NOTES:
            return
        self._remember(file, now)  # before it is written, so that whoever comes meanwhile doesn't write it, too
        written = False
        try:
            written = await self._write_use(file, now)
        finally:
            if not written:
                self._noted.pop(file, None)

    @uninterrupted
    async def _write_use(self, file: str, now: float) -> bool:
        return bool(await self._database.change("use_file", {"file": file, "now": now}))

    def _remember(self, file: str, now: float) -> None:
        self._noted.pop(file, None)
        self._noted[file] = now
        if len(self._noted) > self._remembered_files:
            del self._noted[next(iter(self._noted))]

    async def unused_files(self, before: float, limit: int) -> dict[str, int]:
        rows = await self._database.read("list_unused_files", {"moment": before, "limit": limit})
        return {row["file"]: row["size"] for row in rows}

    async def total_bytes(self) -> int:
        (row,) = await self._database.read("sum_files", {})
        return int(row["total"])

    @uninterrupted
    async def forget(self, file: str, before: float) -> bool:
        return bool(await self._database.change("forget_file", {"file": file, "moment": before}))

    async def is_known(self, file: str) -> bool:
        return bool(await self._database.read("find_file", {"file": file}))


def _read_result(row: Row) -> Result:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row iterates over values
    values["kind"] = JobKind(values["kind"])
    values["request"] = json.loads(values["request"])
    values["facts"] = json.loads(values["facts"])
    return Result(**values)
