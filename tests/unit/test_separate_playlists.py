"""Playlists of stems from the rows of a job: each track its own, all of them in one, and never a stale one."""

from typing import Any

import m3u8
import pytest

from streamsrv.jobs.job import Job, JobKind, JobStatus, Segment
from streamsrv.separate.playlists import StemPlaylists
from streamsrv.separate.publisher import INIT_NAME, MAX_TRACKS, segment_name, segment_number
from streamsrv.web.segments import HotFiles

JOB = "550e8400-e29b-41d4-a716-446655440000"
# One name is the beginning of the other.
TRACKS = ("vocals", "vocals2")


class Rows:
    """A store that has only the segments of one job."""

    def __init__(self) -> None:
        self.rows: list[Segment] = []
        self.reads = 0

    async def segments(self, _job: str) -> list[Segment]:
        self.reads += 1
        return self.rows

    async def segments_in(self, _job: str, folder: str) -> list[Segment]:
        self.reads += 1
        return [row for row in self.rows if row.name.startswith(f"{folder}/")]

    def add(self, piece: int, seconds: float) -> None:
        for number, track in enumerate(TRACKS):
            name = segment_name(track, f"segment_{piece:05}.m4s" if piece else INIT_NAME)
            self.rows.append(
                Segment(
                    number=segment_number(piece, number),
                    name=name,
                    key=name,
                    size=1000 * (number + 1),
                    etag="1",
                    seconds=seconds,
                )
            )


@pytest.fixture
def rows() -> Rows:
    rows = Rows()
    for piece, seconds in enumerate((0.0, 6.01, 5.9)):
        rows.add(piece, seconds)
    return rows


def job_of(status: JobStatus = JobStatus.PROCESSING, revision: int = 1) -> Job:
    options = {"song": "ab" * 32, "model": "a model"}
    return Job(id=JOB, kind=JobKind.SEPARATE, status=status, revision=revision, options=options, created_at=0)


def playlists(rows: Any) -> StemPlaylists:
    return StemPlaylists(rows, HotFiles(1 << 20))


async def test_a_track_has_its_own_segments(rows: Rows) -> None:
    """The playlist of a track names its segments, in a folder of the job, and none of a track with a longer name."""
    for track in TRACKS:
        found = m3u8.loads((await playlists(rows).track(job_of(), track)).decode())
        assert [part.uri for part in found.segment_map] == [f"{JOB}/init.mp4"]
        assert [part.uri for part in found.segments] == [f"{JOB}/segment_00001.m4s", f"{JOB}/segment_00002.m4s"]
        assert [part.duration for part in found.segments] == [6.01, 5.9]
        assert (found.playlist_type, found.is_endlist) == ("event", False)


async def test_a_playlist_ends_with_its_song(rows: Rows) -> None:
    """When the song is Completed the same playlist has its end."""
    kept = playlists(rows)
    growing = await kept.track(job_of(), "vocals")
    ended = await kept.track(job_of(JobStatus.COMPLETED, revision=2), "vocals")
    assert ended == growing + b"#EXT-X-ENDLIST\n"


async def test_a_playlist_is_rendered_once_for_each_change(rows: Rows) -> None:
    """Many who ask for the same playlist cost one look at the rows; after a change it is another one."""
    kept = playlists(rows)
    for _ in range(3):
        before = await kept.track(job_of(), "vocals")
    assert rows.reads == 1
    rows.add(3, 1.0)
    after = await kept.track(job_of(revision=2), "vocals")
    assert after.startswith(before)
    assert len(after) > len(before)


async def test_the_master_names_what_is_left(rows: Rows) -> None:
    """All tracks are renditions of one group, with the model in their addresses; removed ones are left out."""
    kept = playlists(rows)
    both = m3u8.loads((await kept.master(job_of(), TRACKS)).decode())
    assert [media.name for media in both.media] == list(TRACKS)
    assert [media.uri for media in both.media] == [f"{track}/index.m3u8?model=a%20model" for track in TRACKS]
    assert both.playlists[0].stream_info.bandwidth >= 2000 * 8 / 6.01
    one = m3u8.loads((await kept.master(job_of(), TRACKS[:1])).decode())
    assert [media.name for media in one.media] == ["vocals"]


def test_numbers_of_segments_are_unlike() -> None:
    """The segments of all tracks have numbers of their own, those of one piece before those of the next one."""
    numbers = [segment_number(piece, track) for piece in range(4) for track in range(MAX_TRACKS)]
    assert numbers == sorted(set(numbers))
