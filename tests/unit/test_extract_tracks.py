"""Which track of a clip is taken, and what is said where there is no such."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamsrv.errors import InternalError, MissingTrack, UnusableFile
from streamsrv.extract.identity import Identity
from streamsrv.extract.opening import choose_track
from streamsrv.extract.reel import Silence, naming_clip
from streamsrv.extract.sources import SourceFile
from streamsrv.extract.timeline import Reach
from streamsrv.extract.tracks import describe_tracks, track_members
from streamsrv.media.film import Film, Track

ENGLISH = Track(0, "aac", 44100, 2, 16, "eng")
COMMENTS = Track(1, "ac3", 48000, 1, 16, None)


@asynccontextmanager
async def held() -> AsyncIterator[Path]:
    yield Path("/film")


SOURCE = SourceFile("file:///film", Path("/film"), Identity(1, 2, 3, 4, 5), held)
FILM = Film(12.5, (ENGLISH, COMMENTS))


def test_tracks_are_told_to_people_and_programs() -> None:
    """Both hear of number, language, codec and channels."""
    assert describe_tracks([ENGLISH, COMMENTS]) == "0 (eng, aac, 2 channels), 1 (ac3, 1 channel)"
    assert track_members([COMMENTS]) == [
        {"track": 1, "language": None, "codec": "ac3", "channels": 1, "sample_rate": 48000}
    ]


def test_a_track_is_chosen_by_its_number() -> None:
    """Tracks are counted from 0; one that isn't there is a problem that lists those there are."""
    assert choose_track(SOURCE, FILM, 1, "error").track is COMMENTS
    with pytest.raises(MissingTrack, match=r"no audio track 2. There are: 0 \(eng, aac") as caught:
        choose_track(SOURCE, FILM, 2, "skip")
    assert [track["track"] for track in caught.value.members["tracks"]] == [0, 1]


def test_a_clip_without_sound_is_what_was_asked_for() -> None:
    """An error, silence as long as its picture, or nothing; silence of unknown length is an error, too."""
    silent = Film(12.5, ())
    with pytest.raises(UnusableFile, match="no sound"):
        choose_track(SOURCE, silent, 0, "error")
    assert choose_track(SOURCE, silent, 0, "silence").silent_seconds == 12.5
    assert choose_track(SOURCE, silent, 0, "skip").silent_seconds == 0.0
    with pytest.raises(UnusableFile, match="how long"):
        choose_track(SOURCE, Film(None, ()), 0, "silence")


def test_unknown_sound_is_refused() -> None:
    """A track that ffmpeg can't tell the rate of can't be decoded."""
    with pytest.raises(UnusableFile, match="known"):
        choose_track(SOURCE, Film(1.0, (Track(0, "wmavoice", 0, 0, 16, None, fault="It isn't known."),)), 0, "error")


async def test_silence_is_read_like_sound() -> None:
    """Silence is all there from the start, and any part of it is zeros of the right length."""
    silence = Silence(samples=100_000, frame_bytes=6)
    assert await silence.wait(5) == silence.reach == Reach(100_000, is_whole=True)
    data = b"".join(part for part in silence.read(10, 99_000) if isinstance(part, bytes))
    assert data == bytes(98_990 * 6)


def test_a_problem_says_which_clip_it_is_about() -> None:
    """Of several clips the problem's words name one, counted from 1; programs get its number from 0, once."""
    with pytest.raises(MissingTrack) as caught, naming_clip(0, 3), naming_clip(1, 3):
        raise MissingTrack("No such track.", members={"tracks": []}, headers={"X": "y"})
    assert caught.value.detail == "Clip 2: No such track."
    assert (caught.value.members, caught.value.headers) == ({"tracks": [], "clip": 1}, {"X": "y"})
    with pytest.raises(InternalError) as alone, naming_clip(0, 1):
        raise InternalError("Broken.")
    assert alone.value.detail == "Broken."
