"""kill -9 in the middle of a conversion: never a clean 200, nothing left over, and the next request works."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

import pytest
from support.deadline import until
from support.server import Server, serving
from support.sound import tone
from support.spread import thoroughly
from support.traces.files import leftovers
from support.traces.log import events, no_fault_logged
from support.traces.processes import GONE_SECONDS, assert_no_process, converters, processes_of
from support.traces.tidy import assert_tidy
from support.trouble.traps import await_kill, trapped
from support.wire.conversion import Conversion, assert_converts

READ_BYTES = 1 << 20
# At this pace the system tells of megabytes that were taken less often than once in a second.
SLOW_BYTES_PER_SECOND = 800_000
SLOW_SECONDS = 5
STOP_SECONDS = 15
# Less than a server takes that isn't told to hurry.
SOON_SECONDS = 4.5

# A program that serves from a disk which fails once so much of a file was read from it.
FAILING_DISK = """
import errno, io, os
from streamsrv.cli import main
from streamsrv.web import downloads

class Failing(io.FileIO):
    def read(self, count):
        if self.tell() > 4 << 20:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(count)

downloads._open = lambda path: (Failing(path), path.stat().st_size)
main()
"""


@pytest.fixture(scope="module")
def slow_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes, which AAC's encoder works on for seconds."""
    return tone(tmp_path_factory.mktemp("song") / "slow.flac", seconds=300)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One file at a time is encoded of those that are all there."""
    data_dir = tmp_path_factory.mktemp("convert") / "data"
    with serving(data_dir, environment={"STREAMSRV_CONVERT__CONCURRENCY": "1"}) as server:
        yield server
    assert_no_process(data_dir)


@pytest.fixture
def server(shared_server: Server, song: Path) -> Iterator[Server]:
    """The shared server. After the test nothing of it is left, and the next request works."""
    yield shared_server
    assert_tidy(shared_server, seconds=GONE_SECONDS)
    assert_converts(shared_server, song)
    assert_tidy(shared_server, seconds=GONE_SECONDS)


# How far a conversion has come. Each begins one and brings it there.


def receiving(server: Server, song: Path) -> Conversion:
    """Half of the file has come, and nobody knows yet what for."""
    conversion = Conversion(server, song, "m4a", late=True)
    conversion.send(conversion.left // 2)
    until((server.data_dir / "spool" / f"convert.{conversion.id}").exists)
    assert conversion.progress()["phase"] == "receiving"
    return conversion


def encoding_what_arrives(server: Server, song: Path) -> Conversion:
    """A part of the file has come, and is being encoded."""
    conversion = Conversion(server, song, "m4a")
    conversion.go_live()
    assert conversion.progress()["phase"] == "receiving"
    return conversion


def encoding_what_arrived(server: Server, song: Path) -> Conversion:
    """All has come, and the encoder that began before goes on."""
    conversion = encoding_what_arrives(server, song)
    began = converters(server.data_dir, conversion.id)
    conversion.send()
    conversion.reach("encoding")
    assert converters(server.data_dir, conversion.id) == began
    return conversion


def encoding_the_whole(server: Server, song: Path) -> Conversion:
    """All has come, and an encoder began then."""
    conversion = Conversion(server, song, "m4a", late=True)
    conversion.send()
    until(lambda: converters(server.data_dir, conversion.id), what=conversion.progress)
    assert conversion.progress()["phase"] == "encoding"
    return conversion


def replying(server: Server, song: Path) -> Conversion:
    """The first of 50 MB were read."""
    conversion = Conversion(server, song, "wav")
    conversion.send()
    reply = conversion.begin_reply()
    assert reply.status == 200
    assert int(reply.headers["Content-Length"]) > 50_000_000
    assert len(reply.read(READ_BYTES)) == READ_BYTES
    assert conversion.progress()["phase"] == "replying"
    return conversion


Stage = Callable[[Server, Path], Conversion]
ENCODING = [encoding_what_arrives, encoding_what_arrived, encoding_the_whole]
STAGES = [receiving, *ENCODING, replying]
name_of = attrgetter("__name__")
each_stage = pytest.mark.parametrize("stage", STAGES, ids=name_of)
each_encoding = pytest.mark.parametrize("stage", ENCODING, ids=name_of)


def the_encoder(server: Server, conversion: Conversion) -> int:
    return converters(server.data_dir, conversion.id)[0]


def what_the_server_started(server: Server, _conversion: Conversion) -> int:
    """The sandbox's outermost process, or where there is no sandbox the encoder."""
    return server.children()[0]


