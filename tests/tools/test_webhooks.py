"""The delivery of webhooks: real receivers on this machine, a real outbox, and servers that stop in between."""

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from support.deadline import eventually
from support.jobs import SONG, make_job, make_store, make_submission, meddle
from support.neighbours.canary import Canary, FakeNames, watch_connections

from streamsrv.errors import DiskFull
from streamsrv.jobs.job import JobKind, JobStatus
from streamsrv.jobs.outbox import Message, SqliteOutbox
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.submissions import Submission
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.guard import Guard
from streamsrv.outbound.tries import WebhookLimits, webhook_secret
from streamsrv.outbound.urls import UNREACHABLE
from streamsrv.outbound.webhooks import OWN_FAULT, STOPPED, Webhooks

SECRET = webhook_secret(b"a server's own secret")
SOON = WebhookLimits(delays_seconds=(0.01,) * 6, try_seconds=5.0)
PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that this test tries to connect to."""
    return watch_connections(monkeypatch)


class Receiver(Canary):
    """Checks what comes in, and answers with the next of its statuses; the last one holds. None is no answer at all."""

    def __init__(self, *statuses: int | None) -> None:
        super().__init__(self._receive)
        self.statuses = list(statuses or (200,))
        self.headers: dict[str, str] = {}
        self.came: list[tuple[str, Any]] = []  # ids and what was said
        self.taken: list[str] = []
        self.now = self.most = 0

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        said = Webhook(SECRET).verify(await request.read(), dict(request.headers))
        message_id = request.headers["webhook-id"]
        self.came.append((message_id, said))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(3600 if status is None else 0)
        finally:
            self.now -= 1
        if status == 200:
            self.taken.append(message_id)
        return web.Response(status=status or 500, headers=self.headers)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteJobStore]:
    async with make_store(path) as store:
        yield store


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serve() as receiver:
        assert isinstance(receiver, Receiver)
        yield receiver


async def owe(store: SqliteJobStore, url: str, *names: str) -> None:
    """Let one job end whose webhooks are owed from now on."""
    now = time.time()
    for name in names:
        times = {"created_at": now, "accepted_at": now}
        job = make_job(f"job of {names[0]}", kind=JobKind.SEPARATE, fingerprint=names[0], **times)
        await store.submissions.submit(job, make_submission(name, name=name, callback_url=url, created_at=now))
    lease = await store.claim([JobKind.SEPARATE])
    assert lease is not None
    await store.finish(lease, JobStatus.COMPLETED)


def render(message: Message) -> bytes:
    return json.dumps({"status": message.job.status, "name": message.submission.name}).encode()


@asynccontextmanager
async def delivering(
    outbox: SqliteOutbox,
    *allow: str,
    names: FakeNames | None = None,
    render: Callable[[Message], bytes] = render,
    limits: WebhookLimits = SOON,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[None]:
    resolver = names or FakeNames()
    async with (
        Guard(Allowed.parse(allow or ["127.0.0.0/8"]), connect_seconds=5, idle_seconds=5, resolver=resolver) as guard,
        Webhooks(guard, outbox, render, secret=SECRET, limits=limits, clock=clock),
    ):
        yield


async def messages(store: SqliteJobStore) -> list[Message]:
    return await store.outbox.messages_of(SONG, "local")


async def settled(store: SqliteJobStore) -> list[Message]:
    """Wait until no message waits any more."""

    async def nothing_waits() -> bool:
        return all(message.state != "waiting" for message in await messages(store))

    await eventually(nothing_waits)
    return await messages(store)


async def noted(store: SqliteJobStore, tries: int) -> Message:
    """Wait until so many tries of the only message were noted."""

    async def enough() -> bool:
        return len((await messages(store))[0].deliveries) >= tries

    await eventually(enough)
    return (await messages(store))[0]


# What arrives


async def test_a_message_arrives_once_and_signed(store: SqliteJobStore, receiver: Receiver) -> None:
    """The receiver can verify it, and what was tried is noted."""
    await owe(store, receiver.url("/hook?x=%2F"), "one")
    began = time.time()
    async with delivering(store.outbox):
        (message,) = await settled(store)
    assert receiver.came == [("msg_one", {"status": "Completed", "name": "one"})]
    (request,) = receiver.requests
    assert (request.method, request.raw_path) == ("POST", "/hook?x=%2F")
    assert request.headers["Content-Type"] == "application/json"
    assert not {"cookie", "authorization"} & {name.lower() for name in request.headers}
    (delivery,) = message.deliveries
    assert (message.state, delivery.status, delivery.error) == ("delivered", 200, None)
    assert began - 1 <= delivery.at <= time.time()
    assert 0 < delivery.seconds < PATIENCE_SECONDS


async def test_a_receiver_that_is_down_gets_it_later(path: Path) -> None:
    """Two errors, a restart of the server, a silence: then it is taken once, and every try had the same id."""
    async with Receiver(500, 500, None, 200).serve() as receiver:
        assert isinstance(receiver, Receiver)
        async with make_store(path) as store:
            await owe(store, receiver.url(), "one")
            async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=(0.01, 60))):
                await noted(store, 2)
        async with make_store(path) as store:
            limits = WebhookLimits(delays_seconds=(0.01, 60, 0.01), try_seconds=2)
            async with delivering(store.outbox, limits=limits, clock=lambda: time.time() + 90):
                (message,) = await settled(store)
    assert [message_id for message_id, _ in receiver.came] == ["msg_one"] * 4
    assert receiver.taken == ["msg_one"]
    assert (message.state, message.failures) == ("delivered", 3)
    assert [delivery.status for delivery in message.deliveries] == [500, 500, None, 200]
    assert message.deliveries[2].error == "No answer came within 2 seconds."


async def test_a_try_that_nobody_noted_is_made_again(path: Path, receiver: Receiver) -> None:
    """A server that dies after the receiver took it sends it again, with the same id; until then it isn't repeated."""
    async with make_store(path) as store:
        await owe(store, receiver.url(), "one", "two")
        await meddle(
            store, "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.deliveries BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        async with delivering(store.outbox):
            await eventually(lambda: receiver.hits == 1)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):  # nothing more comes
                    await eventually(lambda: receiver.hits > 1)
    async with make_store(path) as store, delivering(store.outbox):
        await settled(store)
    first = receiver.taken[0]
    assert Counter(receiver.taken) == Counter(["msg_one", "msg_two", first])


