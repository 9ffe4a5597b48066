"""The SQLite file: one connection that writes, one that reads, and the schema's version."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import aiosqlite

from streamsrv.errors import DiskFull, InternalError
from streamsrv.jobs.queries import load_queries
from streamsrv.jobs.schema import BUSY_SECONDS, UnusableDatabase, prepare

P = ParamSpec("P")
T = TypeVar("T")
Values = Mapping[str, Any]
Row = sqlite3.Row


def uninterrupted(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a change run to its end, wake-ups included, also when its caller is cancelled; then pass the cancellation on.

    A statement that its connection's thread has begun can't be called back, so leaving early would hide its outcome.
    """

    @wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.ensure_future(method(*args, **kwargs))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            task.exception()  # seen, and less important than the cancellation
            raise cancelled
        return task.result()

    return run


class Transaction:
    """Statements that are committed together or not at all."""

    def __init__(self, connection: aiosqlite.Connection, queries: Mapping[str, str]) -> None:
        self._connection = connection
        self._queries = queries

    async def run(self, name: str, values: Values) -> list[Row]:
        return list(await self._connection.execute_fetchall(self._queries[name], values))

    async def run_each(self, name: str, rows: Sequence[Values]) -> None:
        cursor = await self._connection.executemany(self._queries[name], rows)
        await cursor.close()


class Database:
    """Named queries on one file. A statement that changes something is a transaction of its own.

    Reads have their own connection, so they see only what was committed. After `open` raised, nothing is left open.
    While it is open, a full disk raises DiskFull and any other failure of SQLite InternalError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queries = load_queries()
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, make it where it is missing, bring its schema up to date. Raises UnusableDatabase."""
        await asyncio.to_thread(prepare, self._path)  # before there is a connection whose thread must be ended
        try:
            self._writer = await self._connect("sync_every_commit", "enforce_references")
            self._reader = await self._connect("refuse_writes")
        except sqlite3.Error as error:
            await self.close()
            raise UnusableDatabase(f"The job database {self._path} can't be used: {error}.") from error
        except BaseException:
            await self.close()
            raise

    @uninterrupted
    async def close(self) -> None:
        """Close both connections; each has a thread that would keep the process from ending."""
        async with self._writing:
            connections = [connection for connection in (self._reader, self._writer) if connection is not None]
            self._reader = self._writer = None
            for connection in connections:
                await connection.close()

    async def read(self, name: str, values: Values) -> list[Row]:
        """Run a query that changes nothing."""
        with _translated_errors():
            return list(await _opened(self._reader).execute_fetchall(self._queries[name], values))

    async def change(self, name: str, values: Values) -> list[Row]:
        """Run one statement and commit it."""
        async with self._writing:
            with _translated_errors():
                return list(await _opened(self._writer).execute_fetchall(self._queries[name], values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit what the block ran, or nothing of it when the block raises."""
        async with self._writing:
            with _translated_errors():
                async with self._begun(_opened(self._writer)) as transaction:
                    yield transaction

    async def _connect(self, *pragmas: str) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            connection.row_factory = sqlite3.Row
            for name in pragmas:
                await connection.execute_fetchall(self._queries[name])
        except BaseException:
            await connection.close()
            raise
        return connection

    @asynccontextmanager
    async def _begun(self, connection: aiosqlite.Connection) -> AsyncIterator[Transaction]:
        await connection.execute_fetchall(self._queries["begin"])
        try:
            yield Transaction(connection, self._queries)
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise


def _opened(connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
    if connection is None:
        raise RuntimeError("the job database is not open")
    return connection


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # the caller broke a rule, SQLite did not fail
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise DiskFull from error
        raise InternalError("The job database failed.") from error