@each_encoding
@pytest.mark.parametrize("victim", [the_encoder, *thoroughly(what_the_server_started)], ids=name_of)
def test_killed_encoder_is_a_500(
    stage: Stage, victim: Callable[[Server, Conversion], int], server: Server, slow_song: Path
) -> None:
    """An encoder that is killed by somebody is a failure of the server's, and no part of its work is a reply."""
    with stage(server, slow_song) as conversion:
        os.kill(victim(server, conversion), signal.SIGKILL)
        with suppress(ConnectionError):  # it answers at once
            conversion.send()
        answer = conversion.reply()
    assert (answer.status, answer.whole) == (500, True), answer.body[:1000]
    assert answer.problem["type"] == "/problems/encoder-killed"


@pytest.mark.parametrize("number", [signal.SIGTERM, *thoroughly(signal.SIGINT)])
def test_encoder_that_is_told_to_stop_is_a_500(number: signal.Signals, server: Server, slow_song: Path) -> None:
    """An encoder that somebody tells to stop ends its file properly; that file isn't a reply either."""
    with encoding_the_whole(server, slow_song) as conversion:
        os.kill(the_encoder(server, conversion), number)
        answer = conversion.reply()
    assert (answer.status, answer.whole) == (500, True), answer.body[:1000]


@each_stage
@pytest.mark.parametrize("leave", [Conversion.reset, *thoroughly(Conversion.leave)], ids=["resets", "closes"])
def test_client_that_leaves_takes_all_along(
    stage: Stage, leave: Callable[[Conversion], None], server: Server, slow_song: Path
) -> None:
    """Soon after the client left its encoder and its files are gone. That is no error."""
    with no_fault_logged(server):
        with stage(server, slow_song) as conversion:
            assert leftovers(server.data_dir)
            leave(conversion)
            assert_tidy(server, seconds=GONE_SECONDS)
        until(lambda: not conversion.progress(), seconds=GONE_SECONDS)


def test_client_that_leaves_the_queue(server: Server, slow_song: Path, song: Path) -> None:
    """One that waits for its turn and leaves takes its upload along; the one that has its turn isn't disturbed."""
    with encoding_the_whole(server, slow_song) as first, Conversion(server, song, "flac", late=True) as second:
        second.send()
        second.reach("waiting")
        second.leave()
        until(lambda: second.id not in str(leftovers(server.data_dir)), seconds=GONE_SECONDS)
        assert first.progress()["phase"] == "encoding"
        assert converters(server.data_dir) == converters(server.data_dir, first.id) != []


def test_killed_encoder_lets_the_next_one_begin(server: Server, slow_song: Path, song: Path) -> None:
    """A place in the queue is free again however its owner ended."""
    with encoding_the_whole(server, slow_song) as first, Conversion(server, song, "flac", late=True) as second:
        second.send()
        second.reach("waiting")
        os.kill(the_encoder(server, first), signal.SIGKILL)
        answer = second.reply()
    assert (answer.status, answer.whole) == (200, True)


def test_client_that_stops_reading_is_cut_off(data_dir: Path, long_song: Path, song: Path) -> None:
    """A client that takes nothing of the reply for its time is cut off, gets no whole reply, and its files go."""
    with serving(data_dir, environment={"STREAMSRV_LIMITS__DOWNLOAD_IDLE_SECONDS": "1"}) as server:
        with no_fault_logged(server), Conversion(server, long_song, "wav") as conversion:
            conversion.send()
            assert conversion.begin_reply().status == 200
            until(lambda: not conversion.progress(), seconds=10)
            assert_tidy(server, seconds=GONE_SECONDS)
            answer = conversion.reply()
            assert (answer.status, answer.whole) == (200, False)
        assert len([*events(server, "reply_cut")]) == 1
        assert_converts(server, song)