async def test_the_loop_wakes_when_a_message_is_owed(store: SqliteJobStore, receiver: Receiver) -> None:
    """A job that ends, a song that is asked for again, a replay: each goes out at once, while nothing else happens."""
    async with delivering(store.outbox):
        await owe(store, receiver.url(), "one")
        await settled(store)
        job = (await messages(store))[0].job
        late = Submission(
            id="late",
            content=SONG,
            model="m",
            name="late",
            callback_url=receiver.url(),
            origin="http://localhost",
            created_at=time.time(),
        )
        assert (await store.submissions.submit(job, late))[1] is False
        await settled(store)
        assert await store.outbox.replay("msg_one", time.time())
        first, second = await settled(store)
    assert receiver.taken == ["msg_one", "msg_late", "msg_one"]
    assert (len(first.deliveries), len(second.deliveries)) == (2, 1)


# What fails


async def test_a_receiver_that_never_takes_it_is_given_up(store: SqliteJobStore, receiver: Receiver) -> None:
    """After its last chance; sent again by hand it has all its chances anew."""
    receiver.statuses = [500]
    await owe(store, receiver.url(), "one")
    async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=(0.01, 0.01))):
        (message,) = await settled(store)
        assert (message.state, len(message.deliveries), receiver.hits) == ("gave up", 3, 3)
        assert {delivery.error for delivery in message.deliveries} == {"The receiver answered 500."}
        receiver.statuses = [500, 500, 200]
        await store.outbox.replay("msg_one", time.time())
        (message,) = await settled(store)
    assert (message.state, len(message.deliveries), receiver.taken) == ("delivered", 6, ["msg_one"])


async def test_gone_ends_it(store: SqliteJobStore, receiver: Receiver) -> None:
    """A receiver that says 410 isn't asked again."""
    receiver.statuses = [410]
    await owe(store, receiver.url(), "one")
    async with delivering(store.outbox):
        (message,) = await settled(store)
    assert (message.state, receiver.hits) == ("gave up", 1)


async def test_redirects_are_not_followed(store: SqliteJobStore, receiver: Receiver) -> None:
    """Where a receiver leads elsewhere nobody goes: the try has failed, in words."""
    async with Canary().serve() as elsewhere:
        receiver.statuses, receiver.headers = [307, 200], {"Location": elsewhere.url()}
        await owe(store, receiver.url(), "one")
        async with delivering(store.outbox):
            (message,) = await settled(store)
        assert elsewhere.hits == 0
    assert message.deliveries[0].error == "The receiver answered 307. Redirects aren't followed."
    assert (message.state, receiver.hits) == ("delivered", 2)


