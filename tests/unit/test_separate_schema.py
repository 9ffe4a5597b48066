"""What may be asked of a separation, which results are the same, and what is told of a song."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamsrv.errors import BadParameter
from streamsrv.jobs.job import Job, JobKind, JobStatus, Priority
from streamsrv.media.raw import raw_kind
from streamsrv.separate.schema import (
    FORM_FIELDS,
    Recipe,
    SongOptions,
    SongRequest,
    has_segments,
    job_priority,
    phase,
    read_form,
    song_reply,
    track_urls,
)

SONG = "ab" * 32
DEFAULTS = Recipe(model="htdemucs", overlap=0.25, shifts=0, precision="float32")
ORIGIN = "http://localhost:5000"
RESULT: dict[str, Any] = {
    "phase": "separating",
    "tracks": ["vocals", "bass", "instrumental"],
    "mixes": ["instrumental"],
    "segment_count": 2,
    "clipped": {"vocals": 7},
}


def job_of(status: JobStatus = JobStatus.COMPLETED, **changes: Any) -> Job:
    recipe = {"model": "my model&?", "overlap": 0.25, "shifts": 0, "precision": "float32", "clip": "clamp"}
    options = {"song": SONG, **recipe}
    values: dict[str, Any] = {"progress": 100.0, "result": RESULT, "created_at": 0.0} | changes
    return Job(id="1", kind=JobKind.SEPARATE, status=status, options=options, **values)


def told(job: Job, *removed: str) -> dict[str, Any]:
    return song_reply(
        job,
        origin=ORIGIN,
        song_name="A",
        model_reason=None,
        queue_position=None,
        eta_seconds=1.2345,
        removed=removed,
        callbacks=[],
    )


def addresses(reply: dict[str, Any]) -> dict[str, str | None]:
    tracks = {f"{track['name']} {key}": track[key] for track in reply["tracks"] for key in track if key.endswith("url")}
    return {key: value for key, value in reply.items() if key.endswith("_url")} | tracks


@pytest.mark.parametrize("field", FORM_FIELDS)
def test_each_field_says_what_is_possible(field: str) -> None:
    """A value that isn't possible is refused by the name of its field, with what is."""
    with pytest.raises(BadParameter, match=f"{field} must be .+, not '") as caught:
        read_form({field: "-7" * 5000})
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(("overlap", text) for text in ("nan", "inf", "-0.1", "0.96", "1", "", "0,5", "0.\u0665", "0.2_5")),
        *(("shifts", text) for text in ("-1", "21", "1.5", "x", "1e400", "9" * 5000, "\u0661", "1_0")),
    ],
)
def test_numbers_are_numbers_within_bounds(field: str, text: str) -> None:
    """Overlap and shifts are finite and within their bounds."""
    with pytest.raises(BadParameter):
        read_form({field: text})


def test_a_name_is_only_a_name() -> None:
    """What a terminal or a page would obey is dropped from a song's name, however it is sent."""
    sent = "So\x00ng\r\n\x1b[201~\u202egnp.exe\u2066 \U0001f600"
    for options in (read_form({"song_name": sent}), SongRequest.model_validate({"mp3": "AAAA", "song_name": sent})):
        assert options.song_name == "Song[201~gnp.exe \U0001f600"


def test_json_takes_no_text_for_numbers() -> None:
    """In JSON a number is a number: text, true and null's relatives aren't taken for one."""
    values: tuple[object, ...] = ("0.25", True, [], {})
    for value in values:
        with pytest.raises(ValidationError):
            SongRequest.model_validate_json(json.dumps({"mp3": "AAAA", "overlap": value}))
    assert SongRequest.model_validate_json('{"mp3": "AAAA", "overlap": 0, "shifts": 2}').overlap == 0


def test_what_isnt_said_is_the_default() -> None:
    """A request that says nothing gets the server's settings; what it says goes before them, also a zero."""
    assert DEFAULTS.settled(SongOptions()) == DEFAULTS
    busy = replace(DEFAULTS, overlap=0.5, shifts=3)
    assert busy.settled(SongOptions(overlap=0, shifts=0)) == DEFAULTS.settled(SongOptions(overlap=0))
    assert DEFAULTS.settled(read_form({"model": "tiny", "precision": "bfloat16"})) == replace(
        DEFAULTS, model="tiny", precision="bfloat16"
    )


RECIPES = st.builds(
    Recipe,
    model=st.text(max_size=3),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    shifts=st.integers(0, 3),
    precision=st.sampled_from(["float32", "bfloat16"]),
    clip=st.sampled_from(["clamp", "tanh", "none"]),
)


