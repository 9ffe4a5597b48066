"""Everything dies in the middle of a song: it is Completed all the same, as if nothing had been, or says why not."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deadline import until
from support.server import Server
from support.songs import RATE, completed_song, music, send_song, song_when
from support.spread import thoroughly
from support.traces.files import assert_clean, below
from support.traces.log import events
from support.traces.processes import assert_ended, assert_no_process, ffmpegs
from support.traces.rows import Row, rows
from support.tracks import Made, assert_same, has_segments, made_of, remove, served
from support.trouble.traps import await_kill
from support.trouble.watched import TRACKS, Studio, plan

# Servers that load models one after the other.
pytestmark = pytest.mark.timeout(300)

STORE = "streamsrv.jobs.sqlite:SqliteJobStore"
POOL = "streamsrv.workers.pool:DevicePool"
PUT = "streamsrv.storage.local:LocalStorage.put_all"
SONG_SECONDS, SEGMENT_SECONDS, SEGMENTS = 14, 6, 3
WINDOWS = plan(SONG_SECONDS).count

# Each server dies at the next one, all in one song.
EARLY_TRAPS = {
    "while loading": f"after {POOL}._begin describe",
    "while measuring": f"after {POOL}._begin measure_song",
    "between the first segments' files and their rows": f"after {PUT} init.mp4",
}
LATE_TRAPS = (
    f"after {STORE}.add_segments",
    f"before {STORE}.add_segments",  # the next ones' files are there, and not their rows
    "after streamsrv.separate.output:Output.end",
    f"after {PUT} track.mp3",
)
FEW_TRAPS = LATE_TRAPS[1::2]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Songs of three segments, none like another."""
    folder = tmp_path_factory.mktemp("songs")
    return [music(folder / f"{number}.flac", seconds=SONG_SECONDS, seed=number) for number in range(2)]


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Where a server runs that several tests share, one after the other."""
    return Studio(tmp_path_factory.mktemp("hall"))


@pytest.fixture(scope="module")
def server(hall: Studio) -> Iterator[Server]:
    # Slowly enough that a busy machine is in time for what happens between two windows.
    with hall.open(window_seconds=0.25) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(hall: Studio, server: Server, songs: list[Path]) -> Made:
    """What comes of the first song where nothing dies; then it is removed."""
    return made_alone(hall, server, songs[0])


def made_alone(hall: Studio, server: Server, song: Path) -> Made:
    before = hall.written
    sent = send_song(server, song, model="watched")
    completed_song(server, sent)
    made = made_of(server, sent, hall.windows(before))
    assert tuple(made.wavs) == TRACKS
    assert len(hall.windows(before)) == len(made.windows) == WINDOWS
    remove(server, sent)
    return made


def the_row(data_dir: Path) -> Row:
    """The only job there is."""
    (row,) = rows(data_dir).values()
    return row


def published_samples(data_dir: Path) -> int:
    """How much of the only song there is has been published: decoded, since it is there."""
    names = sorted(name for name in the_row(data_dir).published if name.startswith("vocals/segment"))
    return min(len(names) * SEGMENT_SECONDS, SONG_SECONDS) * RATE


def files(data_dir: Path) -> list[str]:
    """All that is stored of songs."""
    return [str(path.relative_to(data_dir)) for path in below(data_dir / "files") if path.is_file()]


def first_window(sample: int) -> int:
    return plan(SONG_SECONDS).first_reaching(sample)


@pytest.mark.thorough
def test_a_killed_worker_costs_a_window(hall: Studio, server: Server, songs: list[Path], undisturbed: Made) -> None:
    """Its window is run again, and nothing else: both songs are what they are, in their first attempt."""
    other = made_alone(hall, server, songs[1])
    assert not undisturbed.windows & other.windows
    before = hall.written
    first, second = (send_song(server, song, model="watched") for song in songs)
    song_when(server, first, has_segments(1))
    had = served(server, first)
    died = until(lambda: hall.in_work(before))
    os.kill(died.pid, signal.SIGKILL)
    until(lambda: len([*events(server, "worker_died")]) == 1)
    for song, expected in ((first, undisturbed), (second, other)):
        assert_same(made_of(server, song), expected)
        counts = Counter(window for window in hall.windows(before) if window in expected.windows)
        assert len(counts) == WINDOWS
        assert [window for window, count in counts.items() if count > 1] == [died.window] * (
            died.window in expected.windows
        )
    after = served(server, first)
    assert len(after) == len(TRACKS) * (1 + SEGMENTS)
    assert had.items() <= after.items()
    assert {(row.attempt, row.failures, row.restarts) for row in rows(hall.data_dir).values()} == {(1, 0, 0)}
    assert_clean(hall.data_dir)
    for song in (first, second):
        remove(server, song)


@pytest.mark.thorough
@pytest.mark.parametrize("mark", ["f32le", *thoroughly("hls_segment_filename", "track.mp3")])
def test_a_killed_ffmpeg_is_our_own_fault(
    mark: str, hall: Studio, server: Server, songs: list[Path], undisturbed: Made
) -> None:
    """Whichever encoder or decoder is killed, the song is tried again, and goes on behind its last segment."""
    before = hall.written
    song = send_song(server, songs[0], model="watched")
    song_when(server, song, has_segments(1))
    had = served(server, song)
    os.kill(ffmpegs(hall.data_dir, mark)[-1], signal.SIGKILL)
    assert_same(made_of(server, song), undisturbed)
    assert had.items() <= served(server, song).items()
    row = the_row(hall.data_dir)
    assert (row.attempt, row.failures, row.restarts) == (2, 1, 0)
    counts = Counter(hall.windows(before))
    assert len(counts) == WINDOWS
    # Two workers may begin two windows in either order.
    before_segments = hall.windows(before)[: first_window(SEGMENT_SECONDS * RATE) - 1]
    assert [counts[window] for window in before_segments] == [1] * len(before_segments)
    assert_clean(hall.data_dir)
    remove(server, song)


@pytest.mark.thorough
def test_a_song_survives_kills_before_its_first_segment(tmp_path: Path, songs: list[Path], undisturbed: Made) -> None:
    """Killed at one step after the other it begins anew each time, and is what it would have been."""
    studio, song = Studio(tmp_path), ""
    for trap in EARLY_TRAPS.values():
        with studio.open(trap=trap, WORKERS__PROCESSES="1") as server:
            song = song or send_song(server, songs[0], model="watched")
            await_kill(server, seconds=100)
        assert not the_row(studio.data_dir).published
    before = studio.written
    with studio.open(WORKERS__PROCESSES="1") as server:
        assert_same(made_of(server, song), undisturbed)
        assert Counter(studio.windows(before)) == Counter(undisturbed.windows)
        assert_clean(studio.data_dir)
    assert_no_process(studio.data_dir)
    row = the_row(studio.data_dir)
    assert (row.status, row.failures, row.restarts) == ("Completed", 0, len(EARLY_TRAPS))


@pytest.mark.parametrize("traps", [FEW_TRAPS, *thoroughly((LATE_TRAPS,))], ids=["some", "all"])
def test_a_song_survives_kills_after_its_first_segment(
    traps: tuple[str, ...], tmp_path: Path, songs: list[Path], undisturbed: Made
) -> None:
    """Killed again and again it goes on behind its last segment, and what was served stays as it was served."""
    studio, song = Studio(tmp_path), ""
    had: dict[str, str] = {}
    for trap in traps:
        before, done = studio.written, published_samples(studio.data_dir) if song else 0
        with studio.open(trap=trap, WORKERS__PROCESSES="1") as server:
            song = song or send_song(server, songs[0], model="watched")
            await_kill(server, seconds=100)
        assert_goes_on(studio, before, done, undisturbed)
        published = the_row(studio.data_dir).published
        assert had.items() <= published.items()
        had = dict(published)
    assert len(had) == len(TRACKS) * (1 + SEGMENTS)
    before = studio.written
    with studio.open(WORKERS__PROCESSES="1") as server:
        assert_same(made_of(server, song), undisturbed)
        assert not studio.windows(before)
        assert {name_of(path): digest for path, (digest, _) in served(server, song).items()} == had
        assert_clean(studio.data_dir)
        # Nothing of what attempts had stored, but not published yet, when they were killed.
        until(lambda: len(files(studio.data_dir)) == len(had) + len(TRACKS), what=lambda: files(studio.data_dir))
    assert_no_process(studio.data_dir)
    row = the_row(studio.data_dir)
    assert (row.status, row.failures, row.restarts) == ("Completed", 0, len(traps))


def name_of(path: str) -> str:
    """A segment by its track and its own name, as its row has it."""
    track, _, name = path.split("/")[-3:]
    return f"{track}/{name}"


def assert_goes_on(studio: Studio, before: int, done: int, expected: Made) -> None:
    """No window that lies before the sample `done` was run since the line `before`, and none twice."""
    windows = studio.windows(before)
    assert len(set(windows)) == len(windows) <= WINDOWS - first_window(done)
    assert set(windows) <= expected.windows


@pytest.mark.thorough
def test_players_notice_nothing_of_restarts(tmp_path: Path, songs: list[Path], undisturbed: Made) -> None:
    """Of servers that are killed or stopped each next one gives the same segments, under the same names."""
    studio, song, port = Studio(tmp_path), "", None
    had: dict[str, tuple[str, str]] = {}
    for stop in (signal.SIGKILL, signal.SIGTERM):
        before, done = studio.written, published_samples(studio.data_dir) if song else 0
        with studio.open(port=port, window_seconds=0.4, WORKERS__PROCESSES="1") as server:
            port = int(server.url.rpartition(":")[2])
            song = song or send_song(server, songs[0], model="watched")
            if had:
                assert had.items() <= served(server, song).items()
            song_when(server, song, has_segments(done // (SEGMENT_SECONDS * RATE) + 1))
            had = served(server, song)
            children = server.children()
            assert len(children) > 2 * len(TRACKS)
            server.child.send_signal(stop)
            assert server.child.wait(10) == (0 if stop == signal.SIGTERM else -9)
            assert_ended(children)
        assert_no_process(studio.data_dir)
        assert_goes_on(studio, before, done, undisturbed)
    stopped = the_row(studio.data_dir)
    assert (stopped.status, stopped.failures, stopped.restarts) == ("Pending", 0, 1)
    before, done = studio.written, published_samples(studio.data_dir)
    with studio.open(port=port, WORKERS__PROCESSES="1") as server:
        assert_same(made_of(server, song), undisturbed)
        assert had.items() <= served(server, song).items()
        assert len(studio.windows(before)) == WINDOWS - first_window(done)
        assert_clean(studio.data_dir)