def test_client_that_reads_slowly_is_not_cut_off(data_dir: Path, long_song: Path) -> None:
    """A client that always takes a little gets all of it, though the system reports that in leaps of megabytes."""
    environment = {"STREAMSRV_LIMITS__DOWNLOAD_IDLE_SECONDS": "1"}
    with serving(data_dir, environment=environment) as server, Conversion(server, long_song, "wav") as conversion:
        conversion.send()
        reply = conversion.begin_reply()
        size, began, read = int(reply.headers["Content-Length"]), time.monotonic(), 0
        while read < SLOW_BYTES_PER_SECOND * SLOW_SECONDS:
            read += len(reply.read(SLOW_BYTES_PER_SECOND // 20))
            time.sleep(max(0.0, began + read / SLOW_BYTES_PER_SECOND - time.monotonic()))  # this is how it reads
        assert read + len(reply.read()) == size


def test_file_that_is_cut_while_it_is_sent(server: Server, slow_song: Path) -> None:
    """When the file turns out shorter than its reply has promised, the connection is cut."""
    with replying(server, slow_song) as conversion:
        (file,) = (server.data_dir / "scratch").glob(f"convert.{conversion.id}*/*.wav")
        os.truncate(file, file.stat().st_size // 2)
        answer = conversion.reply()
    assert (answer.status, answer.whole) == (200, False)
    assert [*events(server, "reply_cut")]


def test_disk_that_fails_while_replying(data_dir: Path, long_song: Path, song: Path) -> None:
    """When the disk can't be read in the middle of a reply, the connection is cut."""
    with serving(data_dir, program=("-c", FAILING_DISK)) as server:
        with Conversion(server, long_song, "wav") as conversion:
            conversion.send()
            answer = conversion.reply()
        assert (answer.status, answer.whole) == (200, False)
        assert 0 < len(answer.body) <= int(answer.headers["Content-Length"]) // 2
        assert_tidy(server, seconds=GONE_SECONDS)
        assert_converts(server, song)


def test_kill_9_of_the_server(data_dir: Path, slow_song: Path, song: Path) -> None:
    """The client gets no whole reply, the encoder dies along, and the next server starts with empty folders."""
    for stage in STAGES:
        with serving(data_dir) as server:
            assert leftovers(data_dir) == []
            with stage(server, slow_song) as conversion:
                server.kill()
                assert_no_process(data_dir)
                assert leftovers(data_dir), stage
                answer = conversion.answer()
            assert answer is None or (stage, answer.status, answer.whole) == (replying, 200, False)
    assert_next_server_works(data_dir, song)


TRAPS = {
    "once there is a spool": "after streamsrv.storage.spool:_create",
    "before all is written": "before streamsrv.storage.spool:Spool.seal",
    "before the upload is looked into": "before streamsrv.convert.upload:whole_material",
    "before the file is checked": "before streamsrv.encoding.files:measure",
    "before the reply": "before streamsrv.convert.api:send_file",
    "after the reply": "before streamsrv.storage.local:remove_tree scratch/convert",
}


@pytest.mark.thorough
def test_kill_9_at_each_border(data_dir: Path, song: Path) -> None:
    """Killed between two steps, the server leaves no more than what the next one removes."""
    for name, trap in TRAPS.items():
        with trapped(data_dir, trap) as server, Conversion(server, song, "flac", late=True) as conversion:
            assert leftovers(data_dir) == []
            with suppress(ConnectionError):  # it is dead
                conversion.send()
            await_kill(server)
            answer = conversion.answer()
        assert answer is None or (answer.whole and name == "after the reply"), name
    assert_next_server_works(data_dir, song)


def assert_next_server_works(data_dir: Path, song: Path) -> None:
    with serving(data_dir) as server:
        assert leftovers(data_dir) == []
        assert server.children() == []
        assert_converts(server, song)
        assert_tidy(server, seconds=GONE_SECONDS)


@pytest.mark.parametrize("stage", [*ENCODING, replying], ids=name_of)
def test_server_stops_in_its_time(stage: Stage, data_dir: Path, slow_song: Path) -> None:
    """SIGTERM ends a conversion that would take longer than the server has time: no whole reply, and nothing left."""
    soon = {"STREAMSRV_SERVER__SHUTDOWN_SECONDS": "0.5"}
    with serving(data_dir, environment=soon) as server, stage(server, slow_song) as conversion:
        with no_fault_logged(server):
            server.child.terminate()
            assert server.child.wait(SOON_SECONDS) == 0
        assert processes_of(data_dir) == {}
        assert leftovers(data_dir) == []
        answer = conversion.answer()
        assert answer is None or answer.status >= 500 or not answer.whole


def test_server_that_stops_lets_a_short_conversion_end(data_dir: Path, long_song: Path) -> None:
    """What is done within the time that the server has to stop is answered."""
    long = {"STREAMSRV_SERVER__SHUTDOWN_SECONDS": "30"}
    with serving(data_dir, environment=long) as server, encoding_the_whole(server, long_song) as conversion:
        server.child.terminate()
        answer = conversion.reply()
        assert (answer.status, answer.whole) == (200, True)
        assert server.child.wait(STOP_SECONDS) == 0
        assert leftovers(data_dir) == []