async def test_a_receiver_that_asks_for_time_gets_it(store: SqliteJobStore, receiver: Receiver) -> None:
    """Retry-After puts the next try off, within bounds."""
    receiver.statuses, receiver.headers = [503], {"Retry-After": "100"}
    await owe(store, receiver.url(), "one")
    async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=(0.01, 1000))):
        message = await noted(store, 1)
    assert message.next_at is not None
    assert 95 < message.next_at - time.time() < 101


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.example"])
async def test_what_is_inside_is_not_connected_to(
    store: SqliteJobStore, receiver: Receiver, tried: list[str], host: str
) -> None:
    """An address that isn't public and wasn't opened is refused each time, without a connection."""
    await owe(store, receiver.url(host=host), "one")
    names = FakeNames({"inside.example": [["127.0.0.1"]]})
    async with delivering(store.outbox, "10.0.0.0/8", names=names, limits=WebhookLimits(delays_seconds=(0.01,))):
        (message,) = await settled(store)
    assert (tried, receiver.hits) == ([], 0)
    assert message.state == "gave up"
    assert [(delivery.status, delivery.error) for delivery in message.deliveries] == [(None, UNREACHABLE)] * 2


async def test_who_is_not_there_is_told_of_in_words(store: SqliteJobStore) -> None:
    """Nobody listens, or nothing sound answers: both are failed tries."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        rude = server.sockets[0].getsockname()[1]
        async with Canary().serve() as gone:
            pass
        await owe(store, gone.url(), "gone")
        await owe(store, f"http://127.0.0.1:{rude}/", "rude")
        async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=())):
            found = await settled(store)
    assert {message.id: message.deliveries[0].error for message in found} == {
        "msg_gone": UNREACHABLE,
        "msg_rude": "The connection broke off.",
    }


@pytest.mark.parametrize("status", [200, 500])
async def test_an_endless_reply_is_left(
    store: SqliteJobStore, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The status counts; of what follows a few kilobytes are read, and the connection is closed."""
    monkeypatch.setattr("streamsrv.outbound.webhooks.DRAIN_SECONDS", 1000)
    left = asyncio.Event()

    async def pour(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(status=status)
        await reply.prepare(request)
        try:
            while True:
                await reply.write(b"x" * 65536)
        finally:
            left.set()

    receiver.answer = pour
    await owe(store, receiver.url(), "one")
    async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=())):
        (message,) = await settled(store)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await left.wait()
    assert message.deliveries[0].status == status


