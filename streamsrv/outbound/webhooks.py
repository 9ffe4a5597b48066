"""Webhooks: each message goes out signed, on a schedule, until its receiver has taken it or had all its chances."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import structlog
from aiohttp import ClientError, ClientResponse
from standardwebhooks import Webhook

from streamsrv.errors import Problem
from streamsrv.outbound.guard import Broken, Guard
from streamsrv.outbound.tries import Answer, Outcome, State, WebhookLimits, judge, read_answer, sign
from streamsrv.outbound.urls import redact

MAX_REPLY_BYTES = 4096
DRAIN_SECONDS = 1.0
IDLE_SECONDS = 60.0  # for one look at the outbox when nothing wakes the loop
RETRY_SECONDS = 1.0  # between two tries to reach an outbox that fails, e.g. because its disk is full
OWN_FAULT = "The server failed while it sent this."
STOPPED = "The server was stopped during this try."

log = structlog.stdlib.get_logger()


class Message(Protocol):
    """What is to be told. Its id is the same for every try; `failures` counts those that failed so far.

    `next_at` is the Unix time at which it was due.
    """

    @property
    def id(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def failures(self) -> int: ...
    @property
    def next_at(self) -> float | None: ...


M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


class Outbox(Protocol[M_co]):
    """What keeps the messages, so that none is lost when the server stops."""

    async def due(self, now: float, busy: Collection[str], limit: int) -> Sequence[M_co]:
        """Give messages whose time has come: one for each host at most, and none for hosts that are busy."""

    async def next_due(self, busy: Collection[str]) -> float | None:
        """Give the Unix time at which the next message to a host that isn't busy is due."""

    async def record(
        self,
        message_id: str,
        *,
        due_at: float | None,
        at: float,
        seconds: float,
        status: int | None,
        error: str | None,
        state: State,
        failures: int,
        next_at: float | None,
    ) -> None:
        """Note a try and what becomes of the message, unless it was asked for anew. One that is gone is no error."""

    async def wait(self, timeout: float) -> None:
        """Return once a message may have become due since the last call, or after `timeout` seconds."""


class Webhooks(Generic[M]):
    """Delivers what is in the outbox, while it is open. `async with` it; leaving it doesn't wait for receivers.

    Several messages go out at the same time, but one at a time to each host, so that nobody's slow receiver holds up
    another's. A message may arrive twice, with the same id, if the server dies before it has noted the first time.
    `render` writes a message as JSON. `secret` is "whsec_" and a key in base64.
    """

    def __init__(
        self,
        guard: Guard,
        outbox: Outbox[M],
        render: Callable[[M], bytes],
        *,
        secret: str,
        limits: WebhookLimits | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._guard = guard
        self._outbox = outbox
        self._render = render
        self._signer = Webhook(secret)
        self._limits = limits or WebhookLimits()
        self._clock = clock
        self._chance = chance
        self._tasks = asyncio.TaskGroup()
        self._serving: list[asyncio.Task[None]] = []
        self._sending: dict[str, asyncio.Task[None]] = {}  # by host
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._serving = [self._tasks.create_task(part) for part in (self._serve(), self._listen())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._serving, *self._sending.values()):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _listen(self) -> None:
        while True:
            await self._outbox.wait(IDLE_SECONDS)
            self._wake.set()

    async def _serve(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self._send_due()
            except Exception as error:
                log.warning("webhooks_hindered", reason=repr(error))
                pause = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _send_due(self) -> float:
        """Begin with what is due, and give the seconds after which to look again."""
        free = self._limits.at_once - len(self._sending)
        if free > 0:
            for message in await self._outbox.due(self._clock(), set(self._sending), free):
                self._begin(message)
        if len(self._sending) >= self._limits.at_once:
            return IDLE_SECONDS  # the next one that ends wakes
        next_at = await self._outbox.next_due(set(self._sending))
        return IDLE_SECONDS if next_at is None else min(max(0.0, next_at - self._clock()), IDLE_SECONDS)

    def _begin(self, message: M) -> None:
        def forget(_task: asyncio.Task[None]) -> None:
            del self._sending[message.host]
            self._wake.set()

        self._sending[message.host] = task = self._tasks.create_task(self._attend(message))
        task.add_done_callback(forget)

    async def _attend(self, message: M) -> None:
        """Try once to deliver the message, and note what came of it."""
        with structlog.contextvars.bound_contextvars(message_id=message.id, url=redact(message.url)):
            at, began = self._clock(), time.monotonic()
            try:
                answer = await self._try(message)
            except asyncio.CancelledError:
                # Nobody's fault, so it doesn't count; the next start tries again.
                outcome = Outcome("waiting", message.failures, self._clock())
                await self._record(message, at, time.monotonic() - began, Answer(None, STOPPED), outcome)
                raise
            seconds = time.monotonic() - began
            outcome = judge(answer, message.failures, self._limits.delays_seconds, self._clock(), self._chance())
            log.info(
                "webhook_tried",
                status=answer.status,
                reason=answer.error,
                state=outcome.state,
                failures=outcome.failures,
                next_at=outcome.next_at,
            )
            # The host stays busy until that is noted, or the same message would go out again and again.
            while True:
                if await self._record(message, at, seconds, answer, outcome):
                    return
                await asyncio.sleep(RETRY_SECONDS)

    async def _try(self, message: M) -> Answer:
        limit_seconds = self._limits.try_seconds
        try:
            body = self._render(message)
            headers = sign(self._signer, message.id, body, self._clock())
            async with asyncio.timeout(limit_seconds) as limit, self._guard.post(message.url, headers, body) as reply:
                limit.reschedule(None)  # whatever follows, it has answered
                await _drain(reply)
                return read_answer(reply.status, reply.headers)
        except TimeoutError:
            return Answer(None, f"No answer came within {limit_seconds:g} seconds.")
        except Broken as broken:
            return Answer(None, broken.problem.detail)
        except Problem as problem:
            return Answer(None, problem.detail)
        except Exception:
            log.exception("webhook_not_sent")
            return Answer(None, OWN_FAULT)

    async def _record(self, message: M, at: float, seconds: float, answer: Answer, outcome: Outcome) -> bool:
        """Note a try; False when that failed."""
        try:
            await self._outbox.record(
                message.id,
                due_at=message.next_at,
                at=at,
                seconds=seconds,
                status=answer.status,
                error=answer.error,
                state=outcome.state,
                failures=outcome.failures,
                next_at=outcome.next_at,
            )
        except Exception as error:
            log.warning("webhook_not_noted", reason=repr(error))
            return False
        return True


async def _drain(reply: ClientResponse) -> None:
    """Let a receiver say what it has to say, within bounds. Its status has decided already."""
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(DRAIN_SECONDS):
            left = MAX_REPLY_BYTES
            while left > 0 and (data := await reply.content.read(left)):
                left -= len(data)
