"""The webhooks that are owed for jobs that ended, and every try to deliver them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol

from streamsrv.jobs.changes import Changes
from streamsrv.jobs.database import Database, Row, uninterrupted
from streamsrv.jobs.job import Job
from streamsrv.jobs.rows import read_job, to_json
from streamsrv.jobs.submissions import Submission

# Of a song that was asked for so often nobody reads them all.
_SHOWN_MESSAGES = 250

MessageState = Literal["waiting", "delivered", "gave up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One try: when it began (Unix time), the status it was answered with, what went wrong, how long it took."""

    at: float
    status: int | None
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A webhook. Its `id` is the same for every try. `job` has ended, so what it says doesn't change any more.

    `failures` counts the tries that failed since it was last begun. `next_at` is the Unix time of the next try, None
    unless the message waits. `deliveries` are filled in by `messages_of`.
    """

    id: str
    url: str
    host: str
    state: MessageState
    failures: int
    next_at: float | None
    submission: Submission
    job: Job
    deliveries: tuple[Delivery, ...] = ()


class OutboxStore(Protocol):
    """Messages, each written by the commit that ended its job, or that claimed a job that had ended.

    They go with their submission; whoever drops that is told nothing any more. For promises see SubmissionStore.
    """

    # What the one who delivers calls.

    async def due(self, now: float, busy: Collection[str], limit: int) -> list[Message]:
        """List messages whose time has come: of each host the longest due, and none of the hosts that are busy."""

    async def next_due(self, busy: Collection[str]) -> float | None:
        """Give the Unix time at which the next message to a host that isn't busy is due, None when none waits."""

    async def record(
        self,
        message_id: str,
        *,
        due_at: float | None,
        at: float,
        seconds: float,
        status: int | None,
        error: str | None,
        state: MessageState,
        failures: int,
        next_at: float | None,
    ) -> None:
        """Note a try and what becomes of the message; nothing when the message is gone.

        `due_at` is the `next_at` that the message had when it was tried. One that was replayed meanwhile has another,
        and stays as that made it.
        """

    async def wait(self, timeout: float) -> None:
        """Return once a message may have become due since the last call, or after `timeout` seconds.

        For one who delivers.
        """

    # What anyone calls.

    async def replay(self, message_id: str, now: float) -> bool:
        """Let a message be sent again, whatever became of it; what was tried stays noted. False when it is gone."""

    async def messages_of(self, content: str, subject: str) -> list[Message]:
        """List the messages that a subject was owed for a song, with every try, by when they were asked for."""


class SqliteOutbox:
    """An OutboxStore in the database of the jobs, usable while that is open. See OutboxStore for promises."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def due(self, now: float, busy: Collection[str], limit: int) -> list[Message]:
        values = {"now": now, "busy": to_json(sorted(busy)), "limit": limit}
        return [_read_message(row) for row in await self._database.read("list_due_messages", values)]

    async def next_due(self, busy: Collection[str]) -> float | None:
        (row,) = await self._database.read("get_next_due", {"busy": to_json(sorted(busy))})
        next_at: float | None = row["next_at"]
        return next_at

    @uninterrupted
    async def record(
        self,
        message_id: str,
        *,
        due_at: float | None,
        at: float,
        seconds: float,
        status: int | None,
        error: str | None,
        state: MessageState,
        failures: int,
        next_at: float | None,
    ) -> None:
        tried = {"message": message_id, "at": at, "status": status, "error": error, "seconds": seconds}
        outcome = {"message": message_id, "state": state, "failures": failures, "next_at": next_at, "due_at": due_at}
        async with self._database.transaction() as transaction:
            await transaction.run("insert_delivery", tried)
            await transaction.run("update_message", outcome)

    async def wait(self, timeout: float) -> None:
        await self._changes.wait_for_messages(timeout)

    @uninterrupted
    async def replay(self, message_id: str, now: float) -> bool:
        replayed = bool(await self._database.change("replay", {"message": message_id, "now": now}))
        self._changes.announce_messages()
        return replayed

    async def messages_of(self, content: str, subject: str) -> list[Message]:
        rows = await self._database.read(
            "list_messages", {"content": content, "subject": subject, "limit": _SHOWN_MESSAGES}
        )
        messages = [_read_message(row) for row in reversed(rows)]
        tried = await self._deliveries([message.id for message in messages])
        return [replace(message, deliveries=tuple(tried[message.id])) for message in messages]

    async def _deliveries(self, message_ids: list[str]) -> Mapping[str, Sequence[Delivery]]:
        deliveries: defaultdict[str, list[Delivery]] = defaultdict(list)
        for row in await self._database.read("list_deliveries", {"messages": to_json(message_ids)}):
            delivery = Delivery(at=row["at"], status=row["status"], error=row["error"], seconds=row["seconds"])
            deliveries[row["message"]].append(delivery)
        return deliveries


def _read_message(row: Row) -> Message:
    parts: dict[str, dict[str, Any]] = {"message": {}, "submission": {}, "job": {}}
    for name in row.keys():  # noqa: SIM118 - a Row iterates over values
        whose, _, field = name.partition("_")
        if whose in {"message", "submission"}:
            parts[whose][field] = row[name]
        else:
            parts["job"][name] = row[name]
    submission = Submission(**{field.name: parts["submission"][field.name] for field in fields(Submission)})
    job = read_job(parts["job"])
    return Message(**parts["message"], url=submission.callback_url or "", submission=submission, job=job)