async def test_a_reply_that_stops_after_its_status_counts(
    store: SqliteJobStore, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has said 200 has taken it, even if its body never ends and takes longer than a try may."""
    monkeypatch.setattr("streamsrv.outbound.webhooks.DRAIN_SECONDS", 2.5)

    async def stall(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"x")
        await asyncio.sleep(3600)
        return reply

    receiver.answer = stall
    await owe(store, receiver.url(), "one")
    async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=(), try_seconds=2)):
        (message,) = await settled(store)
    assert (message.state, message.deliveries[0].status) == ("delivered", 200)


async def test_a_message_that_cannot_be_written_stays_alone(store: SqliteJobStore, receiver: Receiver) -> None:
    """A fault of ours is a failed try, and the others go out."""

    def fail(message: Message) -> bytes:
        if message.id == "msg_bad":
            raise ZeroDivisionError
        return render(message)

    await owe(store, receiver.url(), "bad", "good")
    async with delivering(store.outbox, render=fail, limits=WebhookLimits(delays_seconds=())):
        bad, good = await settled(store)
    assert (bad.state, bad.deliveries[0].error) == ("gave up", OWN_FAULT)
    assert (good.state, receiver.taken) == ("delivered", ["msg_good"])


async def test_a_song_that_goes_takes_its_message_along(store: SqliteJobStore, receiver: Receiver) -> None:
    """One that is on its way is forgotten, and the loop goes on with others."""
    receiver.statuses = [None, 200]
    await owe(store, receiver.url(), "one")
    async with delivering(store.outbox, limits=WebhookLimits(delays_seconds=(0.01,), try_seconds=2)):
        await eventually(lambda: receiver.hits == 1)
        await store.remove("job of one")
        await owe(store, receiver.url(), "two")
        await settled(store)
    assert [message_id for message_id, _ in receiver.came] == ["msg_one", "msg_two"]


class Hindered(SqliteOutbox):
    """Can't be read or written at first."""

    fails = 3

    async def due(self, *args: Any) -> list[Message]:
        self._fail()
        return await super().due(*args)

    async def record(self, *args: Any, **values: Any) -> None:
        self._fail()
        await super().record(*args, **values)

    def _fail(self) -> None:
        self.fails -= 1
        if self.fails % 2 == 0 and self.fails > -9:
            raise DiskFull if self.fails > -5 else sqlite3.IntegrityError


async def test_an_outbox_that_fails_holds_up_but_loses_nothing(
    store: SqliteJobStore, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises, the loop comes back, and what was taken isn't sent again."""
    monkeypatch.setattr("streamsrv.outbound.webhooks.RETRY_SECONDS", 0.01)
    await owe(store, receiver.url(), *"abcdef")
    outbox = Hindered(store._database, store._changes)
    async with delivering(outbox):
        await settled(store)
    assert outbox.fails < -9
    assert Counter(receiver.taken) == Counter(f"msg_{name}" for name in "abcdef")


# Many


async def test_many_messages_go_out_beside_each_other(store: SqliteJobStore) -> None:
    """Each once, one at a time to a host, and only so many at the same time."""
    hosts = [f"h{number}.example" for number in range(8)]
    names = FakeNames({host: [["127.0.0.1"]] for host in hosts})
    flying: Counter[str] = Counter()
    most_for_one = most = 0

    async with Receiver().serve() as receiver:
        assert isinstance(receiver, Receiver)

        async def watch(request: web.Request) -> web.StreamResponse:
            nonlocal most, most_for_one
            flying[request.host] += 1
            most, most_for_one = max(most, flying.total()), max(most_for_one, flying[request.host])
            try:
                await asyncio.sleep(0.002)
                return await receiver._receive(request)
            finally:
                flying[request.host] -= 1

        receiver.answer = watch
        for host in hosts:
            await owe(store, receiver.url(host=host), *(f"{host} {number}" for number in range(25)))
        async with delivering(store.outbox, names=names, limits=WebhookLimits(at_once=3)):
            found = await settled(store)
    assert Counter(receiver.taken) == Counter(message.id for message in found)
    assert len(found) == 200
    assert (most_for_one, most) == (1, 3)


async def test_a_slow_receiver_holds_up_only_itself(store: SqliteJobStore, receiver: Receiver) -> None:
    """While a hundred messages wait for one host, those for others go out."""
    async with Receiver(None).serve() as slow:
        await owe(store, slow.url(), *(f"slow {number}" for number in range(100)))
        await owe(store, receiver.url(), "quick")
        async with delivering(store.outbox, limits=WebhookLimits(at_once=2)):
            await eventually(lambda: receiver.taken == ["msg_quick"])
        assert slow.hits == 1


# Stopping


async def test_stopping_waits_for_nobody(path: Path, receiver: Receiver) -> None:
    """A try that is under way ends at once, doesn't count, and is made again by the next server."""
    receiver.statuses = [None]
    async with make_store(path) as store:
        await owe(store, receiver.url(), "one")
        async with delivering(store.outbox):
            await eventually(lambda: receiver.hits == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        (message,) = await messages(store)
        assert (message.state, message.failures) == ("waiting", 0)
        assert [(delivery.status, delivery.error) for delivery in message.deliveries] == [(None, STOPPED)]
    receiver.statuses = [200]
    async with make_store(path) as store, delivering(store.outbox):
        await settled(store)
    assert receiver.taken == ["msg_one"]


async def test_stopping_at_any_moment_leaves_no_task(store: SqliteJobStore, receiver: Receiver) -> None:
    """However far it got, leaving ends every task, and nothing is lost."""
    await owe(store, receiver.url(), *(str(number) for number in range(30)))
    before = asyncio.all_tasks()
    for steps in range(30):
        async with delivering(store.outbox):
            for _ in range(steps):
                await asyncio.sleep(0)
        assert {task for task in asyncio.all_tasks() - before if "webhooks" in repr(task)} == set()
    async with delivering(store.outbox):
        found = await settled(store)
    assert {message.state for message in found} == {"delivered"}
    assert set(receiver.taken) == {message.id for message in found}