@given(RECIPES, RECIPES, st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"]))
def test_results_are_told_apart(one: Recipe, other: Recipe, song: str, another: str) -> None:
    """Two requests have one result if all that it depends on is the same, and only then."""
    same = one.fingerprint(song) == other.fingerprint(another)
    assert same == ((one, song) == (other, another))


def test_bytes_of_two_kinds_are_two_songs() -> None:
    """Where only a file's name told what they are, a result is that of the name's kind."""
    kinds = [None, *(raw_kind(name) for name in ("a.al", "a.ul", "a.sln", "a.sln16"))]
    assert len({DEFAULTS.fingerprint(SONG, kind) for kind in kinds}) == len(kinds)


def test_a_recipe_is_kept_with_its_job() -> None:
    """What was asked for can be read from the job's row; a whole number means the same as its fraction."""
    assert Recipe.of(job_of()) == replace(DEFAULTS, model="my model&?")
    options = read_form({"overlap": "0"})
    assert DEFAULTS.settled(options).fingerprint(SONG) == replace(DEFAULTS, overlap=0.0).fingerprint(SONG)


@pytest.mark.parametrize("name", ["urgent", "normal", "background"])
def test_priorities_have_their_names(name: str) -> None:
    """The priority of a job is what was asked for; normal where nothing was."""
    assert job_priority(read_form({"priority": name})) is Priority[name.upper()]
    assert job_priority(SongOptions()) is Priority.NORMAL


def test_phases() -> None:
    """A song waits, then has the phase that its work reports, and has ended at last, whatever was reported."""
    assert phase(job_of(JobStatus.PENDING)) == "waiting"
    assert phase(job_of(JobStatus.PROCESSING)) == "separating"
    assert phase(job_of(JobStatus.PROCESSING, result={})) == "loading"
    assert {phase(job_of(status)) for status in JobStatus if status.ended} == {"ended"}


@pytest.mark.parametrize("status", list(JobStatus))
def test_addresses_are_told_when_they_lead_somewhere(status: JobStatus) -> None:
    """Playlists are told of once there is a segment, files once the song is Completed, neither once it failed."""
    playable = status not in (JobStatus.FAILED, JobStatus.CANCELLED)
    for name, url in addresses(told(job_of(status))).items():
        is_playlist = name == "master_url" or name.endswith("playlist_url")
        assert (url is not None) == (playable if is_playlist else status is JobStatus.COMPLETED), name
        assert url is None or url.startswith(f"{ORIGIN}/apiv1/")
        assert url is None or url.endswith("?model=my%20model%26%3F")
    waiting = job_of(status, result={key: RESULT[key] for key in RESULT if key != "segment_count"})
    assert not has_segments(waiting)
    assert addresses(told(waiting))["master_url"] is None


def test_removed_tracks_have_no_address() -> None:
    """What was removed is told of without addresses; when all is, there is nothing to play and to archive."""
    one, all_gone = told(job_of(), "bass"), told(job_of(), *RESULT["tracks"])
    assert [track["removed"] for track in one["tracks"]] == [False, True, False]
    assert {url for name, url in addresses(one).items() if name.startswith("bass")} == {None}
    assert one["master_url"]
    assert one["archive_url"]
    assert set(addresses(all_gone).values()) == {None}


def test_tracks_say_what_they_are() -> None:
    """Mixes are told from stems; clipped samples are counted for each track."""
    tracks = told(job_of())["tracks"]
    assert [(track["name"], track["is_mix"], track["clipped_samples"]) for track in tracks] == [
        *(("vocals", False, 7), ("bass", False, 0)),
        ("instrumental", True, 0),
    ]
    assert track_urls(ORIGIN, SONG, "a b", ["vocals"]) == {
        "vocals": f"{ORIGIN}/apiv1/track/{SONG}/vocals.mp3?model=a%20b"
    }


def test_passes_are_counted() -> None:
    """Shifts cost as many passes, and windows that overlap so much more."""
    recipe = Recipe(model="x", overlap=0.25, shifts=10, precision="float32")
    assert recipe.passes == pytest.approx(13.33, abs=0.01)
    assert replace(recipe, shifts=0, overlap=0.0).passes == 1


def test_overlaps_are_hundredths() -> None:
    """So nobody makes endlessly many results of one song."""
    recipe = Recipe(model="x", overlap=0.25, shifts=0, precision="float32")
    found = {recipe.settled(SongOptions(overlap=0.3 + tiny / 10_000)).fingerprint("song") for tiny in range(40)}
    assert len(found) == 1
